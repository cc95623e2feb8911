"""One verdict from two steps: what each may say, at which level, and what both say together.

The crafted queries have 9 innocent lineages and as many derived models, so that p is 1 / 10 at
best; the line-up has 19 siblings and gives 1 / 20. The levels are 0.1 and 0.05, together 0.15.
"""

import numpy as np
import pytest
from worlds.audit_world import known_bundle
from worlds.line_up_world import LineUpWorld, stepped_answers

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.manifest import Manifest, Steps
from audit.errors import AuditError
from audit.verdict.judge import judge
from audit.verdict.outcome import Outcome, Verdict
from audit.verdict.rule import DecisionRule, choose_rule, read_rule
from audit.verdict.sharing import share_alpha, usual_steps

BOTH = ("likelihood-ratio", "line-up")
COPY, STRANGE = 0, 1
"""What derived models and innocents answer to every crafted query."""


@pytest.fixture(scope="module")
def world() -> LineUpWorld:
    return LineUpWorld(num_questions=250)


@pytest.fixture(scope="module")
def manifest(world: LineUpWorld) -> Manifest:
    return world.stepped.manifest


def rule_of(manifest: Manifest, *, stop_early: bool = True) -> DecisionRule:
    return choose_rule(manifest, alpha=None, beta=None, stop_early=stop_early, in_steps=True)


def judged(world: LineUpWorld, answers: dict[str, Answer], *, stop_early: bool = True) -> Outcome:
    bundle = world.stepped
    return judge(bundle, answers, BOTH, rule_of(bundle.manifest, stop_early=stop_early))


@pytest.mark.parametrize("stop_early", [True, False])
def test_a_copy_is_found_by_the_first_step_alone(world: LineUpWorld, stop_early: bool) -> None:
    answers = stepped_answers(world.innocent(), query_label=COPY)
    outcome = judged(world, answers, stop_early=stop_early)
    assert outcome.verdict is Verdict.DERIVED
    assert outcome.steps is not None
    assert outcome.steps.decided_by == "crafted queries"
    assert outcome.steps.means == "answers like a copy"
    assert outcome.steps.line_up_verdict is None
    assert [score.name for score in outcome.scores] == ["likelihood-ratio"]
    assert outcome.text.startswith("Derived by step one, crafted queries: it answers like a copy.")
    # 1 of 10 at a share of 0.1 / 0.15
    assert outcome.p_value == pytest.approx(0.15)


@pytest.mark.parametrize("labels_only", [True, False])
def test_a_student_is_found_by_the_second(world: LineUpWorld, labels_only: bool) -> None:
    answers = stepped_answers(world.derived(0), query_label=STRANGE, labels_only=labels_only)
    outcome = judged(world, answers)
    assert outcome.verdict is Verdict.DERIVED
    assert outcome.steps is not None
    assert outcome.steps.decided_by == "line-up"
    assert outcome.steps.means == "learnt from this model's answers or weights"
    assert outcome.steps.crafted_verdict is Verdict.INDEPENDENT
    assert [score.name for score in outcome.scores] == ["line-up", "likelihood-ratio"]
    assert outcome.scores[0].p_value == 1 / 20
    # 1 of 20 at a share of 0.05 / 0.15
    assert outcome.p_value == pytest.approx(0.15)
    assert outcome.alpha == 0.15
    assert outcome.text.startswith("Derived by step two, the line-up.")
    assert outcome.text.count("It has learnt from this model's answers or weights.") == 1
    assert "0.15 is called derived: 0.1 by step one, 0.05 by step two" in outcome.text


def test_both_steps_have_to_clear_a_suspect_and_the_power_is_told(world: LineUpWorld) -> None:
    outcome = judged(world, stepped_answers(world.innocent(), query_label=STRANGE))
    assert outcome.verdict is Verdict.INDEPENDENT
    assert outcome.steps is not None
    assert outcome.steps.decided_by is None
    assert outcome.text.startswith("Both steps speak for an independent model.")
    assert "10 of 10 (student)" in outcome.text


