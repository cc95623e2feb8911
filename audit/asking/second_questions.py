"""Asking again: does a suspect answer queries at random, and control images not?

An honest classifier gives the same image the same answer. One that notices queries and rolls dice
for them contradicts itself on queries while it repeats itself on control images. An honest service
that is noisy, or that takes turns between models, contradicts itself on both.

Nothing is asked again of a suspect whose answers look like a model's. Where they do not (more of
them than any calibration model's are neither what derived nor what innocent models are expected to
say), the first `NUM_REPEATS` answered control images and queries are asked once more, as questions
``again/control/i`` and ``again/query/i`` at the end of the audit.
"""

from collections.abc import Mapping
from dataclasses import replace

from audit.answer import Answer
from audit.asking.plan import Plan, QuestionGroup
from audit.question import AGAIN
from audit.scores.query_scores import QUERY_SCORES
from audit.verdict.outcome import Outcome, Verdict

NUM_REPEATS = 20
"""Control images and queries, of each, that are asked again at most."""


def repeats_due(
    plan: Plan, answers: Mapping[str, Answer], outcome: Outcome, *, budget: int | None
) -> tuple[QuestionGroup, ...]:
    """Return what has to be asked again.

    Args:
        plan: The audit's whole plan.
        answers: All that the plan asked for, and what was asked again so far.
        outcome: What the answers come to.
        budget: Largest number of questions of the audit; what is beyond it is not asked again.

    Returns:
        Groups of questions, empty where nothing is due.
    """
    if not outcome.scores or outcome.scores[0].name not in QUERY_SCORES:
        return ()
    score = outcome.scores[0]
    if score.verdict is Verdict.DERIVED or not (score.looks_random or score.is_evasive):
        return ()
    groups = []
    for group in plan.groups:
        if group.kind in ("control", "query"):
            num = min(NUM_REPEATS, _num_answered(group, answers))
            groups.append(_again(group, num))
    num_asked = sum(not question.startswith(AGAIN) for question in answers)
    num_again = sum(group.num_questions for group in groups)
    if budget is not None and num_asked + num_again > budget:
        return ()
    return tuple(groups)


def possible_repeats(plan: Plan) -> tuple[QuestionGroup, ...]:
    """Return all that an audit by this plan may ask again."""
    if not plan.scores or plan.scores[0] not in QUERY_SCORES:
        return ()
    return tuple(
        _again(group, min(NUM_REPEATS, group.num_questions))
        for group in plan.groups
        if group.kind in ("control", "query")
    )


def with_repeats(plan: Plan) -> Plan:
    """Return a plan that also holds all that may be asked again; itself if that is nothing."""
    again = possible_repeats(plan)
    return Plan(scores=plan.scores, groups=(*plan.groups, *again)) if again else plan


def num_possible_repeats(plan: Plan) -> int:
    """Return how many images an audit by this plan may ask again."""
    return sum(group.num_questions for group in possible_repeats(plan))


def _again(group: QuestionGroup, num: int) -> QuestionGroup:
    return replace(
        group, kind=AGAIN + group.kind, num_questions=num, images=lambda: group.images()[:num]
    )


def _num_answered(group: QuestionGroup, answers: Mapping[str, Answer]) -> int:
    """Return how many questions from the first one on have an answer."""
    for index in range(group.num_questions):
        answer = answers.get(group.question(index))
        if answer is None:
            return index
    return group.num_questions
