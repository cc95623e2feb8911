"""Asking again: does a suspect answer queries at random, and control images not?

An honest classifier gives the same image the same answer. One that notices queries and rolls dice
for them contradicts itself on queries while it repeats itself on control images. An honest service
that is noisy, or that takes turns between models, contradicts itself on both.

Whoever is about to be called independent is asked the first `NUM_FIRST` queries once more: one that
spoils the beginning of an audit is honest by then. Where an answer is another one, or where answers
do not look like a model's (more of them than any calibration model's are neither what derived nor
what innocent models are expected to say, or early and late ones are hardly one model's), the first
`NUM_REPEATS` answered control images and queries are asked again, as questions ``again/control/i``
and ``again/query/i`` at the end of the audit.
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
NUM_FIRST = 3
"""Queries that are asked again of whoever is about to be cleared."""


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
        Groups of questions, some of them perhaps answered; none where nothing is missing.
    """
    if plan.scores[0] not in QUERY_SCORES:
        return ()
    # In two steps the line-up's score stands before that of the queries.
    score = next((one for one in outcome.scores if one.name == plan.scores[0]), None)
    if score is None or outcome.verdict is Verdict.DERIVED:
        return ()
    if score.verdict is Verdict.DERIVED:
        return ()
    has_changed = score.repeats is not None and score.repeats.num_queries_changed > 0
    is_doubtful = score.looks_random or score.is_evasive or has_changed
    if not is_doubtful and score.verdict is not Verdict.INDEPENDENT:
        return ()
    kinds = {"control": NUM_REPEATS, "query": NUM_REPEATS} if is_doubtful else {"query": NUM_FIRST}
    groups = [
        _again(group, min(kinds[group.kind], _num_answered(group, answers)))
        for group in plan.groups
        if group.kind in kinds
    ]
    due = {group.question(index) for group in groups for index in range(group.num_questions)}
    if budget is not None and len(answers.keys() | due) > budget:
        return ()
    return tuple(groups) if due - answers.keys() else ()


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
