"""What a sweep finds."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.onnx_builders import brightest_channel, nearest_color, save
from worlds.record_builder import (
    audited_contents,
    copy_rule,
    innocent_rule,
)
from worlds.screens.ui_desk import mixed_rule, wrong_rule
from worlds.sweep_world import World, names

from adapters.onnx.model import OnnxModel, load_model
from adapters.onnx.suspect_file import ModelTable, PreprocessingTable, SuspectFile, to_toml
from adapters.suspect import Capability, Predictions, SuspectIdentity
from audit.api import audit_suspect
from audit.asking.options import AuditOptions
from audit.asking.run import run_audit
from audit.journal.audits import audit_entry, audit_ids, audit_runs
from audit.journal.journal import Journal
from audit.suspects.opening import open_file
from audit.sweep.run import JOURNAL, PairDone, Swept
from audit.verdict.judge import judge
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
        entry = audit_entry(journal, row["audit"])
        assert entry is not None
        assert json.loads(entry.outcome_json or "")["verdict"] == row["verdict"]
        assert entry.suspect.digest == row["suspect_sha256"]
    assert len(audit_ids(journal)) == 3
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
    assert sorted(Path(event.row.suspect).name for event in done) == sorted(names(rows))
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
    assert not audit_ids(Journal(world.results / JOURNAL))
    rows = world.run(resize=True)[2]
    assert names(rows, "status")["large.onnx"] == "asked"


def test_a_model_that_a_suspect_file_describes_is_asked_as_it_says(world: World) -> None:
    path = world.add("copy.onnx", copy_rule)
    described = SuspectFile(
        model=ModelTable(file="copy.onnx"), preprocessing=PreprocessingTable(color_order="BGR")
    )
    path.with_suffix(".toml").write_text(to_toml(described))
    asked = world.run()[1]
    assert [Path(task.path).name for task in asked] == ["copy.toml"]
    journal = Journal(world.results / JOURNAL)
    (audit,) = audit_ids(journal)
    (run,) = audit_runs(journal, audit)
    journal.close()
    assert '"color_order": "BGR"' in run.details["preprocessing"]
    # Another model behind the same description is another suspect.
    world.add("copy.onnx", innocent_rule)
    assert len(world.run()[1]) == 1


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
        stop_early: run_audit(
            journal, plain_bundle(1000), Constant(), AuditOptions(stop_early=stop_early)
        ).num_questions
        for stop_early in (True, False)
    }
    journal.close()
    # 50 control images, then not more than two batches of 64.
    assert asked[False] == 1000
    assert asked[True] <= 50 + 2 * 64
