"""Who is counted: lineages of innocents, kinds of derived models."""

import numpy as np
import pytest
from worlds.audit_world import known_bundle

from audit.bundle.manifest import ModelRecord
from audit.verdict.judge import judge
from audit.verdict.populations import populations


def with_lineages(*lineages: str | None) -> tuple[ModelRecord, ...]:
    models = known_bundle().manifest.calibration_models
    named = [*lineages, *[None] * (len(models) - len(lineages))]
    return tuple(
        model.model_copy(update={"lineage": lineage})
        for model, lineage in zip(models, named, strict=True)
    )


def test_models_of_one_lineage_count_once_and_by_the_highest_score() -> None:
    models = with_lineages("a", "b", "a", "b", "a")
    compared = populations(known_bundle(models=models).manifest)
    # nine innocents: three of a, two of b, four on their own
    assert compared.num_lineages == 6
    scores = np.arange(18.0)
    assert compared.innocent(scores).tolist() == [4.0, 3.0, 5.0, 6.0, 7.0, 8.0]
    assert compared.derived(scores).tolist() == list(np.arange(9.0, 18.0))


def test_a_lineage_counts_in_every_stratum_that_it_has_members_in() -> None:
    # Innocents 0, 2, 4, 6, 8 are "even". Lineage a is 0 and 1: in either kind by its own member.
    compared = populations(known_bundle(models=with_lineages("a", "a")).manifest)
    scores = np.arange(18.0)
    assert compared.innocent_strata == ("even", "odd")
    assert compared.innocent(scores, "even").tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert compared.innocent(scores, "odd").tolist() == [1.0, 3.0, 5.0, 7.0]


def test_models_without_a_lineage_are_lineages_even_if_they_share_a_name() -> None:
    models = tuple(model.model_copy(update={"name": "same"}) for model in with_lineages())
    assert populations(known_bundle(models=models).manifest).num_lineages == 9


def test_a_lineage_named_like_a_number_is_no_other_models() -> None:
    assert populations(known_bundle(models=with_lineages("3")).manifest).num_lineages == 9


@pytest.mark.parametrize(("accuracy", "has_equals"), [(0.95, True), (0.94, False)])
def test_an_innocent_within_five_points_of_the_source_is_its_equal(
    accuracy: float, *, has_equals: bool
) -> None:
    models = tuple(
        model.model_copy(update={"control_accuracy": accuracy if model.role == "innocent" else 1.0})
        for model in with_lineages()
    )
    assert populations(known_bundle(models=models).manifest).has_equals is has_equals


def test_too_few_lineages_never_accuse_however_many_files_there_are() -> None:
    from worlds.audit_world import QUERY, KnownSuspect  # noqa: F401

    bundle = known_bundle(models=with_lineages("a", "a"))
    assert populations(bundle.manifest).num_lineages == 8
    outcome = judge(bundle, {}, ("likelihood-ratio",))
    assert outcome.scores == ()
