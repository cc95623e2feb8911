"""The loop that asks: take a batch, wait for its answer, keep it, and say so.

Several threads go round it (`audit.asking.asking_threads`). Every answer is in the journal before
anybody hears of it.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, nullcontext
from threading import Semaphore

import numpy as np
from numpy.typing import NDArray

from adapters.attempts import watchable
from adapters.suspect import Suspect
from audit.asking.answer_book import AnswerBook, Batch, Reply
from audit.asking.asking_threads import Lanes
from audit.asking.events import Answered
from audit.asking.pause_and_stop import AuditControl
from audit.asking.plan import QuestionGroup
from audit.journal.attempt_log import AttemptLog
from audit.journal.journal import Journal
from audit.verdict.following import Follows

_STOPPING_BATCH = 8
"""Largest paid batch of an audit that may stop early: what follows the stop is money lost."""
_FREE_STOPPING_BATCH = 64
"""The same where only time is lost, and the way to the suspect and back costs some, too."""


class QuestionLoop:
    """Asks one suspect, group by group, what the book has no answer to yet.

    Args:
        suspect: Whom to ask.
        journal: Where answers go; its turn is what the threads take.
        book: The audit's answers.
        control: Pauses and stops from another thread.
        log: Keeps the books of an endpoint; None for a file.
    """

    def __init__(
        self,
        suspect: Suspect,
        journal: Journal,
        book: AnswerBook,
        control: AuditControl,
        *,
        log: AttemptLog | None,
    ) -> None:
        self.suspect = suspect
        """May be put into another order of classes between two groups."""
        self.is_cut = False
        """Whether somebody stopped the audit."""
        self._journal, self._book, self._control, self._log = journal, book, control, log
        # Times within a run never go backwards, whatever happens to the machine's clock.
        self._clock_offset = time.time() - time.monotonic()

    def ask(
        self, group: QuestionGroup, follower: Follows | None = None
    ) -> Iterator[list[Answered]]:
        """Ask a group's questions until all are answered or the follower has seen enough.

        Args:
            group: The questions.
            follower: Says from the answers when asking may end; None asks them all.

        Yields:
            What was answered since the last time, all of it on disk.

        Raises:
            SuspectError: The suspect did not answer.
            JournalError: An answer could not be put on disk.
        """
        missing = self._book.missing(group)
        if not len(missing):
            return
        suspect, is_free = self.suspect, self.suspect.identity.kind == "onnx"
        size = suspect.batch_size
        if follower is not None:
            size = min(size, _FREE_STOPPING_BATCH if is_free else _STOPPING_BATCH)
        queue = _Queue(group, self._book, self._control, follower, size, suspect.concurrency)
        queue.waiting.extend(
            missing[start : start + size] for start in range(0, len(missing), size)
        )
        # A file may be asked again for nothing, so one batch waits and no time is lost. An endpoint
        # is paid: no question leaves before the answer that made room for it is written.
        num_lanes = suspect.concurrency + (1 if is_free and follower is None else 0)
        places = Semaphore(suspect.concurrency)
        try:
            while queue.waiting and not queue.has_decided():
                if queue.is_held:
                    if self._control.is_stopped:
                        self.is_cut = True
                        return
                    self._control.wait()
                    queue.is_held = False
                    continue
                lanes = Lanes(
                    self._journal.turn,
                    may_take=queue.may_take,
                    take=queue.take,
                    ask=lambda batch: self._reply(batch, places),
                    keep=self._keep,
                    abandon=self._abandon,
                    num_lanes=min(num_lanes, len(queue.waiting)),
                )
                with closing(lanes.run()) as runs:
                    for answered in runs:
                        # Nobody hears of answers that the disk does not have. The next questions
                        # are under way meanwhile: the answers outlive this process already.
                        self._journal.sync()
                        yield answered
        finally:
            if self._log is not None:
                self._log.flush()
            self._journal.sync()

    def _reply(self, batch: Batch, places: Semaphore) -> Reply:
        if self._log is not None:  # an endpoint steps aside itself, only while it waits
            return self._timed(batch)
        with self._journal.turn.aside(), places:
            return self._timed(batch)

    def _timed(self, batch: Batch) -> Reply:
        start = time.monotonic()
        with self._log.asking(batch.request) if self._log else nullcontext():
            predictions = self.suspect.predict(batch.images)
        return Reply(
            predictions=predictions,
            asked=self._clock_offset + start,
            latency_s=time.monotonic() - start,
        )

    def _keep(self, batch: Batch, reply: Reply) -> Answered:
        if self._log is not None:
            self._log.flush()
        labels = self._book.keep(batch, reply)
        self._journal.commit()  # whatever becomes of the next request
        return Answered(
            questions=batch.questions,
            labels=labels,
            num_questions=self._book.num_questions,
            num_answered=self._book.num_answered,
            num_attempts=reply.predictions.attempts,
        )

    def _abandon(self) -> None:
        """Let nobody wait for an answer that is not paid yet."""
        if (watched := watchable(self.suspect)) is not None:
            watched.stop()


class _Queue:
    """Batches of one group that wait, and whether the next may leave; in the journal's turn."""

    def __init__(
        self,
        group: QuestionGroup,
        book: AnswerBook,
        control: AuditControl,
        follower: Follows | None,
        size: int,
        num_at_once: int,
    ) -> None:
        self._group, self._images = group, group.images()
        self._book, self._control, self._follower = book, control, follower
        self._num_ahead = num_at_once * size
        self.waiting: deque[NDArray[np.int64]] = deque()
        self.is_held = False
        """Whether the lanes end for a pause or a stop."""

    def has_decided(self) -> bool:
        """Return whether the answers so far are enough."""
        return self._follower is not None and self._follower.follow(self._book.answers)

    def may_take(self) -> bool:
        """Return whether the next batch may leave before another answer is kept."""
        follower = self._follower
        if follower is None or follower.kind != self._group.kind:
            return True
        if self.has_decided() or not self.waiting:
            return True
        # Where one answer is late, the others do not run ahead of what may be the last one.
        return int(self.waiting[0][0]) < follower.num_followed + self._num_ahead

    def take(self) -> Batch | None:
        """Return the next batch, None when there is none or none may leave."""
        # A pause lets all lanes end, also where it is over before the last one sees it.
        self.is_held = self.is_held or not self._control.may_ask
        if self.is_held or self.has_decided() or not self.waiting:
            return None
        return self._book.batch(self._group, self._images, self.waiting.popleft())
