"""A small arena with members of every kind from nothing to its tables, and again from its cache."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from worlds.tiny_task import tiny_images, write_images

from benchmarks.arena.config import ArenaError, read_config
from benchmarks.arena.metrics import auc

_PICTURES = (
    "roc",
    "attacks",
    "deployment",
    "input-processing",
    "extraction",
    "score-against-accuracy",
    "dp-logits",
    "heads",
)
CONFIG = """
name = "tiny"

[data]
train = ["train"]
test = ["test"]
far = ["far"]
owner = 240
attacker = 240

[recipe]
width = 8
epochs = 8
learning_rate = 0.05
batch_size = 32

[references]
count = 8
epochs = 4

[derived]
fine_tuning = ["FTLL", "RTAL"]
fine_tuning_epochs = 1
pruning = [0.2]
adversarial_radii = [1]
adversarial_epochs = 1
adversarial_steps = 2
extraction_epochs = 2
extraction = [
  { answers = "hard", images = "far", family = "vgg11", width = 4, augmented = true },
  { answers = "soft", images = "near", family = "resnet8", width = 8 },
]
quantised = ["int8-static", "int8-dynamic", "float16"]

[innocents]
siblings = 1
distilled = 1
# Hardly trained at all: noise models.
short_epochs = [0.01, 0.02]
hardened_radii = [1]
pruned = [0.2]

[innocents.families]
vgg11 = 4

[processing]
of = ["copy"]
temperatures = [2.0]
noise = [1.0]
inputs = ["jpeg-75"]
views = ["mirror-average"]
ensembles = [{ share = 0.6, partners = ["sibling-0"], how = "mean" }]

[[fingerprint]]
name = "robust"
scores = ["likelihood-ratio", "mfue-w"]

[fingerprint.options]
num_triggers = 10
num_queries = 30
num_mimics = 3
num_probes = 6
max_steps = 10
alpha = 0.2
beta = 0.2

[[fingerprint]]
name = "ipguard"
method = "ipguard"
options = { num_queries = 20, alpha = 0.2, beta = 0.2 }

[[fingerprint]]
name = "sac"
method = "sac"
options = { num_queries = 20, alpha = 0.2, beta = 0.2 }

