r"""The line-up: whom of the source and its siblings does a suspect resemble most?

Whatever an innocent is, it was made without knowing which seed became the source, so that source
and siblings are exchangeable given its answers (ADR 14). For question x and a suspect that
answers class c, an answer is worth to member t

    a_t(x, c) = -log(1 + classes that t holds for likelier than c)      form ``ranks``
    a_t(x, c) = log(p_t(c | x) + epsilon)                               form ``logarithms``

and what t has of every suspect is taken off, the *pull*: the mean of ``a_t(x, c_r)`` over a panel
of innocents r that know of no member. A member's score is the sum over the questions,

    S_t(n) = sum_{x <= n} (a_t(x, c) - mean_r a_t(x, c_r)).

The rank of the source's score is an exact p-value, with ties against the source. Everything here
treats the members alike; where the source stands is asked only at the very end (`source_p_value`,
`source_leads`). Worths are integers, multiples of `GRID` nats: sums are the same everywhere.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED
from audit.bundle.line_up import CODE_STEP, MAX_CODE, LineUp, decode

GRID = 2.0**-16
"""Nats in one step of a worth."""
WEIGHT_BITS = 20
"""The weight that a suspect gives a class is kept in multiples of 2^-20."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ToldAnswers:
    """What somebody tells about n questions, as weights of the classes."""

    questions: NDArray[np.int64]
    """Their places in the line-up's order, ``[n]``."""
    labels: NDArray[np.int64]
    """``[n]``, `REFUSED` where there is none."""
    log_probabilities: NDArray[np.float64] | None = None
    """``[n, K]``, NaN where a class is not told; None where there are only labels."""

    @property
    def num_told(self) -> NDArray[np.int64]:
        """Return of how many classes each answer tells a probability, ``[n]``."""
        if self.log_probabilities is None:
            return np.zeros(len(self.labels), dtype=np.int64)
        return np.asarray((~np.isnan(self.log_probabilities)).sum(axis=-1))

    @property
    def access(self) -> str:
        """Return how much is told: ``labels``, ``top-k`` or ``probabilities``."""
        num_told = self.num_told[self.labels != REFUSED]
        if self.log_probabilities is None or not num_told.any():
            return "labels"
        return "top-k" if num_told.min() < self.log_probabilities.shape[-1] else "probabilities"


@dataclass(frozen=True, kw_only=True, eq=False)
class Race:
    """How the members' scores grow over the questions."""

    running: NDArray[np.int64]
    """Scores after each question in ``[..., T, n]``, in steps of ``nats_per_step``."""
    nats_per_step: float

    @property
    def leads(self) -> NDArray[np.float64]:
        """Return what is drawn: scores in nats less their mean over the members, ``[..., T, n]``.

        The mean moves no rank.
        """
        nats = self.running * self.nats_per_step
        return np.asarray(nats - nats.mean(axis=-2, keepdims=True))

    def first_lead(self, bound: float) -> NDArray[np.int64]:
        """Return after how many questions some member leads all others, ``[...]``; 0 if none does.

        It looks at the members alike, so that the leader then is the source no more often than
        any other member is, whatever the bound.

        Args:
            bound: By how many nats more than the second, above 0.
        """
        if not self.running.shape[-1]:
            return np.zeros(self.running.shape[:-2], dtype=np.int64)
        second, first = np.moveaxis(np.partition(self.running, -2, axis=-2)[..., -2:, :], -2, 0)
        is_led = (first - second) * self.nats_per_step > bound  # [..., n]
        return np.where(is_led.any(axis=-1), is_led.argmax(axis=-1) + 1, 0)


def source_p_value(scores: NDArray[np.int64], source: int) -> NDArray[np.float64]:
    """Return the share of members whose score is at least the source's, itself included.

    Args:
        scores: ``[..., T]``.
        source: Its place.

    Returns:
        ``[...]`` in (0, 1]: at most a with probability at most a if the members are exchangeable.

    Example:
        >>> source_p_value(np.array([5, 7, 5, 1]), 0)
        array(0.75)
    """
    num = (scores >= scores[..., source : source + 1]).sum(axis=-1)
    return np.asarray(num / scores.shape[-1])


