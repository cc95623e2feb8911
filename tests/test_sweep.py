"""What a sweep finds, and what it leaves alone the second time."""

import json
import shutil
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import run
from numpy.typing import NDArray
from onnx_builders import brightest_channel, nearest_color, save
from record_builder import (
    AUDITOR_KEY,
    TRUST,
    audited_bundle,
    audited_contents,
    copy_rule,
    innocent_rule,
)
from sweep_world import HereEngine, World, names
from ui_desk import mixed_rule, wrong_rule

from adapters.onnx_model import OnnxModel, load_model
from adapters.onnx_suspect_file import ModelTable, PreprocessingTable, SuspectFile, to_toml
from adapters.suspect import Capability, Predictions, SuspectIdentity
from audit.api import audit_into, audit_suspect, open_file
from audit.errors import AuditError, JournalError
from audit.journal import Journal
from audit.record import parse_record
from audit.sweep.listing import list_suspects
from audit.sweep.page import render_page
from audit.sweep.run import JOURNAL, PairDone, Swept
from audit.sweep.table import SweepTable
from audit.verdict import judge
from benchmarks.plain_bundle import plain_bundle


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_every_pair_gets_the_outcome_of_a_single_audit(tmp_path: Path) -> None:
    world = World(tmp_path, num_bundles=2)
    world.add_some()
    world.add("mixed.onnx", mixed_rule)
    world.add("wrong.onnx", wrong_rule)
    _, asked, rows = world.run()
    assert len(asked) == 5
    assert names(rows) == {
        "copy.onnx": "derived",
        "stranger.onnx": "independent",
        "other.onnx": "independent",
        "mixed.onnx": "inconclusive",
        "wrong.onnx": "not comparable",
    }
    assert [row["model"] for row in rows[:2]] == ["audited-test-model", "model 1"]
    bundle = audited_contents()
    for name in ("copy.onnx", "mixed.onnx"):
        with open_file(bundle, world.suspects / name, device="cpu") as suspect:  # type: ignore[attr-defined]
            alone = audit_suspect(
                bundle,
                suspect,
                scores=(bundle.manifest.default_score,),
                stop_early=True,
                journal=tmp_path / "alone.sqlite",
            )
        (row,) = (r for r in rows if r["suspect"].endswith(name) and r["model"][0] == "a")
        assert row["reason"] == alone.text
        assert row["score"] == alone.scores[0].value
        assert row["p_value"] == alone.scores[0].p_value


def test_the_journal_holds_every_answer_and_judges_the_same(world: World) -> None:
    world.add_some()
    _, _, rows = world.run()
    journal = Journal(world.results / JOURNAL)
    for row in rows:
        answers = journal.answers(row["audit"])
        assert len(answers) == row["num_questions"]
        ((outcome, text),) = journal.read_rows(
            "SELECT outcome_json, suspect FROM audits WHERE id = ?", (row["audit"],)
        )
        assert json.loads(outcome)["verdict"] == row["verdict"]
        assert text == row["suspect_sha256"]
    assert len(journal.read_rows("SELECT id FROM audits")) == 3
    assert judge(audited_contents(), answers, ("likelihood-ratio",)).scores
    journal.close()


def test_a_file_is_loaded_once_for_all_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, loaded = World(tmp_path, num_bundles=3), list[str]()

    def counted(path: Path, **options: Any) -> OnnxModel:
        loaded.append(path.name)
        return load_model(path, **options)

    monkeypatch.setattr("audit.sweep.asking.load_model", counted)
    world.add("copy.onnx", copy_rule)
    _, _, rows = world.run()
    assert [row["verdict"] for row in rows] == ["derived"] * 3
    assert loaded == ["copy.onnx"]


