from dataclasses import replace

import numpy as np
import pytest
from worlds.audit_world import (
    CONTROL,
    NUM_CONTROLS,
    NUM_MODELS,
    NUM_QUERIES,
    K,
    KnownSuspect,
    known_bundle,
)

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.errors import AuditError
from audit.scores.likelihood_ratio import GRID
from audit.verdict.conformal_path import MIN_ACCUSING, MIN_CLEARING
from audit.verdict.judge import check_controls, judge
from audit.verdict.outcome import Likeness, Outcome, Verdict
from audit.verdict.rule import DecisionRule, choose_rule

LIKE_DERIVED = np.log(0.75 / 0.20)
"""Evidence of answering 0 to a query of the known bundle."""
OWNERS_WORD = "That the bundle's innocents are what it says is the owner's word."


def answers(label: int, num: int = NUM_QUERIES, right: int = NUM_CONTROLS) -> dict[str, Answer]:
    given = {
        f"control/{i}": Answer(label=i % K if i < right else (i + 1) % K, log_probabilities=None)
        for i in range(NUM_CONTROLS)
    }
    return given | {f"query/{i}": Answer(label=label, log_probabilities=None) for i in range(num)}


def copied(num: int) -> dict[str, Answer]:
    """Answers like a copy's to so many queries, early and late ones alike."""
    return {
        f"query/{index}": Answer(label=0, log_probabilities=None)
        for index in range(NUM_QUERIES)
        if index * num % NUM_QUERIES < num
    }


def outcome(label: int, num: int = NUM_QUERIES, right: int = NUM_CONTROLS) -> Outcome:
    return judge(known_bundle(), answers(label, num, right), ("likelihood-ratio",))


def test_a_suspect_that_answers_like_derived_models_is_derived() -> None:
    (score,) = (result := outcome(0)).scores
    assert result.verdict is Verdict.DERIVED
    assert score.value == pytest.approx(LIKE_DERIVED, abs=GRID)
    # innocents score -log(0.75/0.20), derived +log(0.75/0.20): half-way; who is cleared scores no
    # higher than innocents do
    assert score.derived_above == pytest.approx(0, abs=GRID)
    assert score.independent_below == pytest.approx(-LIKE_DERIVED, abs=GRID)
    assert score.p_value == score.smallest_p_value == pytest.approx(0.1)
    assert (score.likeness, score.p_derived) == (Likeness.DERIVED, 1.0)


def test_a_suspect_that_answers_like_innocents_is_independent() -> None:
    (score,) = (result := outcome(1)).scores
    assert result.verdict is Verdict.INDEPENDENT
    assert (score.likeness, score.p_value) == (Likeness.INNOCENT, 1.0)
    assert score.p_derived == score.smallest_p_derived == pytest.approx(0.1)


def test_p_values_are_told_for_each_stratum() -> None:
    (score,) = outcome(0).scores
    # nine innocents: numbers 0, 2, 4, 6, 8 are "even", four are "odd"
    assert score.strata == pytest.approx({"even": 1 / 6, "odd": 1 / 5})


def test_the_text_says_what_the_verdict_rests_on() -> None:
    assert outcome(0).text == (
        "The score 1.322 is above the threshold 0.000. Of 9 innocent models of 2 kinds, none "
        "scored as high: p = 0.100, the smallest that so many can give. Taken alone, the kind "
        "'odd' says least: p = 0.200. " + OWNERS_WORD
    )


@pytest.mark.parametrize(
    ("num", "told"), [(1, "Only 1 query was answered"), (19, "Only 19 queries were answered")]
)
def test_the_text_says_that_the_queries_were_too_few(num: int, told: str) -> None:
    assert outcome(0, num=num).text.startswith(f"{told}; at least 20 are needed.")


def test_the_models_of_either_role_are_counted() -> None:
    (score,) = outcome(0).scores
    assert (score.num_innocents, score.num_derived) == (9, 9)


def test_wrong_controls_make_a_suspect_not_comparable_and_no_score_is_computed() -> None:
    result = outcome(0, right=5)
    assert result.verdict is Verdict.NOT_COMPARABLE
    assert result.scores == ()
    assert "order of the classes" in result.text


