"""The second step of a verdict: when the line-up is asked, and how far a budget goes for it.

An audit and `audit.records.completeness` follow the same rules here, so that a record of an audit
that left the line-up out can be told from one that had to ask it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from audit.answer import Answer
from audit.asking.plan import Plan, QuestionGroup
from audit.bundle.manifest import BundleContents
from audit.verdict.judge import judge
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.outcome import Verdict
from audit.verdict.rule import DecisionRule


@dataclass(frozen=True, kw_only=True)
class StepGroups:
    """A plan's questions after the control images, by what they are for."""

    crafted: tuple[QuestionGroup, ...]
    line_up: QuestionGroup
    beside: tuple[QuestionGroup, ...]
    """Of scores that decide nothing; asked only where nothing ends early."""


def step_groups(
    plan: Plan, answers: Mapping[str, Answer], rule: DecisionRule, *, budget: int | None
) -> StepGroups:
    """Part a plan into steps.

    Args:
        plan: Of an audit in two steps, without a budget.
        answers: So far; what the first step leaves of the budget is the second's.
        rule: Whether anything ends early.
        budget: Largest number of questions, control images included.
    """
    kinds = [group.kind for group in plan.groups]
    place = kinds.index(LINE_UP)
    cut = {group.kind: group for group in plan.within(budget).groups[1:]}
    num_others = sum(not question.startswith(f"{LINE_UP}/") for question in answers)
    line_up = plan.groups[place]
    if budget is not None:
        line_up = line_up.first(max(0, budget - num_others))
    beside = () if rule.stopping_error else kinds[place + 1 :]
    return StepGroups(
        crafted=tuple(cut[kind] for kind in kinds[1:place] if kind in cut),
        line_up=line_up,
        beside=tuple(cut[kind] for kind in beside if kind in cut),
    )


def needs_line_up(
    bundle: BundleContents, answers: Mapping[str, Answer], plan: Plan, rule: DecisionRule
) -> bool:
    """Return whether the first step has ended without saying "derived"."""
    first = plan.scores[0]
    # Weights speak for themselves: the answers' verdict is that of their own two steps.
    found = judge(replace(bundle, similarities=None), answers, (first,), rule.for_score(first))
    return found.verdict is not Verdict.DERIVED
