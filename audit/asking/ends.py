"""Why asking ended: what a record says of it, and what `verify` finds out again."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from audit.answer import Answer
from audit.asking.plan import Plan, QuestionGroup
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.outcome import Outcome


class End(StrEnum):
    """What ended the asking of an audit, or of its last run so far."""

    RULE = "rule"
    """The verdict needed nothing more."""
    ALL = "all asked"
    """Every question of the plan has an answer."""
    BUDGET = "budget"
    """The auditor's limit on questions, requests or money."""
    USER = "user"
    """Somebody stopped it."""
    REFUSALS = "refusals"
    """The suspect gave no answer any more."""


def end_of(plan: Plan, cut: Plan, answers: Mapping[str, Answer], outcome: Outcome) -> End:
    """Return why an audit that has an outcome asked nothing more.

    Args:
        plan: All that there was to ask.
        cut: The same within the budget.
        answers: By question id.
        outcome: What they come to.
    """
    if _are_answered(plan.groups, answers):
        return End.ALL
    if outcome.steps is not None:
        return End.RULE if _has_ended_in_steps(plan, answers, outcome) else End.BUDGET
    has_decided = not outcome.scores or any(score.stopped_early for score in outcome.scores)
    if has_decided or cut.num_questions == plan.num_questions:
        return End.RULE
    return End.BUDGET


def _has_ended_in_steps(plan: Plan, answers: Mapping[str, Answer], outcome: Outcome) -> bool:
    """Return whether the step that was asked last is through, and what is asked beside it."""
    kinds = [group.kind for group in plan.groups]
    last, beside = outcome.scores[0], plan.groups[kinds.index(LINE_UP) + 1 :]
    is_through = last.stopped_early or last.num_queries >= last.num_in_bundle
    return is_through and (outcome.stopping_error > 0 or _are_answered(beside, answers))


def _are_answered(groups: Sequence[QuestionGroup], answers: Mapping[str, Answer]) -> bool:
    return all(
        group.question(position) in answers
        for group in groups
        for position in range(group.num_questions)
    )