def test_controls_at_the_least_accuracy_are_comparable() -> None:
    assert outcome(0, right=6).control.comparable


@pytest.mark.parametrize(("right", "num_images"), [(NUM_CONTROLS, 6), (0, 4)])
def test_control_images_stop_as_soon_as_a_bet_on_them_is_won(right: int, num_images: int) -> None:
    # Floor 0.6 of ten images, 1 / 0.01 needed. The boldest share of 0.99 holds 4 / 6 of the wealth:
    # right ones gain 1.66 1.79 1.99 2.32 2.98 4.96, in all 203 after six and 41 after five; wrong
    # ones 2.49 2.98 3.97 6.94, in all 204 after four and 29 after three. The others add 3 at most.
    rule = DecisionRule(alpha=0.1, beta=0.1, stopping_error=0.01)
    control = check_controls(known_bundle(), answers(0, num=0, right=right), rule)
    assert control.num_images == num_images
    assert control.comparable is (right > 0)


@pytest.mark.parametrize(("num", "is_known"), [(19, False), (20, True)])
def test_answers_of_nobodys_are_noticed_from_twenty_queries_on(num: int, *, is_known: bool) -> None:
    (score,) = outcome(2, num=num).scores
    assert (score.is_evasive, score.looks_random) == (is_known, is_known)


@pytest.mark.parametrize("label", [0, 1])
def test_answers_like_a_models_do_not_look_random(label: int) -> None:
    (score,) = outcome(label).scores
    assert (score.is_evasive, score.looks_random, score.repeats) == (False, False, None)


@pytest.mark.parametrize("label", [0, 1])
def test_a_part_of_the_queries_decides_nothing_where_all_are_to_be_asked(label: int) -> None:
    assert outcome(label, num=NUM_QUERIES - 1).verdict is Verdict.INCONCLUSIVE
    assert outcome(label).verdict is not Verdict.INCONCLUSIVE


def test_what_is_like_neither_kind_is_called_nothing_and_told_so() -> None:
    # 16 of 40 answers like a copy's: above every innocent and below every derived model.
    given = answers(1) | copied(16)
    result = judge(known_bundle(), given, ("likelihood-ratio",))
    (score,) = result.scores
    assert (score.verdict, score.likeness) == (Verdict.INCONCLUSIVE, Likeness.NEITHER)
    assert (score.p_value, score.p_derived) == (0.1, 0.1)
    assert "It is like neither kind: higher than innocent models get, and lower than copies" in (
        result.text
    )
    assert "a server that alters images" in result.text


def test_what_is_like_both_kinds_is_called_nothing_and_told_so() -> None:
    # Every model answers alike on half of the queries, and innocents with class 0 everywhere once.
    known = known_bundle()
    labels = known.arrays.model_query_labels.copy()
    labels[0], labels[-1] = 0, 1
    bundle = replace(known, arrays=replace(known.arrays, model_query_labels=labels))
    result = judge(bundle, answers(0), ("likelihood-ratio",))
    (score,) = result.scores
    assert (score.verdict, score.likeness) == (Verdict.INCONCLUSIVE, Likeness.BOTH)
    assert score.p_value == 0.2
    assert "It is like both kinds" in result.text


def test_an_innocent_verdict_names_the_copies_that_go_unseen() -> None:
    known = known_bundle(beta=0.2)
    labels = known.arrays.model_query_labels.copy()
    labels[-1] = 1
    hardened = known.manifest.models[-1].model_copy(update={"stratum": "hardened"})
    manifest = known.manifest.model_copy(update={"models": (*known.manifest.models[:-1], hardened)})
    bundle = replace(
        known, manifest=manifest, arrays=replace(known.arrays, model_query_labels=labels)
    )
    result = judge(bundle, answers(1), ("likelihood-ratio",))
    assert result.verdict is Verdict.INDEPENDENT
    assert result.scores[0].blind_kinds == ("hardened",)
    assert "Copies of these kinds go unseen by this score: 'hardened'." in result.text


def test_a_p_value_against_weaker_models_is_called_that() -> None:
    known = known_bundle()
    models = tuple(
        model.model_copy(update={"control_accuracy": 0.9}) for model in known.manifest.models
    )
    manifest = known.manifest.model_copy(update={"models": models})
    result = judge(replace(known, manifest=manifest), answers(0), ("likelihood-ratio",))
    assert not result.scores[0].has_equals
    assert "p rests on weaker models only" in result.text