[[fingerprint]]
name = "sac, labels"
method = "sac"
answers = "labels"
options = { num_queries = 20, alpha = 0.2, beta = 0.2 }
"""


DERIVED = {
    *("copy", "FTLL-0.01", "pruned-0.2", "float16"),
    *("copy + temperature 2", "copy + jpeg-75", "copy + DP-Logits 1"),
    *("copy + mirror-average", "copy + ensemble mean 0.6"),
}


@dataclass
class TinyArena:
    folder: Path

    def run(self) -> subprocess.CompletedProcess[str]:
        arguments = [
            *("--config", self.folder / "tiny.toml", "--data", self.folder),
            *("--cache", self.folder / "cache", "--results", self.folder / "results"),
        ]
        return subprocess.run(
            [sys.executable, "-m", "benchmarks", "arena", *map(str, arguments)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
        )

    @property
    def results(self) -> dict[str, object]:
        found = json.loads((self.folder / "results" / "results.json").read_text("utf-8"))
        assert isinstance(found, dict)
        return found


@pytest.fixture(
    scope="module",
    params=[pytest.param(CONFIG, marks=[pytest.mark.whole, pytest.mark.timeout(1800)], id="tiny")],
)
def arena(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyArena:
    folder = tmp_path_factory.mktemp("arena")
    write_images(folder / "train", tiny_images(480, 1))
    write_images(folder / "test", tiny_images(840, 2))
    write_images(folder / "far", tiny_images(240, 3))
    (folder / "tiny.toml").write_text(str(request.param), encoding="utf-8")
    made = TinyArena(folder)
    done = made.run()
    assert done.returncode == 0, done.stderr
    return made


def suspects(arena: TinyArena, bundle: str = "robust") -> list[dict[str, object]]:
    found = arena.results["suspects"]
    assert isinstance(found, list)
    return [row for row in found if row["bundle"] == bundle]


def score(row: dict[str, object], name: str = "likelihood-ratio") -> float:
    scores = row["scores"]
    assert isinstance(scores, dict)
    return float(scores[name])


def test_everybody_is_asked(arena: TinyArena) -> None:
    names = {row["suspect"] for row in suspects(arena)}
    derived = {row["suspect"] for row in suspects(arena) if row["is_derived"]}
    assert derived >= DERIVED
    assert {"sibling-0", "other-data-vgg11"} <= names - derived
    assert {"hardened-1", "int8-static", "extracted-hard-far-vgg11-altered"} <= derived
    assert {"teacher-0", "student-of-teacher-0"} <= names - derived
    assert not any(str(name).startswith("reference") for name in names)


def test_a_copy_beats_models_that_learned_nothing(arena: TinyArena) -> None:
    rows = suspects(arena)
    copies = [score(row) for row in rows if row["suspect"] == "copy"]
    noise = [score(row) for row in rows if row["kind"] == "short"]
    assert len(noise) == 2
    assert auc(np.array(copies), np.array(noise)) == 1.0


def test_other_methods_are_asked_alike(arena: TinyArena) -> None:
    rows = suspects(arena, "ipguard")
    assert {row["suspect"] for row in rows} == {row["suspect"] for row in suspects(arena)}
    assert [score(row, "matching-rate") for row in rows if row["suspect"] == "copy"] == [1.0]


def test_a_label_score_does_not_feel_temperature(arena: TinyArena) -> None:
    by_name = {row["suspect"]: row for row in suspects(arena)}
    assert score(by_name["copy"]) == score(by_name["copy + temperature 2"])
    assert score(by_name["copy"], "mfue-w") == 1.0
    assert score(by_name["copy + temperature 2"], "mfue-w") < 0.5


def test_a_second_run_makes_only_what_is_missing_and_changes_nothing(arena: TinyArena) -> None:
    before, cache = suspects(arena), arena.folder / "cache"
    (lost,) = (
        path.parent
        for path in cache.glob("*/member.json")
        if json.loads(path.read_text("utf-8"))["member"]["name"] == "pruned-0.2"
    )
    weights = (lost / "weights.safetensors").read_bytes()
    # Killed before the last file was written: everything else there does not count.
    (lost / "member.json").unlink()
    files = {
        path: path.stat().st_mtime_ns
        for path in cache.rglob("*")
        if path.is_file() and path.parent != lost
    }
    again = arena.run()
    assert again.returncode == 0, again.stderr
    assert "making 1 takes" in again.stderr
    assert (lost / "weights.safetensors").read_bytes() == weights
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert suspects(arena) == before


def test_a_suspect_can_be_asked_for_its_labels_only(arena: TinyArena) -> None:
    whole, labels = (suspects(arena, name) for name in ("sac", "sac, labels"))
    assert [row["suspect"] for row in whole] == [row["suspect"] for row in labels]
    differ = [
        score(one, "sample-correlation") != score(other, "sample-correlation")
        for one, other in zip(whole, labels, strict=True)
    ]
    assert any(differ)


def test_the_tables_and_pictures_are_there(arena: TinyArena) -> None:
    folder = arena.folder / "results"
    text = (folder / "README.md").read_text("utf-8")
    for title in ("Population", "derived from weights", "extraction", "AUC by attack", "Verdicts"):
        assert title in text
    _, _, bounds = text.partition("## Scores beside those that set the bounds: robust")
    for who in (
        "calibrating innocent | ",
        "innocent suspect | siblings | 1 |",
        "suspect | copy | 1",
    ):
        assert who in bounds
    detectors = arena.results["detectors"]
    assert isinstance(detectors, list)
    assert {row["detector"] for row in detectors} >= {"SHE", "SCADN", "DAEIT", "near duplicates"}
    assert {row["images"] for row in detectors} == {
        *("robust", "robust: MFUE triggers", "ipguard", "sac")
    }
    for name in _PICTURES:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("width = 8", "width = 1"), "recipe.width: Input should be greater than or equal to 2"),
        (("[derived]", "[derived]\npurning = [0.1]"), "derived.purning: Extra inputs"),
        (('"FTLL"', '"FTXX"'), "derived.fine_tuning.0: Input should be 'FTLL', 'FTAL'"),
        (
            ('"likelihood-ratio"', '"likelyhood"'),
            "fingerprint.0.scores.0: Value error, expected one of likelihood-ratio",
        ),
        (('method = "ipguard"', 'method = "ipgard"'), "method: Value error, expected one of mfue"),
        (('"jpeg-75"', '"fog"'), "processing.inputs.0: Input should be 'crop', 'flip'"),
    ],
)
def test_a_wrong_config_names_what_is_wrong(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    old, new = change
    assert old in CONFIG
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG.replace(old, new), encoding="utf-8")
    with pytest.raises(ArenaError, match=re.escape(message)):
        read_config(str(path))


def test_too_few_images_are_an_error_and_no_traceback(arena: TinyArena, tmp_path: Path) -> None:
    for name in ("train", "test", "far"):
        (tmp_path / name).symlink_to(arena.folder / name)
    config = CONFIG.replace("owner = 240", "owner = 9999")
    (tmp_path / "tiny.toml").write_text(config, encoding="utf-8")
    done = TinyArena(tmp_path).run()
    assert done.returncode == 2
    assert done.stderr.endswith("arena: data: expected 10239 images to train on, found 480\n")


def test_an_unknown_config_names_those_that_come_with_it() -> None:
    with pytest.raises(
        ArenaError, match=r"one of ablation, development, paper, small, strict, got 'large'"
    ):
        read_config("large")