def test_one_broken_suspect_is_a_row_with_its_reason(world: World) -> None:
    world.add_some()
    (world.suspects / "broken.onnx").write_bytes(b"GIF89a, or so it says")
    (world.suspects / "empty.onnx").write_bytes(b"")
    (world.suspects / "half.toml").write_text('format = "kinprint-suspect"\n[model]\n')
    (world.suspects / "gone.onnx").symlink_to(world.folder / "nowhere")
    (world.suspects / "notes.toml").write_text("a = 1\n")
    events, _, rows = world.run()
    assert names(rows, "status") == {
        "copy.onnx": "asked",
        "stranger.onnx": "asked",
        "other.onnx": "asked",
        "broken.onnx": "failed",
        "empty.onnx": "failed",
        "half.toml": "failed",
    }
    reasons = names(rows, "reason")
    assert "expected an ONNX model" in reasons["broken.onnx"]
    assert "the empty file" in reasons["empty.onnx"]
    assert "model.file" in reasons["half.toml"]
    assert isinstance(events[-1], Swept)
    # What lies in the file stays so: only --retry-failed tries it again.
    assert world.run()[1] == []
    assert {Path(task.path).name for task in world.run(retry_failed=True)[1]} == {
        "broken.onnx",
        "empty.onnx",
    }


def test_duplicates_are_asked_once_and_reported_for_each(world: World) -> None:
    path = world.add("a.onnx", copy_rule)
    shutil.copy(path, world.suspects / "b.onnx")
    (world.suspects / "deep").mkdir()
    (world.suspects / "deep" / "c.onnx").hardlink_to(path)
    world.add("d.onnx")
    events, asked, rows = world.run()
    assert len(asked) == 2
    derived = dict.fromkeys(("a.onnx", "b.onnx", "c.onnx"), "derived")
    assert names(rows) == derived | {"d.onnx": "independent"}
    assert len({row["audit"] for row in rows}) == 2
    done = [event for event in events if isinstance(event, PairDone)]
    assert sorted(Path(event.row["suspect"]).name for event in done) == sorted(names(rows))
    assert sum(event.is_duplicate for event in done) == 2
    # Of two suspects, not of four names, the first p-value counts twice, and the other one is 1.
    (copied,) = {row["p_value"] for row in rows if row["verdict"] == "derived"}
    adjusted = names(rows, "adjusted_p_value")
    assert adjusted["a.onnx"] == adjusted["c.onnx"] == 2 * copied
    assert adjusted["d.onnx"] == 1.0


def test_suspects_of_another_task_are_not_asked_and_say_why(world: World) -> None:
    save(brightest_channel(), world.suspects / "three-classes.onnx")
    large = nearest_color(np.eye(4, 3, dtype=np.float32), side=16)
    save(large, world.suspects / "large.onnx")
    _, _, rows = world.run()
    assert names(rows, "status") == dict.fromkeys(
        ("three-classes.onnx", "large.onnx"), "mismatched"
    )
    reasons = names(rows, "reason")
    assert "num_classes: expected 4" in reasons["three-classes.onnx"]
    assert "the bundle has 8x8x3, the model takes 16x16x3" in reasons["large.onnx"]
    assert not Journal(world.results / JOURNAL).read_rows("SELECT id FROM audits")
    rows = world.run(resize=True)[2]
    assert names(rows, "status")["large.onnx"] == "asked"


def test_no_comparable_pair_says_why_for_each_task_and_ends_with_15(world: World) -> None:
    save(brightest_channel(), world.suspects / "three-classes.onnx")
    done = run(*world.command("--jobs", 1))
    assert done.returncode == 15
    assert "No suspect is about the task of any bundle" in done.stdout
    assert "8x8x3, 4 classes" in done.stdout
    assert "num_classes: expected 4" in done.stdout
    world.add("stranger.onnx")
    assert run(*world.command("--jobs", 1)).returncode == 0


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


