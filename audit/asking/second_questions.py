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

import numpy as np
from numpy.typing import NDArray

from audit.asking.plan import Plan, QuestionGroup
from audit.bundle.manifest import BundleContents
from audit.journal.journal import Answer
from audit.scores.query_scores import QUERY_SCORES, can_score
from audit.verdict.outcome import Outcome, Repeats, Verdict
from audit.verdict.p_values import fisher_p_value

NUM_REPEATS = 20
"""Control images and queries, of each, that are asked again at most."""
AGAIN = "again/"
"""Begins the ids of questions that are asked a second time."""


def num_unexpected(
    labels: NDArray[np.int64], likeliest: NDArray[np.int64]
) -> NDArray[np.int64] | int:
    """Count the answers that no pool of models is expected to give.

    Args:
        labels: Answers ``[..., n]``; a refusal is none of the pools' answers.
        likeliest: Each pool's likeliest class of each query, ``[P, n]``.

    Returns:
        ``[...]``, 0..n.
    """
    # [..., n] against [P, n] -> [..., n] -> [...]
    is_expected = (labels[..., None, :] == likeliest).any(axis=-2)
    return np.asarray((~is_expected).sum(axis=-1), dtype=np.int64)


def looks_random(
    bundle: BundleContents, labels: NDArray[np.int64], asked: NDArray[np.int64]
) -> bool:
    """Return whether more of a suspect's answers are unexpected than of any calibration model's.

    If the suspect is exchangeable with the calibration models, that happens to it with probability
    at most ``1 / (R + 1)``.

    Args:
        bundle: Whose queries.
        labels: Answers ``[n]``.
        asked: Their indices, ``[n]``.
    """
    arrays = bundle.arrays
    models = arrays.model_query_labels[:, asked]
    if not len(models) or not len(asked):
        return False
    if can_score(bundle, "likelihood-ratio"):
        pools = [arrays.derived_probabilities[asked], arrays.innocent_probabilities[asked]]
    else:
        is_innocent = np.array(
            [model.role == "innocent" for model in bundle.manifest.calibration_models]
        )
        classes = np.arange(bundle.manifest.task.num_classes)
        # [R, n] -> [n, K]: how many gave each answer
        pools = [
            (models[role][..., None] == classes).sum(axis=0).astype(np.float64)
            for role in (is_innocent, ~is_innocent)
        ]
    likeliest = np.array([pool.argmax(axis=1) for pool in pools])
    return bool(num_unexpected(labels, likeliest) > np.max(num_unexpected(models, likeliest)))


def compare_repeats(answers: Mapping[str, Answer]) -> Repeats | None:
    """Compare second answers with first ones; None where nothing was asked again."""
    pairs = [
        (question.removeprefix(AGAIN).partition("/")[0], answers[first].label, again.label)
        for question, again in answers.items()
        if question.startswith(AGAIN) and (first := question.removeprefix(AGAIN)) in answers
    ]
    if not pairs:
        return None
    changed = {
        kind: [one != other for asked, one, other in pairs if asked == kind]
        for kind in ("query", "control")
    }
    counts = {kind: (sum(found), len(found)) for kind, found in changed.items()}
    return Repeats(
        num_queries=counts["query"][1],
        num_queries_changed=counts["query"][0],
        num_controls=counts["control"][1],
        num_controls_changed=counts["control"][0],
        p_value=fisher_p_value(*counts["query"], *counts["control"]),
    )


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
    return QuestionGroup(
        kind=AGAIN + group.kind, num_questions=num, images=lambda: group.images()[:num]
    )


def _num_answered(group: QuestionGroup, answers: Mapping[str, Answer]) -> int:
    """Return how many questions from the first one on have an answer."""
    for index in range(group.num_questions):
        answer = answers.get(group.question(index))
        if answer is None:
            return index
    return group.num_questions
