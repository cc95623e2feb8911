"""``kinprint craft --sketch``: a bundle by which files are judged by their weights, too."""

import json
from pathlib import Path

import pytest
from worlds.in_process import run
from worlds.tiny_world import TinyWorld

from audit.api import open_bundle


@pytest.mark.long
def test_a_sketch_is_crafted_and_a_copy_is_kin_and_a_stranger_is_not(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    out = tmp_path / "sketched.kinprint"
    given = tiny_world.craft_arguments(
        out, work=str(tiny_world.folder / "work"), method="ipguard", queries="30"
    )
    crafted = run(
        *(one for one in given if not one.startswith(("--triggers", "--num-probes"))), "--sketch"
    )
    assert crafted.returncode == 0, crafted.stderr
    assert "Sketch of 2 layers" in crafted.stderr
    bundle = open_bundle(out, trust=[tiny_world.public_key])
    assert bundle.weights is not None
    kinship = {model.name: model.kinship for model in bundle.weights.record.models}
    innocents = [one.kinship for one in bundle.weights.record.models if one.role == "innocent"]
    assert max(innocents) < 0.8 < kinship["pruned-15"]
    # What only asks the source has its weights and no own.
    assert not [name for name in kinship if name.startswith("mirrored")]
    done = run(
        *("audit", out, "--trust", tiny_world.public_key, "--json", "--fail-on", "never"),
        *("--journal", tmp_path / "journal.sqlite"),
        *(f"--onnx={tiny_world.folder / name}.onnx" for name in ("copy", "stranger")),
    )
    copy, stranger = (row["outcome"]["weights"] for row in json.loads(done.stdout)["audits"])
    assert copy["value"] == pytest.approx(1, abs=1e-3)
    assert copy["is_derived"]
    assert not stranger["is_derived"]
