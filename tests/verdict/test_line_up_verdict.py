"""What a line-up's answers come to: verdicts, stops, fairness and the words for them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from worlds.audit_world import known_bundle
from worlds.line_up_world import LineUpWorld, line_up_answers

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.line_up import LineUp
from audit.bundle.line_up_fairness import check_fairness, fairness_of
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.verdict.judge import judge
from audit.verdict.line_up_race import LineUpFollower, follow_race
from audit.verdict.outcome import ScoreOutcome, Verdict
from audit.verdict.rule import DecisionRule

EARLY = DecisionRule(alpha=0.05, beta=0.1, stopping_error=0.005)
WHOLE = DecisionRule(alpha=0.05, beta=0.1)


@pytest.fixture(scope="module")
def world() -> LineUpWorld:
    return LineUpWorld(num_questions=250)


def judged(
    bundle: BundleContents, answers: Mapping[str, Answer], rule: DecisionRule
) -> ScoreOutcome:
    outcome = judge(bundle, answers, ("line-up",), rule)
    assert outcome.verdict is outcome.scores[0].verdict
    return outcome.scores[0]


@pytest.mark.parametrize("labels_only", [True, False])
@pytest.mark.parametrize("rule", [EARLY, WHOLE])
def test_a_student_of_the_source_is_derived(
    world: LineUpWorld, rule: DecisionRule, labels_only: bool
) -> None:
    answers = line_up_answers(world.derived(0), labels_only=labels_only)
    found = judged(world.bundle, answers, rule)
    assert found.verdict is Verdict.DERIVED
    assert found.p_value == 1 / 20
    assert found.line_up is not None
    assert found.line_up.basis == "line-up"
    assert found.access == ("labels" if labels_only else "probabilities")
    assert "learnt from this model's answers or weights" in found.reason
    if rule is EARLY:
        assert found.stopped_after == found.num_queries < 250
    else:
        assert found.stopped_after is None
        assert found.num_queries == 250


@pytest.mark.parametrize("rule", [EARLY, WHOLE])
def test_an_innocent_is_not_derived_and_the_power_is_told(
    world: LineUpWorld, rule: DecisionRule
) -> None:
    found = judged(world.bundle, line_up_answers(world.innocent()), rule)
    assert found.verdict is Verdict.INDEPENDENT
    assert "no sign of derivation" in found.reason
    assert "10 of 10 (student)" in found.reason


@pytest.mark.parametrize("rule", [EARLY, WHOLE])
def test_no_budget_is_there_to_choose_by_which_a_verdict_changes(
    world: LineUpWorld, rule: DecisionRule
) -> None:
    """Whoever cuts a line-up chooses where: only a race that was led may say anything."""
    innocent, whole = line_up_answers(world.innocent()), line_up_answers(world.derived(0))
    for answers in (innocent, whole):
        names = [name for name in answers if name.startswith("line-up/")]
        controls = {name: answers[name] for name in answers if name not in names}
        for num in range(25, len(names), 25):
            cut = controls | {name: answers[name] for name in names[:num]}
            found = judged(world.bundle, cut, rule)
            assert found.line_up is not None
            if found.line_up.led_after is None:
                assert found.verdict is Verdict.INCONCLUSIVE
                assert f"Asking ended after {num} of 250 questions" in found.reason


def test_a_student_of_a_sibling_picks_that_sibling(world: LineUpWorld) -> None:
    found = judged(world.bundle, line_up_answers(world.derived(4)), EARLY)
    assert found.verdict is not Verdict.DERIVED
    assert found.line_up is not None
    assert int(np.argmax(found.line_up.leads)) == 4
    assert "resembles a sibling of the source" in found.reason


def test_nobody_who_leads_is_no_sign() -> None:
    world = LineUpWorld(lead_bound=1e4)
    found = judged(world.bundle, line_up_answers(world.derived(0)), EARLY)
    # The source is first, but the race was to be decided by a lead: that costs no error.
    assert found.line_up is not None
    assert found.line_up.rank == 1
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "nobody leads" in found.reason


def test_the_same_answers_stop_at_the_same_question_in_whatever_order(world: LineUpWorld) -> None:
    bundle, answers = world.bundle, line_up_answers(world.derived(0))
    stop = follow_race(bundle, answers, stops_early=True).led_after
    assert stop is not None
    follower, given = LineUpFollower(bundle), dict[str, Answer]()
    # three answers at a time, each group backwards
    names = [name for name in answers if name.startswith("line-up/")]
    is_led = False
    for start in range(0, len(names), 3):
        for name in reversed(names[start : start + 3]):
            given[name] = answers[name]
            is_led = is_led or follower.follow(given)
    assert is_led
    assert follower.num_followed == stop
    # What came after the stop changes nothing.
    alone = judged(bundle, line_up_answers(world.derived(0), num=250), EARLY)
    assert alone.num_queries <= 250
    cut = {name: answers[name] for name in answers if not name.startswith("line-up/")}
    cut |= {name: answers[name] for name in names[:stop]}
    assert judged(bundle, cut, EARLY) == judged(bundle, answers, EARLY)


def test_whoever_tells_nothing_is_not_cleared(world: LineUpWorld) -> None:
    answers = line_up_answers(world.innocent())
    refusal = Answer(label=REFUSED, log_probabilities=None)
    refused = {
        name: refusal if name.startswith("line-up/") and int(name[8:]) % 5 == 0 else answer
        for name, answer in answers.items()
    }
    assert judged(world.bundle, refused, WHOLE).verdict is Verdict.INCONCLUSIVE
    assert judged(world.bundle, refused, WHOLE).num_refused == 50


def test_a_handful_of_answers_decides_nothing(world: LineUpWorld) -> None:
    found = judged(world.bundle, line_up_answers(world.derived(0), num=19), WHOLE)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "At least 20 answers are needed" in found.reason


def test_in_an_unfair_line_up_the_lead_is_ranked_among_innocents() -> None:
    world = LineUpWorld(better_source=-8.0)
    bundle = world.bundle
    fairness = fairness_of(bundle)
    assert fairness is not None
    assert not fairness.is_fair
    assert "the source is worse trained than its siblings" in str(fairness.reason)
    found = judged(bundle, line_up_answers(world.derived(0)), WHOLE)
    assert found.line_up is not None
    assert found.line_up.basis == "innocents"
    # ranked among the panel's 20 lineages: none went as far
    assert found.p_value == 1 / 21
    assert "ranked among innocents and not among siblings" in found.reason


@pytest.mark.parametrize(("points", "is_fair"), [(0, True), (5, False), (-5, False)])
def test_five_points_of_accuracy_are_not_fair(points: int, is_fair: bool) -> None:
    """Twenty members of 80 % give or take two points; the source is one of them, or it is not."""
    line_up = LineUpWorld(num_questions=1).line_up
    labels = np.zeros(500, dtype=np.int64)
    hits = 400 + np.array([5 * points, *np.linspace(-10, 10, 19)]).astype(int)
    # sure by e^-1/4 of what it says, and as unsure of the two others
    codes = np.full((20, 500, 3), 30, dtype=np.uint8)
    for member, num in enumerate(hits):
        codes[member, :num, 0] = 4
        codes[member, num:, 1] = 4
    arrays = replace(line_up.arrays, member_control_codes=codes)
    fairness = check_fairness(LineUp(record=line_up.record, arrays=arrays), labels)
    assert fairness.is_fair is is_fair
    if not is_fair:
        trained = "better" if points > 0 else "worse"
        assert f"the source is {trained} trained than its siblings" in str(fairness.reason)
        accuracy = fairness.figures[0]
        assert accuracy.source == pytest.approx(0.8 + points / 100)
        assert accuracy.siblings == (0.78, 0.82)
        assert fairness.p_value == 1 / 20


def test_one_fair_line_up_in_twenty_is_taken_for_unfair() -> None:
    unfair = [
        not fairness.is_fair
        for seed in range(200)
        if (fairness := fairness_of(LineUpWorld(num_questions=1, seed=seed).bundle)) is not None
    ]
    # by the rank alone 10 of 200; 20 are beyond its 99.9 % interval
    assert len(unfair) == 200
    assert sum(unfair) <= 20


def test_few_siblings_rank_the_lead_among_innocents() -> None:
    world = LineUpWorld(num_siblings=3)
    found = judged(world.bundle, line_up_answers(world.derived(0)), WHOLE)
    assert found.line_up is not None
    assert found.line_up.basis == "innocents"
    assert found.line_up.rank_p_value == 0.25
    assert found.p_value == 1 / 21
    assert found.verdict is Verdict.DERIVED
    assert "With 3 siblings the line-up itself can give p = 0.250 at best" in found.reason


def test_innocents_that_go_as_far_keep_a_suspect_from_being_derived() -> None:
    """A whole kind of innocents leans to the source: one line-up is one draw."""
    world = LineUpWorld()
    leaning = world.line_up.arrays.model_labels
    leaning[:3] = world.members[0].argmax(axis=-1)  # three of the panel answer like the source
    found = judged(world.bundle, line_up_answers(world.derived(0)), EARLY)
    assert found.line_up is not None
    assert found.line_up.num_lineages_as_far >= 2
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "stays open" in found.reason


def test_a_bundle_without_a_line_up_says_so() -> None:
    with pytest.raises(AuditError, match="this bundle has no line-up"):
        judge(known_bundle(), line_up_answers(np.zeros((1, 3))), ("line-up",), WHOLE)
