"""``kinprint craft --method``: bundles of the literature's methods, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from worlds.in_process import run
from worlds.tiny_world import TinyWorld

from audit.api import open_bundle
from generator.errors import GenerationError
from generator.jobs.crafting import read_job

GIVEN = {
    "model": "a:b",
    "weights": "w.safetensors",
    "normalise": "0.5,0.5,0.5/0.25,0.25,0.25",
    "images": ("images",),
    "out": "x.kinprint",
    "key": "owner.key",
}


def arguments(world: TinyWorld, out: Path, **changes: str) -> list[str]:
    """Return those of the tiny world without MFUE's own; mimics are there already."""
    given = world.craft_arguments(out, work=str(world.folder / "work"), **changes)
    return [one for one in given if not one.startswith(("--triggers", "--num-probes"))]


@pytest.mark.parametrize("method", ["ipguard", "sac"])
def test_a_copy_scores_1_and_is_derived_a_stranger_is_not(
    tiny_world: TinyWorld, tmp_path: Path, method: str
) -> None:
    out = tmp_path / f"{method}.kinprint"
    crafted = run(*arguments(tiny_world, out, method=method, queries="30"))
    assert crafted.returncode == 0, crafted.stderr
    assert crafted.stdout.strip() == str(out)
    bundle = open_bundle(out, trust=[tiny_world.public_key])
    manifest = bundle.manifest
    assert manifest.method == method
    assert len(bundle.arrays.queries) == 30
    assert manifest.crafting["num_queries"] == 30
    assert manifest.crafting["option_patch" if method == "sac" else "option_k"] in (0.2, 1.0)
    # No innocent crafted, so that all of them calibrate, and nothing that crafted does.
    assert not [model for model in manifest.models if model.use == "selection"]
    done = run(
        *("audit", out, "--trust", tiny_world.public_key, "--json", "--fail-on", "never"),
        *("--journal", tmp_path / "journal.sqlite"),
        *(f"--onnx={tiny_world.folder / name}.onnx" for name in ("copy", "stranger")),
    )
    copy, stranger = (row["outcome"] for row in json.loads(done.stdout)["audits"])
    # a label is the same or not; probabilities of another runtime differ in their last bits
    assert copy["scores"][0]["value"] == (pytest.approx(1, abs=1e-4) if method == "sac" else 1.0)
    assert copy["verdict"] == "derived"
    assert stranger["scores"][0]["value"] < 1.0
    assert stranger["verdict"] != "derived"


def test_a_method_table_and_options_describe_the_same_run(tmp_path: Path) -> None:
    config = tmp_path / "craft.toml"
    config.write_text('[method]\nname = "ipguard"\nk = "0.5"\nk-unit = "logits"\n')
    options = {"method": "ipguard", "option": ("k=0.5", "k-unit=logits")}
    assert read_job(config, GIVEN) == read_job(None, {**GIVEN, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "ipgard"}, "method: expected one of mfue, ipguard, .*, got 'ipgard'"),
        ({"method": "ipguard", "option": ("z=1",)}, "ipguard has no 'z'; it has target, k, "),
        ({"method": "akh", "option": ("z=1",)}, "akh has no 'z'; it has none"),
        ({"method": "ipguard", "option": ("k=-1",)}, "option k: .* greater than or equal to 0"),
        ({"method": "ipguard", "option": ("k=wide",)}, "option k: .* valid number.*'wide'"),
        ({"method": "ipguard", "option": ("k",)}, "option: expected name=value, got 'k'"),
        ({"method": "ipguard", "num_triggers": 5}, "num_triggers: expected with --method mfue"),
        ({"method": "cae", "candidates": "natural"}, "candidates: expected with --method mfue"),
        ({"method": "ipguard", "student_epochs": 8}, "student_epochs: expected with mfue or a"),
        ({"option": ("k=1",)}, "option: expected none with mfue, .* got k"),
    ],
)
def test_wrong_methods_and_options_are_told_before_anything_is_read(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(GenerationError, match=message):
        read_job(None, {**GIVEN, **options})


def test_a_method_table_needs_a_name(tmp_path: Path) -> None:
    config = tmp_path / "craft.toml"
    config.write_text("[method]\nk = 0.5\n")
    with pytest.raises(GenerationError, match="method: expected name in the table"):
        read_job(config, GIVEN)


def test_an_option_on_the_command_line_overrides_the_table(tmp_path: Path) -> None:
    config = tmp_path / "craft.toml"
    config.write_text('[method]\nname = "ipguard"\nk = 0.5\ntarget = "random"\n')
    job = read_job(config, {**GIVEN, "option": ("k=2",)})
    assert job.method == "ipguard"
    assert job.method_options == {"k": "2", "target": "random"}


def test_too_few_references_name_the_command_that_makes_some(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    out = tmp_path / "x.kinprint"
    done = run(*arguments(tiny_world, out, method="akh", train_references="0"))
    assert done.returncode == 2
    assert (
        "alpha: 0.1 needs at least 9 innocent calibration models, got 0; give 9 "
        "('kinprint references' makes them) or raise --alpha to 1.000"
    ) in " ".join(done.stderr.split())
    done = run(*arguments(tiny_world, out, method="cae", train_references="0"))
    assert done.returncode == 2
    assert "make some with 'kinprint references'" in " ".join(done.stderr.split())
    assert not out.exists()


def test_too_few_images_to_decide_are_refused_with_their_count(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    out = tmp_path / "x.kinprint"
    options = arguments(tiny_world, out, method="ipguard")
    done = run(*options, "--option=max_carriers=8")
    told = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert "ipguard: expected at least 20 images, because fewer cannot decide, got 8 of 60" in told
    assert not out.exists()