def test_a_suspect_that_refuses_much_is_not_called_independent() -> None:
    given = answers(1)
    for index in range(3):  # 7.5 % of 40
        given[f"query/{index}"] = Answer(label=REFUSED, log_probabilities=None)
    result = judge(known_bundle(), given, ("likelihood-ratio",))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "refused 8% of the queries" in result.text


def test_a_suspect_that_refuses_no_more_than_a_twentieth_may_be_independent() -> None:
    given = answers(1)
    for index in range(2):  # 5 % of 40
        given[f"query/{index}"] = Answer(label=REFUSED, log_probabilities=None)
    assert judge(known_bundle(), given, ("likelihood-ratio",)).verdict is Verdict.INDEPENDENT


def test_the_share_of_refusals_is_one_of_the_queries_that_were_asked() -> None:
    given = answers(1, num=35)
    for index in range(2):  # 5.7 % of 35
        given[f"query/{index}"] = Answer(label=REFUSED, log_probabilities=None)
    assert judge(known_bundle(), given, ("likelihood-ratio",)).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("num_matches", "verdict"),
    [
        (20, Verdict.INDEPENDENT),
        (21, Verdict.INCONCLUSIVE),
        (30, Verdict.INCONCLUSIVE),
        (31, Verdict.DERIVED),
    ],
)
def test_a_score_on_the_threshold_is_beyond_neither(num_matches: int, verdict: Verdict) -> None:
    known = known_bundle()
    labels = known.arrays.model_query_labels.copy()
    labels[:NUM_MODELS, ::2] = 0
    bundle = replace(known, arrays=replace(known.arrays, model_query_labels=labels))
    given = answers(1) | copied(num_matches)
    result = judge(bundle, given, ("matching-rate",))
    (score,) = result.scores
    # innocents match 20 of 40, derived models all: derived begins half-way, at 30; an innocent
    # scores no more than 20
    assert score.derived_above == 0.75
    assert score.independent_below == pytest.approx(0.5)
    assert not score.is_evasive
    assert result.verdict is verdict


def test_nothing_is_called_independent_before_it_can_be_told_from_random_answers() -> None:
    assert early(0).scores[0].num_queries == MIN_ACCUSING
    assert early(1).scores[0].num_queries == MIN_CLEARING


def test_an_alpha_that_the_innocents_cannot_support_never_gives_derived() -> None:
    result = judge(known_bundle(alpha=0.05), answers(0), ("likelihood-ratio",))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.scores[0].derived_above is None


def test_the_papers_scores_find_a_copy_and_clear_a_stranger() -> None:
    bundle = known_bundle()
    controls = answers(0, num=0)
    copy, stranger = np.log([0.8, 0.1, 0.1]), np.log([0.2, 0.4, 0.4])
    for row, expected in ((copy, Verdict.DERIVED), (stranger, Verdict.INDEPENDENT)):
        given = controls | {
            f"trigger/{i}": Answer(label=0, log_probabilities=row) for i in range(30)
        }
        assert judge(bundle, given, ("mfue-w",)).verdict is expected
    for hits, expected in ((2, Verdict.DERIVED), (0, Verdict.INDEPENDENT)):
        given = controls | {
            f"probe/{i}/{j}": Answer(label=0 if j < hits else 1, log_probabilities=None)
            for i in range(30)
            for j in range(4)
        }
        assert judge(bundle, given, ("mfue-b",)).verdict is expected


def early(label: int) -> Outcome:
    rule = choose_rule(known_bundle().manifest, alpha=None, beta=None, stop_early=True)
    return judge(known_bundle(), answers(label), ("likelihood-ratio",), rule)


def test_an_audit_that_may_stop_early_is_judged_by_the_answers_up_to_there() -> None:
    for label, expected in ((0, Verdict.DERIVED), (1, Verdict.INDEPENDENT)):
        result = early(label)
        (score,) = result.scores
        assert result.verdict is score.verdict is expected
        assert score.num_queries < NUM_QUERIES == score.num_in_bundle
        assert score.stopped_early
        # the same answers but for those after the stop
        rule = DecisionRule(alpha=0.1, beta=0.1, stopping_error=0.01)
        shorter = answers(label, num=score.num_queries)
        again = judge(known_bundle(), shorter, ("likelihood-ratio",), rule)
        assert again.scores == result.scores