def test_a_model_that_a_suspect_file_describes_is_asked_as_it_says(world: World) -> None:
    path = world.add("copy.onnx", copy_rule)
    described = SuspectFile(
        model=ModelTable(file="copy.onnx"), preprocessing=PreprocessingTable(color_order="BGR")
    )
    path.with_suffix(".toml").write_text(to_toml(described))
    asked = world.run()[1]
    assert [Path(task.path).name for task in asked] == ["copy.toml"]
    details = Journal(world.results / JOURNAL).read_rows("SELECT details_json FROM runs")
    assert '\\"color_order\\": \\"BGR\\"' in details[0][0]
    # Another model behind the same description is another suspect.
    world.add("copy.onnx", innocent_rule)
    assert len(world.run()[1]) == 1


def test_a_list_names_files_and_folders(world: World) -> None:
    world.add_some()
    listed = world.folder / "list.toml"
    listed.write_text('suspects = ["suspects/copy.onnx", "suspects/deep", "suspects/none.onnx"]\n')
    _, asked, rows = world.run(place=listed)
    assert len(asked) == 2
    assert names(rows, "status") == {
        "copy.onnx": "asked",
        "other.onnx": "asked",
        "none.onnx": "failed",
    }
    listed.write_text('suspect = ["x"]\n')
    with pytest.raises(AuditError, match="suspects: Field required"):
        list(list_suspects(listed))


def test_a_folder_is_streamed_and_not_listed_into_memory(tmp_path: Path) -> None:
    (tmp_path / "one.onnx").write_bytes(b"x")
    for number in range(4000):
        (tmp_path / f"{number}.onnx").hardlink_to(tmp_path / "one.onnx")

    # In a process of its own: other tests' threads take memory, too.
    measure = """
import sys, tracemalloc
from pathlib import Path
from audit.sweep.listing import list_suspects

def peak(num):
    tracemalloc.start()
    for _, _entry in zip(range(num), list_suspects(Path(sys.argv[1])), strict=False):
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most

peak(10)
print(peak(100), peak(4001))
"""
    done = subprocess.run(
        [sys.executable, "-c", measure, tmp_path], capture_output=True, text=True, check=True
    )
    few, many = map(int, done.stdout.split())
    # Names of 3,900 more files would take 500 KB.
    assert many < few + 100_000


def test_a_name_that_is_no_text_is_a_row(world: World) -> None:
    try:
        (Path(world.suspects) / "caf\udce9.onnx").write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    _, asked, rows = world.run()
    assert asked == []
    assert "expected UTF-8" in rows[0]["reason"]


def test_records_are_signed_for_every_pair_and_verify(world: World) -> None:
    world.add_some()
    _, _, rows = world.run(auditor_key=AUDITOR_KEY)
    for row in rows:
        record = parse_record((world.results / row["record"]).read_bytes(), TRUST)
        assert record.opening.audit == row["audit"]
        assert record.closing.outcome is not None
        assert record.closing.outcome.verdict == row["verdict"]
    done = run(
        *(
            "verify",
            world.results / rows[0]["record"],
            "--bundle",
            world.bundles / "first.kinprint",
        ),
        *("--trust", world.owner, "--trust", _auditor(world)),
    )
    assert done.returncode == 0, done.stderr


def _auditor(world: World) -> Path:
    path = world.folder / "auditor.pub"
    path.write_bytes(AUDITOR_KEY.public_key.pem)
    return path


def test_a_full_disk_ends_the_sweep_and_loses_nothing(world: World) -> None:
    for number in range(12):
        world.add(f"{number}.onnx")
    with world.sweep() as sweep:
        engine = HereEngine(sweep.parcel, sweep.results)
        ((pages,),) = sweep._journal.read_rows("PRAGMA page_count")
        sweep._journal.read_rows(f"PRAGMA max_page_count = {pages + 60}")
        with pytest.raises(JournalError, match="database or disk is full"):
            list(sweep.run(world.suspects, engine))
        engine.close()
        kept = [row for row in world.rows(sweep) if row["status"] == "asked"]
    assert 0 < len(kept) < 12
    journal = Journal(world.results / JOURNAL)
    audits = [audit for (audit,) in journal.read_rows("SELECT id FROM audits")]
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


