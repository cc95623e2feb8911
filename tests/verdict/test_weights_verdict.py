"""One verdict from answers and weights: which of the two spoke, at which level, and what is open.

Answers have the level 0.1 (9 innocents), weights 0.05 (19 lineages), both together 0.15.
"""

from dataclasses import replace

import pytest
from worlds.audit_world import NUM_CONTROLS, NUM_QUERIES, K
from worlds.weights.sketched_bundle import DERIVED_ABOVE, LEVEL, sketched_bundle

from adapters.suspect import WEIGHTS
from audit.answer import Answer
from audit.errors import AuditError
from audit.scores.merged_classes import as_asked
from audit.verdict.judge import judge
from audit.verdict.outcome import Outcome, Verdict
from audit.verdict.rule import DecisionRule

SCORES = ("likelihood-ratio",)
COPY, STRANGE = 0, 1
"""What derived models and innocents answer to every query."""


def answered(query_label: int, *, control_shift: int = 0) -> dict[str, Answer]:
    controls = {
        f"control/{index}": Answer(label=(index + control_shift) % K, log_probabilities=None)
        for index in range(NUM_CONTROLS)
    }
    queries = {
        f"query/{index}": Answer(label=query_label, log_probabilities=None)
        for index in range(NUM_QUERIES)
    }
    return controls | queries


def judged(
    query_label: int, similarities: str | None, *, num_innocents: int = 19, control_shift: int = 0
) -> Outcome:
    bundle = sketched_bundle(num_innocents=num_innocents)
    settings = {} if similarities is None else {WEIGHTS: similarities}
    answers = answered(query_label, control_shift=control_shift)
    return judge(as_asked(bundle, settings), answers, SCORES)


def alike(share: float) -> str:
    """All four layers of the file, equally alike."""
    return " ".join(f"{layer}:{round(share * 10_000)}" for layer in range(4)) + " layers=4"


def test_a_copy_that_answers_like_a_stranger_is_derived_by_its_weights() -> None:
    outcome = judged(STRANGE, alike(0.8))
    weights = outcome.weights
    assert weights is not None
    assert outcome.verdict is Verdict.DERIVED
    assert (weights.decided_by, weights.answers_verdict) == ("weights", "independent")
    assert weights.value == pytest.approx(0.8)
    assert weights.derived_above == pytest.approx(DERIVED_ABOVE)
    assert weights.p_value == pytest.approx(1 / 20)
    assert (weights.alpha, weights.answers_alpha, outcome.alpha) == (LEVEL, 0.1, 0.15)
    # 1 / 20 at a share of 0.05 / 0.15; the answers' p of 1 says less.
    assert outcome.p_value == pytest.approx(0.15)
    assert outcome.text.startswith("Derived by its weights; its answers do not say so.")
    assert "0.15 is called derived: 0.1 by answers, 0.05 by weights." in outcome.text


def test_a_copy_is_derived_by_both() -> None:
    outcome = judged(COPY, alike(1.0))
    assert outcome.weights is not None
    assert outcome.weights.decided_by == "both"
    assert outcome.verdict is Verdict.DERIVED
    assert outcome.text.startswith("Derived by its answers and by its weights.")


def test_a_student_is_derived_by_its_answers() -> None:
    outcome = judged(COPY, alike(0.05))
    assert outcome.weights is not None
    assert outcome.verdict is Verdict.DERIVED
    assert outcome.weights.decided_by == "answers"
    assert outcome.weights.blind_kinds == ("student",)
    # Innocents of 0.05 to 0.18 are as similar: 14 of 19.
    assert outcome.weights.p_value == pytest.approx(15 / 20)
    # 1 of 10 at a share of 0.1 / 0.15
    assert outcome.p_value == pytest.approx(0.15)


def test_a_stranger_is_independent_and_told_what_its_weights_say() -> None:
    outcome = judged(STRANGE, alike(0.1))
    assert outcome.weights is not None
    assert outcome.verdict is Verdict.INDEPENDENT
    assert outcome.weights.decided_by is None
    assert "Its weights: 4 of the source's 4 layers are there" in outcome.text


def test_weights_between_innocents_and_copies_clear_nobody() -> None:
    outcome = judged(STRANGE, alike(0.3))
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert outcome.text.startswith("Its answers clear it, but its weights do not.")
    assert "began from the same random numbers" in outcome.text


@pytest.mark.parametrize("told", ["- - - - layers=9", "unreadable", "- - - - hidden=4"])
def test_weights_that_cannot_be_compared_change_no_verdict(told: str) -> None:
    for label, verdict in ((STRANGE, Verdict.INDEPENDENT), (COPY, Verdict.DERIVED)):
        outcome = judged(label, told)
        assert outcome.verdict is verdict
        assert outcome.weights is not None
        assert outcome.weights.value is None
        assert outcome.weights.p_value == 1.0


def test_hidden_weights_are_told() -> None:
    outcome = judged(STRANGE, "- - - - hidden=4")
    assert "4 layers of the file are computed when it runs" in outcome.text


def test_a_file_without_weights_to_compare_is_judged_as_ever() -> None:
    outcome = judged(COPY, None)
    assert outcome.weights is None
    assert outcome.alpha == 0.1
    assert "weights" not in outcome.model_dump(mode="json")


def test_weights_speak_where_the_control_images_went_wrong() -> None:
    outcome = judged(STRANGE, alike(0.9), control_shift=1)
    assert outcome.verdict is Verdict.DERIVED
    assert outcome.scores == ()
    assert outcome.weights is not None
    assert outcome.weights.answers_verdict == "not comparable"
    assert outcome.p_value == pytest.approx(0.15)
    assert judged(STRANGE, alike(0.1), control_shift=1).verdict is Verdict.NOT_COMPARABLE


def test_with_too_few_innocents_weights_are_told_and_decide_nothing() -> None:
    outcome = judged(STRANGE, alike(1.0), num_innocents=8)
    assert outcome.verdict is Verdict.INDEPENDENT
    assert outcome.alpha == 0.1
    assert outcome.weights is not None
    assert (outcome.weights.alpha, outcome.weights.is_derived) == (None, False)
    assert "too few for a verdict" in outcome.text


def test_an_auditor_who_wants_a_smaller_rate_than_weights_can_give_is_judged_by_answers() -> None:
    bundle = as_asked(sketched_bundle(), {WEIGHTS: alike(1.0)})
    rule = DecisionRule(alpha=0.02, beta=0.1)
    outcome = judge(bundle, answered(STRANGE), SCORES, rule)
    assert outcome.weights is not None
    assert (outcome.alpha, outcome.weights.alpha) == (0.02, None)
    assert not outcome.weights.is_derived


def test_a_part_of_a_larger_network_in_another_order_is_told() -> None:
    told = "2:9000m 4:9000m 6:9000m 8:9000 layers=11"
    outcome = judged(STRANGE, told)
    assert "In 3 layers its filters stand in another order" in outcome.text
    assert "part of a network of 11 layers" in outcome.text


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("0:100 1:100", "weights: expected 4 layers, those of the bundle's sketch, got 2"),
        ("0:100 1:100 2:100 x", "weights: expected words such as"),
    ],
)
def test_similarities_of_another_sketch_are_refused(told: str, message: str) -> None:
    with pytest.raises(AuditError, match=message):
        as_asked(sketched_bundle(), {WEIGHTS: told})


def test_similarities_without_a_sketch_are_refused() -> None:
    bundle = replace(sketched_bundle(), weights=None)
    with pytest.raises(AuditError, match="expected none, because the bundle has no sketch"):
        as_asked(bundle, {WEIGHTS: alike(1.0)})
