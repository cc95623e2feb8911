"""Models that are added to a bundle count among the innocents of its weights."""

from worlds.audit_world import known_bundle
from worlds.weights.networks import drawn
from worlds.weights.sketched_bundle import sketched

from adapters.suspect import WEIGHTS
from audit.bundle.manifest import ModelRecord
from audit.calibrating.weight_models import kinship_of, with_models
from audit.verdict.weights.one_verdict import weights_level


def added(name: str, lineage: str | None) -> ModelRecord:
    return ModelRecord(
        name=name,
        role="innocent",
        use="calibration",
        stratum="given",
        lineage=lineage,
        provenance="made up",
        weights_sha256=f"{name:0>64}",
        control_accuracy=1.0,
    )


def test_added_innocents_lower_the_level_by_lineages() -> None:
    record, manifest = sketched(drawn(1)).record, known_bundle().manifest
    new = [added("1", "run"), added("2", "run"), added("3", None), added("4", None)]
    whole = manifest.model_copy(update={"models": (*manifest.models, *new)})
    more = with_models(record, whole, list(zip(new, [0.1, 0.12, 0.05, None], strict=True)))
    # 19 lineages, one of two files, and one more; the fourth has no layers to compare.
    assert weights_level(more, 0.1) == 1 / 22
    roles = [model.role for model in more.models]
    assert roles == sorted(roles, reverse=True)
    assert {model.name: model.kinship for model in more.models}["2"] == 0.12


def test_the_kinship_of_a_file_is_in_its_details() -> None:
    assert kinship_of({WEIGHTS: "0:5000 1:3000 layers=2"}) == 0.4
    assert kinship_of({WEIGHTS: "- - layers=2"}) is None
    assert kinship_of({WEIGHTS: "unreadable"}) is None
    assert kinship_of({}) is None