def test_whom_the_line_up_alone_clears_stays_open(world: LineUpWorld) -> None:
    answers = stepped_answers(world.innocent(), query_label=STRANGE)
    refusal = Answer(label=REFUSED, log_probabilities=None)
    answers |= {f"query/{i}": refusal for i in range(0, 40, 4)}
    outcome = judged(world, answers, stop_early=False)
    assert outcome.scores[0].verdict is Verdict.INDEPENDENT
    assert outcome.scores[1].verdict is Verdict.INCONCLUSIVE
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert "but the crafted queries do not clear it" in outcome.text


def test_whom_the_crafted_queries_alone_clear_stays_open(world: LineUpWorld) -> None:
    answers = stepped_answers(world.innocent(), query_label=STRANGE)
    few = {one: answer for one, answer in answers.items() if not one.startswith("line-up/")}
    outcome = judged(world, few)
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert outcome.text.startswith("The first step does not say derived, and the second was not")
    few |= {f"line-up/{i}": answers[f"line-up/{i}"] for i in range(10)}
    outcome = judged(world, few)
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert outcome.text.startswith("No copy; whether it learnt from this model's answers stays")


def test_whoever_looks_for_copies_says_nothing_of_students(world: LineUpWorld) -> None:
    bundle = world.stepped
    rule = choose_rule(bundle.manifest, alpha=None, beta=None, stop_early=True, look_for="copies")
    assert rule.alpha == 0.1
    student = stepped_answers(world.derived(0), query_label=STRANGE)
    outcome = judge(bundle, student, BOTH[:1], rule)
    assert outcome.verdict is Verdict.NO_COPY
    assert outcome.text.startswith("No copy; extraction not looked for.")
    assert outcome.steps is None
    copied = judge(bundle, stepped_answers(world.innocent(), query_label=COPY), BOTH[:1], rule)
    assert copied.verdict is Verdict.DERIVED


def test_each_step_is_judged_at_its_own_level(world: LineUpWorld) -> None:
    """With a level below 1 / 10 the nine lineages can accuse nobody; 1 / 20 accuses as before."""
    bundle = world.stepped
    steps = Steps(crafted_alpha=0.05, line_up_alpha=0.05)
    rule = DecisionRule(alpha=0.1, beta=0.1, stopping_error=0.005, steps=steps)
    copy = judge(bundle, stepped_answers(world.innocent(), query_label=COPY), BOTH, rule)
    assert copy.scores[1].verdict is Verdict.INCONCLUSIVE
    student = judge(bundle, stepped_answers(world.derived(0), query_label=STRANGE), BOTH, rule)
    assert student.verdict is Verdict.DERIVED
    low = DecisionRule(
        alpha=0.14,
        beta=0.1,
        stopping_error=0.005,
        steps=Steps(crafted_alpha=0.1, line_up_alpha=0.04),
    )
    # Below 1 / 20 the rank cannot decide: the lead is ranked among the panel's 20 lineages.
    student = judge(bundle, stepped_answers(world.derived(0), query_label=STRANGE), BOTH, low)
    assert student.scores[0].line_up is not None
    assert student.scores[0].line_up.basis == "innocents"


@pytest.mark.parametrize(
    ("alpha", "num_lineages", "num_members", "levels"),
    [
        (0.1, 19, 20, (0.05, 0.05)),
        (0.05, 39, 40, (0.025, 0.025)),
        # half of 0.1 is too little for 14 lineages: 1 / 15 is 0.067, which leaves 3 ranks of 100
        (0.1, 14, 100, (0.07, 0.03)),
        # one rank of 20 is more than half of 0.08
        (0.08, 49, 20, (0.03, 0.05)),
        # 19 siblings take all of 0.05
        (0.05, 99, 20, None),
        (0.1, 18, 20, None),
    ],
)
def test_alpha_is_shared_as_far_as_the_models_can_give_it(
    alpha: float, num_lineages: int, num_members: int, levels: tuple[float, float] | None
) -> None:
    found = share_alpha(alpha, num_lineages=num_lineages, num_members=num_members)
    if levels is None:
        assert found is None
        return
    assert found is not None
    assert (found.crafted_alpha, found.line_up_alpha) == pytest.approx(levels)
    assert found.alpha == alpha


