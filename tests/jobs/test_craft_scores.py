"""``kinprint craft --scores``: what a bundle is not made for is not computed."""

from pathlib import Path

import pytest
from worlds.in_process import run
from worlds.tiny_world import TinyWorld

from audit.api import open_bundle
from generator.errors import GenerationError
from generator.jobs.crafting import read_job


@pytest.mark.parametrize(
    ("scores", "num_triggers"),
    [("likelihood-ratio,rank-correlation", 0), ("likelihood-ratio,mfue-w", 12)],
)
def test_what_is_left_out_is_neither_made_nor_asked(
    tiny_world: TinyWorld, tmp_path: Path, scores: str, num_triggers: int
) -> None:
    out = tmp_path / "lean.kinprint"
    arguments = tiny_world.craft_arguments(
        out, work=str(tiny_world.folder / "work"), scores=scores, seed="0"
    )
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(out, trust=[tiny_world.public_key])
    assert len(bundle.arrays.triggers) == num_triggers
    assert bundle.manifest.probes is None
    assert bundle.manifest.crafting["scores"] == scores
    assert len(bundle.arrays.queries) == 60
    audit = ("audit", out, "--trust", tiny_world.public_key, "--journal", tmp_path / "j.sqlite")
    copy = f"--onnx={tiny_world.folder / 'copy.onnx'}"
    found = run(*audit, copy)
    assert "derived" in found.stdout
    assert found.returncode == 10
    refused = run(*audit, copy, "--score", "mfue-b")
    assert refused.returncode not in (0, 10)
    assert "mfue-b" in refused.stderr


def test_a_plan_counts_what_is_asked_for_only(tiny_world: TinyWorld, tmp_path: Path) -> None:
    out = tmp_path / "lean.kinprint"
    whole = run(*tiny_world.craft_arguments(out), "--plan")
    lean = run(*tiny_world.craft_arguments(out, scores="likelihood-ratio"), "--plan")
    assert "probes" in whole.stdout
    assert "triggers" in whole.stdout
    assert lean.returncode == 0, lean.stderr
    assert "probes" not in lean.stdout
    assert "triggers" not in lean.stdout


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scores": "mfue-w"}, "expected likelihood-ratio among them"),
        ({"scores": "likelihood-ratio,sharpness"}, "scores"),
        ({"scores": ["likelihood-ratio"], "candidates": "triggers"}, "triggers need mfue-w"),
    ],
)
def test_scores_that_do_not_fit_are_refused_before_anything_is_trained(
    fields: dict[str, object], message: str
) -> None:
    given: dict[str, object] = {
        "model": "a:b",
        "weights": "w.safetensors",
        "normalise": "0.5,0.5,0.5/0.25,0.25,0.25",
        "images": ("images",),
        "out": "x.kinprint",
        "key": "owner.key",
    }
    with pytest.raises(GenerationError, match=message):
        read_job(None, given | fields)