def test_the_page_shows_everything_and_asks_for_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, num_bundles=2)
    world.add_some()
    world.add("<b>&amp;.onnx", copy_rule)
    (world.suspects / "broken.onnx").write_bytes(b"no")
    world.run(auditor_key=AUDITOR_KEY)
    table = SweepTable(world.results / "sweep.sqlite", is_read_only=True)
    page = render_page(table, fdr=0.2)
    table.close()
    for text in ("copy.onnx", "stranger.onnx", "model 1", "expected an ONNX model"):
        assert text in page
    assert "<b>&amp;.onnx" not in page
    assert "&lt;b&gt;&amp;amp;.onnx" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    links = [part.split('"')[0] for part in page.split('href="')[1:]]
    assert len(links) == 8
    assert all((world.results / link).is_file() for link in links)
    # Derived pairs stand before the others.
    places = [page.index(f">{name}</th>") for name in ("copy.onnx", "stranger.onnx")]
    assert all(first < second for first, second in pairwise(places))


def test_json_lines_come_pair_by_pair_and_end_with_a_summary(world: World) -> None:
    world.add_some()
    (world.suspects / "broken.onnx").write_bytes(b"no")
    done = run(*world.command("--json", "--jobs", 2))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 10
    assert [line["type"] for line in lines] == ["pair"] * 4 + ["summary"]
    assert {Path(line["suspect"]).name: line["verdict"] for line in lines[:4]} == {
        "copy.onnx": "derived",
        "stranger.onnx": "independent",
        "other.onnx": "independent",
        "broken.onnx": None,
    }
    assert lines[4]["by_result"] == {"independent": 2, "derived": 1, "failed": 1}
    assert lines[4]["exit_code"] == 10
    assert Path(lines[4]["page"]).is_file()
    # Nothing is new the second time, but the summary is of all; what is broken still counts.
    again = run(*world.command("--json", "--jobs", 2, "--fail-on", "never"))
    assert [json.loads(line)["type"] for line in again.stdout.splitlines()] == ["summary"]
    assert again.returncode == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--jobs", "2", "--local-cluster", "2"], "exclude one another"),
        (["--alpha", "0.001"], "needs 999 innocent calibration models"),
        (["--score", "none"], "expected one of"),
        (["--watch", "."], "give --suspects DIR"),
        (["--passphrase-env", "X"], "needs --auditor-key"),
    ],
)
def test_wrong_options_are_told_before_anything_is_asked(
    world: World, more: list[str], message: str
) -> None:
    world.add_some()
    done = run(*world.command(*more))
    assert done.returncode == 2
    assert message in done.stderr
    assert not (world.results / JOURNAL).exists()


def test_an_untrusted_bundle_asks_nothing(world: World) -> None:
    command = world.command()
    del command[command.index("--trust") : command.index("--trust") + 2]
    done = run(*command)
    assert done.returncode == 13
    assert "first.kinprint: signature: right, but its key" in done.stderr


def test_a_clear_file_is_asked_a_fraction_of_the_questions(tmp_path: Path) -> None:
    class Constant:
        """Answers class 0, which is right on all controls and what derived models say."""

        batch_size, concurrency, capability = 256, 1, Capability.LABELS
        identity = SuspectIdentity(kind="onnx", name="constant", digest="0" * 64)

        def predict(self, images: NDArray[np.uint8]) -> Predictions:
            return Predictions(labels=np.zeros(len(images), np.int64))

        def close(self) -> None:
            pass

    journal = Journal(None)
    asked = {
        stop_early: audit_into(
            journal, plain_bundle(1000), Constant(), stop_early=stop_early
        ).num_questions
        for stop_early in (True, False)
    }
    journal.close()
    # 50 control images, then not more than two batches of 64.
    assert asked[False] == 1000
    assert asked[True] <= 50 + 2 * 64