def source_leads(scores: NDArray[np.int64], source: int) -> NDArray[np.int64]:
    """Return by how much the source is before the best sibling, ``[...]``; below 0 if it is not.

    Args:
        scores: ``[..., T]``.
        source: Its place.
    """
    siblings = np.delete(scores, source, axis=-1)
    return np.asarray(scores[..., source] - siblings.max(axis=-1))


def race(line_up: LineUp, told: ToldAnswers) -> Race:
    """Return how the members fare with a suspect's answers, ``[T, n]``.

    Args:
        line_up: Members and panel.
        told: The suspect's answers; a refusal says nothing about any member.
    """
    num_panel = len(line_up.record.panel)
    if told.num_told.any():
        pull = panel_worths(line_up, told).sum(axis=0)
    else:
        pull = _label_pull(line_up)[:, told.questions]
    gains = _gains(answer_worths(line_up, told), pull, num_panel, told)
    return Race(running=gains.cumsum(axis=-1), nats_per_step=GRID / num_panel)


def model_races(line_up: LineUp, told: ToldAnswers) -> Race:
    """Return the same for the line-up's own models, by no more than the suspect tells.

    Of a panel member's score the pull is that of the other lineages.

    Args:
        line_up: Members and models.
        told: The suspect's: which questions, and how much.

    Returns:
        ``running`` of shape ``[V, T, n]``, in the steps of `race`.
    """
    panel = panel_worths(line_up, told)
    total, num_panel = panel.sum(axis=0), len(panel)
    lineages = np.array([model.lineage for model in line_up.record.panel])
    running = []
    for number, model in enumerate(line_up.record.models):
        kin = lineages == model.lineage
        num = num_panel - int(kin.sum())
        gains = _gains(
            model_worths(line_up, told, number), total - panel[kin].sum(axis=0), num, told
        )
        # On the steps of the whole panel, halves upwards: `num` differs between lineages.
        running.append((2 * gains.cumsum(axis=-1) * num_panel + num) // (2 * num))
    return Race(
        running=np.array(running, dtype=np.int64).reshape(len(running), *total.shape),
        nats_per_step=GRID / num_panel,
    )


def _gains(
    worths: NDArray[np.int64], pull: NDArray[np.int64], num_panel: int, told: ToldAnswers
) -> NDArray[np.int64]:
    # Times the size of the panel, what is left of a mean over the panel is an integer.
    return np.where(told.labels == REFUSED, 0, worths * num_panel - pull)


def answer_worths(line_up: LineUp, told: ToldAnswers) -> NDArray[np.int64]:
    """Return what each answer is worth to each member, ``[T, n]``, in steps of `GRID`.

    Where an answer tells more than a label it is the expectation over the classes, with what is
    left of 1 shared evenly among those of which nothing is told.
    """
    table = worth_table(line_up)
    # `REFUSED` picks the last class; what stands there is never used.
    worths = table[:, told.questions, told.labels].astype(np.int64)
    if told.log_probabilities is None:
        return np.asarray(worths)
    for place in np.flatnonzero(told.num_told):
        weights = class_weights(told.log_probabilities[place])
        sums = table[:, told.questions[place]].astype(np.int64) @ weights  # [T, K] -> [T]
        worths[:, place] = (sums + (1 << WEIGHT_BITS - 1)) >> WEIGHT_BITS  # halves upwards
    return np.asarray(worths)


def panel_worths(line_up: LineUp, told: ToldAnswers) -> NDArray[np.int64]:
    """Return what the panel's answers to the same questions are worth, ``[P, T, n]``."""
    return np.array(
        [model_worths(line_up, told, number) for number in range(len(line_up.record.panel))]
    )


def model_worths(line_up: LineUp, told: ToldAnswers, number: int) -> NDArray[np.int64]:
    """Return what a model's answers are worth, ``[T, n]``, if it tells no more than the suspect."""
    num_told = told.num_told
    if not num_told.any():
        return np.asarray(_label_worths(line_up)[number][:, told.questions])
    arrays = line_up.arrays
    log_probabilities = np.log(decode(arrays.model_codes[number, told.questions]))
    places = (-log_probabilities).argsort(axis=-1, kind="stable").argsort(axis=-1)
    return answer_worths(
        line_up,
        ToldAnswers(
            questions=told.questions,
            labels=arrays.model_labels[number, told.questions],
            log_probabilities=np.where(places < num_told[:, None], log_probabilities, np.nan),
        ),
    )


@lru_cache(maxsize=2)
def _label_worths(line_up: LineUp) -> NDArray[np.int64]:
    """Return what each model's class is worth to each member, ``[V, T, L]``."""
    questions = np.arange(line_up.arrays.model_labels.shape[1])
    return np.array(
        [
            answer_worths(line_up, ToldAnswers(questions=questions, labels=labels))
            for labels in line_up.arrays.model_labels
        ]
    )


@lru_cache(maxsize=2)
def _label_pull(line_up: LineUp) -> NDArray[np.int64]:
    """Return the sum of the panel's worths where everybody tells labels only, ``[T, L]``."""
    return np.asarray(_label_worths(line_up)[: len(line_up.record.panel)].sum(axis=0))


def class_weights(log_probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how much of an answer each class has, ``[..., K]``, in multiples of 2^-20.

    Args:
        log_probabilities: ``[..., K]``, NaN where nothing is told.

    Example:
        >>> class_weights(np.log([[0.5, np.nan, np.nan]])) / 2**20
        array([[0.5 , 0.25, 0.25]])
    """
    is_told = ~np.isnan(log_probabilities)
    told = np.where(is_told, np.exp(np.where(is_told, log_probabilities, 0)), 0)
    left = np.clip(1 - told.sum(axis=-1, keepdims=True), 0, 1)
    num_silent = np.maximum((~is_told).sum(axis=-1, keepdims=True), 1)
    weights = np.where(is_told, told, left / num_silent)
    return np.asarray(np.rint(weights * (1 << WEIGHT_BITS)).astype(np.int64))


@lru_cache(maxsize=2)
def worth_table(line_up: LineUp) -> NDArray[np.int32]:
    """Return what each possible answer is worth to each member, ``[T, L, K]``, in `GRID` steps.

    Classes that a member holds for equally likely share the mean of their ranks.
    """
    codes = line_up.arrays.member_codes
    if line_up.record.form == "ranks":
        return np.asarray(rank_worths(codes.shape[-1])[doubled_ranks(codes)])
    probabilities = np.exp(-np.arange(MAX_CODE + 1) * CODE_STEP)
    worths = np.rint(np.log(probabilities + line_up.record.epsilon) / GRID).astype(np.int32)
    return np.asarray(worths[codes])


def doubled_ranks(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return twice the rank of each class, from 2 for the likeliest, ``[..., K]``.

    Example:
        >>> doubled_ranks(np.array([[3, 40, 40]], dtype=np.uint8))
        array([[2, 5, 5]])
    """
    rows = codes.reshape(-1, codes.shape[-1]).astype(np.int64)
    places = np.arange(len(rows))[:, None] * (MAX_CODE + 1) + rows
    counts = np.bincount(places.ravel(), minlength=len(rows) * (MAX_CODE + 1))
    counts = counts.reshape(len(rows), MAX_CODE + 1)
    # A likelier class has a smaller code. Of n classes with one code behind m likelier ones the
    # ranks run from m + 1 to m + n: twice their mean is 2 m + n + 1.
    likelier = counts.cumsum(axis=-1) - counts
    return np.asarray((2 * likelier + counts + 1).ravel()[places].reshape(codes.shape))


def rank_worths(num_classes: int) -> NDArray[np.int32]:
    """Return ``-log(r / 2)`` for the doubled ranks r from 0 to 2 K, in steps of `GRID`.

    Ranks begin at 1, so that the first two entries are never looked at.
    """
    doubled = np.maximum(np.arange(2 * num_classes + 1), 2)
    return np.asarray(np.rint(-np.log(doubled / 2) / GRID).astype(np.int32))
