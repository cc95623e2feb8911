"""``kinprint lineup``: siblings of a tiny source, a bundle with them, and an audit by it."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from worlds.in_process import Done, run
from worlds.tiny_onnx import write_onnx
from worlds.tiny_task import tiny_images, trained_net, write_images, write_weights
from worlds.tiny_world import HERE, PUBLIC_VALUE, TinyWorld

from audit.bundle.bundle_file import read_bundle
from audit.bundle.line_up import LineUp, public_commitment, sibling_seed
from audit.signing.keys import PublicKey, Trust, load_public_key
from generator.pools.siblings import SeedOrigin, open_run

FACTORY = f"{HERE / 'tiny_task.py'}:tiny_net"
TRAIN = """\
import shutil, sys
from pathlib import Path

seed, weights, ready = sys.argv[1:]
taken = Path(ready) / "taken"
num = len(taken.read_text().split()) if taken.exists() else 0
print("training with seed", seed)
if (Path(ready) / "fails-at").exists() and num == int((Path(ready) / "fails-at").read_text()):
    sys.exit("out of memory")
shutil.copy(Path(ready) / f"run-{num}.safetensors", weights)
taken.write_text(taken.read_text() + f" {seed}" if taken.exists() else seed)
"""


@dataclass(frozen=True)
class Desk:
    """What an owner has at hand for a line-up."""

    world: TinyWorld
    folder: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def lineup(self, out: Path, *more: object, **changes: object) -> Done:
        options: dict[str, object] = {
            "model": FACTORY,
            "source": self.world.folder / "source.safetensors",
            "images": self.folder / "natural",
            "panel": self.folder / "panel",
            "derived": self.folder / "derived",
            "key": self.world.folder / "owner.key",
            "out": out,
            **changes,
        }
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value]
        return run("lineup", self.world.bundle, *given, "--quiet", *more)

    def line_up(self, bundle: Path) -> LineUp:
        key: PublicKey = load_public_key(self.world.public_key)
        found = read_bundle(bundle, Trust(keys=(key,))).line_up
        assert found is not None
        return found


@pytest.fixture(scope="module")
def desk(tiny_world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("line-up")
    train = tiny_images(300, 1)
    (folder / "runs").mkdir()
    for number in range(9):
        write_weights(
            folder / "runs" / f"run-{number}.safetensors", trained_net(100 + number, train)
        )
    natural = folder / "natural"
    natural.mkdir()
    for number, image in enumerate(tiny_images(360, 5).images):
        Image.fromarray(image).save(natural / f"{number:03d}.png")
    for kind, seeds in (("twin", (31, 32)), ("other-data", (33, 34))):
        (folder / "panel" / kind).mkdir(parents=True)
        for seed in seeds:
            data = train if kind == "twin" else tiny_images(300, seed)
            write_onnx(folder / "panel" / kind / f"net-{seed}.onnx", trained_net(seed, data))
    (folder / "derived").mkdir()
    for name in ("copy", "pruned"):
        (folder / "derived" / f"{name}.onnx").write_bytes(
            (tiny_world.folder / f"{name}.onnx").read_bytes()
        )
    return Desk(tiny_world, folder)


@pytest.fixture(scope="module")
def bundle(desk: Desk) -> Path:
    out = desk.folder / "with-line-up.kinprint"
    done = desk.lineup(out, weights=desk.runs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    assert "the source among 9 siblings" in done.stderr
    assert "runs that the owner had" in done.stderr
    assert "called derived at a rate of 0.2 at most: 0.1 by the queries, 0.1 by" in done.stderr
    return out


def test_a_copy_picks_the_source_and_a_stranger_does_not(
    desk: Desk, bundle: Path, tmp_path: Path
) -> None:
    found = {}
    for name in ("copy", "stranger"):
        done = run(
            "audit",
            *(bundle, "--trust", desk.world.public_key, "--score", "line-up", "--json"),
            *("--onnx", desk.world.folder / f"{name}.onnx", "--journal", tmp_path / "j.sqlite"),
        )
        found[name] = json.loads(done.stdout)["audits"][0]["outcome"]
    copy = found["copy"]["scores"][0]
    assert copy["p_value"] == 0.1
    assert copy["line_up"]["rank"] == 1
    assert copy["line_up"]["basis"] == "line-up"
    assert found["copy"]["verdict"] == "derived"
    assert found["stranger"]["verdict"] != "derived"


def test_a_bundle_with_both_asks_in_two_steps(desk: Desk, bundle: Path, tmp_path: Path) -> None:
    def audited(*options: object) -> dict[str, Any]:
        done = run(
            "audit", bundle, "--trust", desk.world.public_key, "--json", *options,
            "--journal", tmp_path / "j.sqlite",
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["exit_code"] == done.returncode
        return found

    copy, stranger = (desk.world.folder / f"{name}.onnx" for name in ("copy", "stranger"))
    found = audited("--onnx", copy)
    # Nine siblings and nine innocents take 0.1 each: the sum is told and not alpha alone.
    assert found["bundle"]["alpha"] == 0.2
    outcome = found["audits"][0]["outcome"]
    assert outcome["verdict"] == "derived"
    assert outcome["steps"]["decided_by"] == "crafted queries"
    assert outcome["steps"]["line_up_verdict"] is None
    outcome = audited("--onnx", stranger)["audits"][0]["outcome"]
    assert outcome["verdict"] != "derived"
    assert outcome["steps"]["line_up_verdict"] is not None
    copies = audited("--onnx", stranger, "--look-for", "copies")["audits"][0]["outcome"]
    assert copies["verdict"] == "no copy"
    assert "steps" not in copies


def test_a_score_and_what_to_look_for_exclude_each_other(desk: Desk, bundle: Path) -> None:
    done = run(
        "audit", bundle, "--trust", desk.world.public_key, "--score", "line-up",
        "--look-for", "copies", "--onnx", desk.world.folder / "copy.onnx",
    )  # fmt: skip
    assert done.returncode == 2
    assert "--score and --look-for exclude each other" in done.stderr


def test_what_a_line_up_rests_on_stands_in_the_bundle(desk: Desk, bundle: Path) -> None:
    line_up = desk.line_up(bundle)
    record, arrays = line_up.record, line_up.arrays
    assert [member.name for member in record.members][:2] == ["source", "run-0"]
    assert len(record.members) == 10
    assert record.made_by == "weights"
    assert {model.kind for model in record.panel} == {"twin", "other-data"}
    assert [model.name for model in record.models[4:]] == ["copy", "pruned"]
    assert len(arrays.questions) == 360
    assert record.lead_bound > 0
    # the copy answers like the source, to the last code
    assert np.abs(arrays.model_codes[4].astype(int) - arrays.member_codes[0]).max() <= 1


def command_of(desk: Desk, folder: Path) -> tuple[str, Path]:
    """A training that takes a second less than none: it hands out runs that are there."""
    script, ready = folder / "train.py", folder / "ready"
    ready.mkdir()
    script.write_text(TRAIN)
    for path in desk.runs.iterdir():
        (ready / path.name).write_bytes(path.read_bytes())
    return f"{sys.executable} {script} {{seed}} {{weights}} {ready}", ready


def test_the_owners_command_trains_siblings_and_goes_on_after_a_failure(
    desk: Desk, tmp_path: Path
) -> None:
    command, ready = command_of(desk, tmp_path)
    (ready / "fails-at").write_text("2")
    out, work = tmp_path / "b.kinprint", tmp_path / "siblings"
    options = {"train": command, "num": 9, "work": work, "seed_from": PUBLIC_VALUE}
    failed = desk.lineup(out, **options)
    assert failed.returncode == 2
    assert "train: sibling-003 (seed" in failed.stderr
    assert "ended with status 1; its output is in" in failed.stderr
    assert b"out of memory" in (work / "sibling-003.log").read_bytes()
    assert not out.exists()
    assert sorted(path.name for path in work.glob("*.safetensors")) == [
        "sibling-001.safetensors",
        "sibling-002.safetensors",
    ]
    (ready / "fails-at").unlink()
    done = desk.lineup(out, **options)
    assert done.returncode == 0, done.stderr
    assert "exactly exchangeable" in done.stderr
    record = desk.line_up(out).record
    assert record.made_by == "command"
    assert record.made_how == command
    # The first two were not trained again, and every seed follows from the commitment.
    assert record.seed_from == PUBLIC_VALUE
    assert record.seed_commitment == public_commitment(
        PUBLIC_VALUE,
        source_sha256=record.members[0].weights_sha256,
        made_by="command",
        made_how=command,
    )
    seeds = [sibling_seed(record.seed_commitment, number) for number in range(1, 10)]
    assert [member.seed for member in record.members] == [None, *seeds]
    assert (ready / "taken").read_text().split() == [str(seed) for seed in seeds]


def test_a_folder_of_siblings_never_mixes_two_trainings(tmp_path: Path) -> None:
    drawn, command = SeedOrigin(source_sha256="ab" * 32), "train {seed} {weights}"
    first = open_run(tmp_path, "command", command, drawn)
    assert open_run(tmp_path, "command", command, drawn) == first
    from generator.errors import GenerationError

    with pytest.raises(GenerationError, match="holds siblings made by"):
        open_run(tmp_path, "command", "train --better {seed} {weights}", drawn)
    public = replace(drawn, public_value=PUBLIC_VALUE)
    with pytest.raises(GenerationError, match=f"seeds are from null, got .*{PUBLIC_VALUE}"):
        open_run(tmp_path, "command", command, public)
    (tmp_path / "line-up.json").write_text("{}")
    with pytest.raises(GenerationError, match="new seeds beside siblings that are there"):
        open_run(tmp_path, "command", command, drawn)


def test_runs_that_were_there_follow_from_no_public_value(desk: Desk, tmp_path: Path) -> None:
    done = desk.lineup(tmp_path / "b.kinprint", weights=desk.runs, seed_from=PUBLIC_VALUE)
    assert done.returncode == 2
    assert "seed-from: expected siblings that are trained here, got --weights" in done.stderr


@pytest.mark.long
def test_kinprints_own_recipe_is_said_to_be_approximate(desk: Desk, tmp_path: Path) -> None:
    write_images(tmp_path / "train", tiny_images(300, 1))
    out = tmp_path / "b.kinprint"
    done = desk.lineup(
        out,
        "--rank-among-innocents",
        recipe=tmp_path / "train",
        num=2,
        epochs=4,
        learning_rate=0.02,
    )
    assert done.returncode == 0, done.stderr
    assert "approximately exchangeable" in done.stderr
    record = desk.line_up(out).record
    assert record.made_by == "recipe"
    assert "300 images, 4 epochs" in record.made_how


def with_one_more(desk: Desk, folder: Path, weights: bytes | None) -> Path:
    """The runs, the last of them replaced."""
    runs = folder / "runs"
    runs.mkdir()
    for path in desk.runs.iterdir():
        (runs / path.name).write_bytes(path.read_bytes())
    if weights is not None:
        (runs / "run-8.safetensors").write_bytes(weights)
    return runs


def test_a_sibling_that_is_there_twice_is_refused(desk: Desk, tmp_path: Path) -> None:
    again = (desk.runs / "run-0.safetensors").read_bytes()
    done = desk.lineup(tmp_path / "b.kinprint", weights=with_one_more(desk, tmp_path, again))
    assert done.returncode == 2
    assert "run-0 and run-8 have the same weights" in done.stderr


@pytest.mark.long
def test_a_sibling_that_is_a_rounded_copy_of_the_source_is_refused(
    desk: Desk, tmp_path: Path
) -> None:
    runs = with_one_more(desk, tmp_path, None)
    source = load_file(desk.world.folder / "source.safetensors")
    rounded = {
        name: one.astype(np.float16).astype(np.float32) if one.dtype == np.float32 else one
        for name, one in source.items()
    }
    save_file(rounded, runs / "run-8.safetensors")
    done = desk.lineup(tmp_path / "b.kinprint", weights=runs)
    assert done.returncode == 2
    assert "run-8 answers exactly like source; it is a copy of it" in done.stderr


def test_a_sibling_that_failed_to_train_is_named(desk: Desk, tmp_path: Path) -> None:
    runs = with_one_more(desk, tmp_path, None)
    broken = load_file(runs / "run-8.safetensors")
    broken["head.weight"] = np.zeros_like(broken["head.weight"])
    broken["head.bias"] = np.array([0, 9, 0], dtype=np.float32)
    save_file(broken, runs / "run-8.safetensors")
    done = desk.lineup(tmp_path / "b.kinprint", weights=runs)
    assert done.returncode == 2
    assert "run-8 gets" in done.stderr
    assert "its training failed" in done.stderr


def test_too_few_siblings_are_told_what_they_can_give(desk: Desk, tmp_path: Path) -> None:
    done = desk.lineup(tmp_path / "b.kinprint", train="train {seed} {weights}", num=5)
    assert done.returncode == 2
    assert "alpha 0.1 needs 9, 5 can give p = 0.167 at best" in done.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "expected one of --train COMMAND, --weights DIR and --recipe DIR"),
        ({"train": "python train.py --out {weights}"}, "expected {seed} in the command"),
        ({"train": "python train.py --seed {seed}"}, "expected {weights} in the command"),
        ({"train": "no-such-program {seed} {weights}"}, "cannot run no-such-program"),
        ({"train": f"{sys.executable} -c pass {{seed}} {{weights}}"}, "ended without writing"),
        ({"weights": "nowhere"}, "weights: there is no folder nowhere"),
        ({"weights": "{natural}"}, "expected .safetensors, .pt, .pth, .onnx files in"),
        ({"weights": "{runs}", "source": "{other}"}, "source: expected the model of the bundle"),
        ({"weights": "{runs}", "trained_on": "{natural}"}, "were trained on all of them"),
        ({"weights": "{runs}", "model": ""}, "expected --model file.py:factory, which reads"),
        (
            {"weights": "{runs}", "panel": "{derived}"},
            "copy of the panel answers exactly like source",
        ),
    ],
)
def test_bad_input_gives_one_sentence(
    desk: Desk, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    places = {
        "{natural}": str(desk.folder / "natural"),
        "{runs}": str(desk.runs),
        "{other}": str(desk.runs / "run-0.safetensors"),
        "{derived}": str(desk.folder / "derived"),
    }
    given = {name: places.get(value, value) for name, value in changes.items()}
    done = desk.lineup(tmp_path / "b.kinprint", **given)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "b.kinprint").exists()


def test_few_images_are_told_and_the_line_up_may_decide(desk: Desk, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted((desk.folder / "natural").iterdir())[:40]:
        (few / path.name).write_bytes(path.read_bytes())
    arguments = [
        "lineup",
        desk.world.bundle,
        *("--model", FACTORY, "--source", desk.world.folder / "source.safetensors"),
        *("--weights", desk.runs, "--images", few, "--panel", desk.folder / "panel"),
        *("--derived", desk.folder / "derived", "--key", desk.world.folder / "owner.key"),
        *("--out", tmp_path / "b.kinprint", "--decides"),
    ]
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert "Only 40 images: below 300" in done.stderr
    assert "derived models that it finds:" in done.stderr
    assert "the line-up decides at an alpha of 0.1" in done.stderr
    shown = run("inspect", tmp_path / "b.kinprint", "--trust", desk.world.public_key)
    assert "decides by line-up" in shown.stdout
    assert "the source among 9 siblings" in shown.stdout
