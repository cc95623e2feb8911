"""The answers of one audit so far, each in the journal before it is here.

Batches are numbered when they are taken, answers written when they have come, both by several
threads in turn: the caller holds `Journal.turn`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED, Predictions
from audit.answer import Answer
from audit.asking.plan import QuestionGroup
from audit.errors import MismatchError
from audit.journal.journal import Asking, Journal
from audit.signing.canonical import array_sha256


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Questions that are asked together."""

    questions: tuple[str, ...]
    """Their ids, B."""
    images: NDArray[np.uint8]
    """``[B, H, W, C]``"""
    request: int
    sequence: int


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back for a batch, and when it was asked."""

    predictions: Predictions
    asked: float
    """Unix time, seconds."""
    latency_s: float


class AnswerBook:
    """What is known, and the numbers of what is asked next.

    Args:
        journal: Where answers go.
        audit: Id from `Journal.begin`.
        num_classes: K of the bundle.
    """

    def __init__(self, journal: Journal, audit: str, num_classes: int) -> None:
        self._journal, self.audit, self._num_classes = journal, audit, num_classes
        self._answers = journal.answers(audit)
        self._sequence = journal.last_sequence(audit)
        self.run, self._request = 0, 0
        self._expected = set[str]()
        self.num_questions = 0
        """Questions of the plan, second ones included."""
        self.num_answered = 0
        """Answers to them."""

    @property
    def answers(self) -> Mapping[str, Answer]:
        """Return the answers by question id; it grows while questions are asked."""
        return self._answers

    def expect(self, groups: Sequence[QuestionGroup]) -> None:
        """Count questions among those that are asked, answered ones included, each one once."""
        new = {group.question(index) for group in groups for index in range(group.num_questions)}
        new -= self._expected
        self._expected |= new
        self.num_questions += len(new)
        self.num_answered += len(new & self._answers.keys())

    def begin_run(self, run: int) -> None:
        """Note which run asks from now on."""
        self.run = run

    def use(self, answers: dict[str, Answer]) -> None:
        """Go on with the same answers under other classes."""
        self._answers = answers

    def missing(self, group: QuestionGroup) -> NDArray[np.int64]:
        """Return the numbers of a group's questions that have no answer, ``[M]``."""
        there = self._answers
        return np.array(
            [i for i in range(group.num_questions) if group.question(i) not in there],
            dtype=np.int64,
        )

    def batch(
        self, group: QuestionGroup, images: NDArray[np.uint8], indices: NDArray[np.int64]
    ) -> Batch:
        """Number the next batch in the order of asking.

        Args:
            group: Whose questions.
            images: Of all its questions, ``[N, H, W, C]``.
            indices: Of those that are asked together, ``[B]``.
        """
        first = self._sequence + 1
        self._sequence += len(indices)
        self._request += 1
        return Batch(
            questions=tuple(group.question(index) for index in indices.tolist()),
            images=images[indices],  # [N, H, W, C] -> [B, H, W, C]
            request=self._request,
            sequence=first,
        )

    def keep(self, batch: Batch, reply: Reply) -> tuple[int, ...]:
        """Write answers, and know them from then on.

        Returns:
            Their classes.

        Raises:
            MismatchError: A class that the bundle does not have.
            JournalError: They could not be written.
        """
        labels: tuple[int, ...] = tuple(reply.predictions.labels.tolist())
        rows = reply.predictions.log_probabilities
        self._check(labels, rows)
        asking = Asking(
            run=self.run,
            request=batch.request,
            sequence=batch.sequence,
            asked=reply.asked,
            latency_s=reply.latency_s,
            image_sha256=tuple(array_sha256(image) for image in batch.images),
        )
        self._journal.write(self.audit, batch.questions, reply.predictions, asking)
        for position, question in enumerate(batch.questions):
            self._answers[question] = Answer(
                label=labels[position],
                log_probabilities=None if rows is None else rows[position],
            )
        self.num_answered += len(labels)
        return labels

    def _check(self, labels: tuple[int, ...], rows: NDArray[np.float64] | None) -> None:
        num_classes = self._num_classes
        for label in labels:
            if not REFUSED <= label < num_classes:
                raise MismatchError(
                    f"suspect: expected classes 0 to {num_classes - 1}, got {label}; bundle and "
                    "suspect are about different tasks, or the class map is wrong"
                )
        if rows is not None and rows.shape[1] != num_classes:
            raise MismatchError(
                f"suspect: expected {num_classes} classes as in the bundle, got {rows.shape[1]}"
            )
