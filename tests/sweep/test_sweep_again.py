"""What a sweep leaves alone the second time, and what it does when something gets in its way."""

import sqlite3
from pathlib import Path

import pytest
from worlds.record_builder import (
    audited_bundle,
    copy_rule,
)
from worlds.sweep_world import HereEngine, World, names

from audit.errors import AuditError, JournalError
from audit.journal.audits import audit_ids
from audit.journal.journal import Journal
from audit.sweep.run import JOURNAL


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_second_run_asks_only_what_is_new_or_changed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add_some()
    _, asked, first = world.run()
    assert len(asked) == 3
    assert world.run()[1] == []

    world.add("new.onnx")
    world.add("stranger.onnx", copy_rule)  # another file under a known name
    (world.suspects / "copy.onnx").touch()  # the same file
    (world.suspects / "deep/below/other.onnx").rename(world.suspects / "moved.onnx")
    _, asked, second = world.run()
    assert sorted(Path(task.path).name for task in asked) == ["new.onnx", "stranger.onnx"]
    assert names(second) == {
        "copy.onnx": "derived",
        "moved.onnx": "independent",
        "new.onnx": "independent",
        "stranger.onnx": "derived",
    }
    assert names(first, "audit")["copy.onnx"] == names(second, "audit")["copy.onnx"]
    assert names(first, "audit")["other.onnx"] == names(second, "audit")["moved.onnx"]

    audited_bundle(world.bundles / "another.kinprint", model_name="another")
    _, asked, _ = world.run()
    assert [len(task.bundles) for task in asked] == [1] * 4

    assert world.run(budget=30)[1] == []  # only limits how far an audit goes
    assert len(world.run(labels_only=True)[1]) == 4


def test_a_file_that_changes_under_way_is_asked_again_by_the_next_run(world: World) -> None:
    path = world.add("a.onnx")

    class Changing(HereEngine):
        def submit(self, task):  # type: ignore[no-untyped-def]
            world.add("a.onnx", copy_rule)
            super().submit(task)

    with world.sweep() as sweep:
        engine = Changing(sweep.parcel, sweep.results)
        list(sweep.run(world.suspects, engine))
        engine.close()
        (row,) = world.rows(sweep)
    assert row["status"] == "broken off"
    assert "changed after" in row["reason"]
    assert names(world.run()[2]) == {path.name: "derived"}


def test_a_full_disk_ends_the_sweep_and_loses_nothing(world: World) -> None:
    for number in range(12):
        world.add(f"{number}.onnx")
    with world.sweep() as sweep:
        engine = HereEngine(sweep.parcel, sweep.results)
        ((pages,),) = sweep._journal.file.read_rows("PRAGMA page_count")
        sweep._journal.file.read_rows(f"PRAGMA max_page_count = {pages + 60}")
        with pytest.raises(JournalError, match="database or disk is full"):
            list(sweep.run(world.suspects, engine))
        engine.close()
        kept = [row for row in world.rows(sweep) if row["status"] == "asked"]
    assert 0 < len(kept) < 12
    journal = Journal(world.results / JOURNAL)
    audits = audit_ids(journal)
    journal.close()
    assert sorted(audits) == sorted(row["audit"] for row in kept)
    _, asked, rows = world.run()
    assert len(asked) == 12 - len(kept)
    assert {row["status"] for row in rows} == {"asked"}


def test_two_sweeps_do_not_share_a_folder(world: World) -> None:
    world.add_some()
    with (
        world.sweep(),
        pytest.raises(AuditError, match="another sweep is at work"),
        world.sweep(),
    ):
        pass
    with world.sweep():
        pass


def test_a_table_of_another_version_is_refused(world: World) -> None:
    world.results.mkdir()
    database = sqlite3.connect(world.results / "sweep.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(AuditError, match="expected version 1"), world.sweep():
        pass