def test_shares_are_never_more_than_the_whole_nor_less_than_models_can_give() -> None:
    random = np.random.default_rng(0)
    for _ in range(2000):
        alpha = float(random.uniform(0.001, 0.2))
        num, members = int(random.integers(1, 200)), int(random.integers(2, 200))
        found = share_alpha(alpha, num_lineages=num, num_members=members)
        if found is None:
            assert alpha < 1 / (num + 1) + 1 / members + 1e-9
            continue
        assert found.crafted_alpha + found.line_up_alpha <= alpha + 1e-9
        assert found.crafted_alpha >= 1 / (num + 1) - 1e-9
        assert found.line_up_alpha >= 1 / members - 1e-9


def test_a_bundle_whose_models_cannot_share_keeps_its_alpha_for_each_step() -> None:
    manifest = known_bundle(alpha=0.1).manifest  # 9 lineages take all of 0.1
    assert usual_steps(manifest, num_members=20) == Steps(crafted_alpha=0.1, line_up_alpha=0.1)
    strict = known_bundle(alpha=0.15).manifest  # 1 / 10 and 1 / 20
    assert usual_steps(strict, num_members=20) == Steps(crafted_alpha=0.1, line_up_alpha=0.05)
    # Four siblings take all of 0.2, and twice that would be no evidence.
    assert usual_steps(known_bundle(alpha=0.2).manifest, num_members=5) is None


def test_an_auditors_own_alpha_is_that_of_both_steps(manifest: Manifest) -> None:
    chosen = choose_rule(manifest, alpha=0.2, beta=None, stop_early=False, in_steps=True)
    assert chosen.alpha == 0.2
    assert chosen.steps == Steps(crafted_alpha=0.1, line_up_alpha=0.1)
    with pytest.raises(
        AuditError,
        match=r"alpha: 0\.14 cannot be shared .* 9 innocent lineages can give p = 0\.1 and 19 "
        r"siblings 0\.05, together 0\.15",
    ):
        choose_rule(manifest, alpha=0.14, beta=None, stop_early=False, in_steps=True)


def test_settings_keep_both_levels(manifest: Manifest) -> None:
    rule = rule_of(manifest)
    assert rule.settings()["alpha"] == "0.15"
    assert read_rule(rule.settings(), manifest) == rule
    copies = choose_rule(manifest, alpha=None, beta=None, stop_early=False, look_for="copies")
    assert read_rule(copies.settings(), manifest) == copies


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"alpha": "0.1"}, r"settings: alpha: expected 0\.15, the levels of both steps together"),
        ({"line_up_alpha": "0.3"}, "settings: line_up_alpha: expected a rate"),
        ({"look_for": "students"}, "settings: look_for: expected copies or nothing"),
    ],
)
def test_settings_whose_levels_do_not_add_up_are_refused(
    manifest: Manifest, changes: dict[str, str], told: str
) -> None:
    with pytest.raises(AuditError, match=told):
        read_rule({**rule_of(manifest).settings(), **changes}, manifest)


def test_settings_with_half_of_two_steps_are_refused(manifest: Manifest) -> None:
    settings = rule_of(manifest).settings()
    del settings["crafted_alpha"]
    with pytest.raises(AuditError, match="for two steps with a line-up, or neither, got line_up_a"):
        read_rule(settings, manifest)
    bare = known_bundle().manifest
    with pytest.raises(AuditError, match="for two steps with a line-up"):
        read_rule(rule_of(manifest).settings(), bare)
