"""Who is counted: lineages of innocents, kinds of derived models."""

import numpy as np
import pytest
from worlds.audit_world import NUM_CONTROLS, NUM_QUERIES, K, known_bundle

from audit.answer import Answer
from audit.bundle.manifest import ModelRecord
from audit.verdict.judge import judge
from audit.verdict.outcome import Verdict
from audit.verdict.populations import populations
from audit.verdict.rule import DecisionRule


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


@pytest.mark.parametrize(
    ("lineages", "verdict"), [(("a", "a"), Verdict.INCONCLUSIVE), (("a", "b"), Verdict.DERIVED)]
)
@pytest.mark.parametrize("stopping_error", [0.0, 0.01])
def test_too_few_lineages_never_accuse_however_many_files_there_are(
    lineages: tuple[str, str], verdict: Verdict, stopping_error: float
) -> None:
    # Alpha 0.1 takes nine: eight lineages of nine files give p = 1/9 at best.
    bundle = known_bundle(models=with_lineages(*lineages))
    given = {f"control/{index}": index % K for index in range(NUM_CONTROLS)}
    given |= {f"query/{index}": 0 for index in range(NUM_QUERIES)}
    answers = {name: Answer(label=one, log_probabilities=None) for name, one in given.items()}
    rule = DecisionRule(alpha=0.1, beta=0.1, stopping_error=stopping_error)
    (score,) = judge(bundle, answers, ("likelihood-ratio",), rule).scores
    assert score.verdict is verdict
    assert (score.derived_above is None) is (verdict is Verdict.INCONCLUSIVE)
    assert score.smallest_p_value == score.p_value == 1 / (len(set(lineages)) + 8)
