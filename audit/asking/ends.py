"""Why asking ended: what a record says of it, and what `verify` finds out again."""

from collections.abc import Mapping
from enum import StrEnum

from audit.answer import Answer
from audit.asking.plan import Plan
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
    is_all = all(
        group.question(position) in answers
        for group in plan.groups
        for position in range(group.num_questions)
    )
    if is_all:
        return End.ALL
    has_decided = not outcome.scores or any(score.stopped_early for score in outcome.scores)
    if has_decided or cut.num_questions == plan.num_questions:
        return End.RULE
    return End.BUDGET