def test_stopping_early_adds_nothing_to_the_p_value() -> None:
    (score,) = early(0).scores
    assert score.p_value == pytest.approx(1 / 10)
    assert score.strata == pytest.approx({"even": 1 / 6, "odd": 1 / 5})
    (score,) = early(1).scores
    assert score.p_value == 1.0
    assert score.p_derived == pytest.approx(1 / 10)


def test_the_text_of_an_early_stop_says_what_it_rests_on() -> None:
    assert early(0).text == (
        "After 5 of 40 queries the score 1.322 is above the threshold 0.000. Of 9 innocent models "
        "of 2 kinds, none ever got as high: p = 0.100, the smallest that so many can give. Taken "
        "alone, the kind 'odd' says least: p = 0.200. " + OWNERS_WORD
    )
    assert early(1).text == (
        "After 22 of 40 queries the score -1.322 is below the threshold -1.322. Of 9 innocent "
        "models of 2 kinds, 9 ever got as high: p = 1.000. Of 9 derived models, none ever got as "
        "low: p = 0.100. " + OWNERS_WORD
    )


def test_a_suspect_that_refuses_everything_is_not_cleared_early() -> None:
    rule = DecisionRule(alpha=0.1, beta=0.1, stopping_error=0.01)
    (score,) = judge(known_bundle(), answers(REFUSED), ("likelihood-ratio",), rule).scores
    assert (score.verdict, score.stopped_early) == (Verdict.INCONCLUSIVE, False)
    assert score.num_queries == score.num_refused == NUM_QUERIES


def test_answers_stop_at_the_same_query_in_whatever_order_they_came_back() -> None:
    bundle, given = known_bundle(), answers(0)
    rule = choose_rule(bundle.manifest, alpha=None, beta=None, stop_early=True)
    backwards = dict(reversed(given.items()))
    assert judge(bundle, given, ("likelihood-ratio",), rule) == judge(
        bundle, backwards, ("likelihood-ratio",), rule
    )


def test_an_answer_that_is_missing_ends_what_an_early_stop_looks_at() -> None:
    given = answers(0)
    del given["query/1"]
    rule = choose_rule(known_bundle().manifest, alpha=None, beta=None, stop_early=True)
    (score,) = judge(known_bundle(), given, ("likelihood-ratio",), rule).scores
    assert (score.stopped_early, score.num_queries) == (False, NUM_QUERIES - 1)


def test_a_rate_that_the_bundles_models_cannot_support_is_refused() -> None:
    manifest = known_bundle().manifest
    with pytest.raises(AuditError, match=r"alpha: 0\.01 needs 99 innocent lineages, this"):
        choose_rule(manifest, alpha=0.01, beta=None, stop_early=False)
    with pytest.raises(AuditError, match="beta: expected a rate above 0 and at most"):
        choose_rule(manifest, alpha=None, beta=1.0, stop_early=False)


@pytest.mark.parametrize(
    "name", ["likelihood-ratio", "matching-rate", "trajectory-rate", "sample-correlation"]
)
def test_a_score_without_an_answer_decides_nothing(name: str) -> None:
    result = judge(known_bundle(), answers(0, num=0), (name,))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.scores[0].num_queries == 0


def test_a_trigger_with_a_missing_probe_is_left_out_of_the_label_only_score() -> None:
    given = answers(0, num=0) | {
        f"probe/{i}/{j}": Answer(label=0 if j < 2 else 1, log_probabilities=None)
        for i in range(30)
        for j in range(4 if i < 25 else 3)
    }
    assert judge(known_bundle(), given, ("mfue-b",)).scores[0].num_queries == 25


def test_known_suspect_answers_controls_rightly() -> None:
    suspect = KnownSuspect(lambda kind, index: 0)
    labels = suspect.predict(known_bundle().arrays.controls).labels
    assert labels.tolist() == [index % K for index in range(NUM_CONTROLS)]
    assert suspect.asked[0] == (CONTROL, 0)
