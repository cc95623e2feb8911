"""The books of one audit at an endpoint: a row for every request, and a limit that holds.

A request is counted before it leaves, by several threads at once, and a limit that it would exceed
keeps it from leaving. What an earlier run of the audit sent counts too, also what was on its way
when that run was killed: nobody knows whether it was paid.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from decimal import Decimal

from adapters.attempts import Attempt, AttemptEnd, Result
from adapters.tariff import SpendingLimits, Tariff, money
from audit.errors import BudgetSpentError
from audit.journal.journal import Journal
from audit.journal.json_text import encoded


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What an audit has sent so far, as far as the vendor charges for it."""

    num_requests: int
    num_images: int
    cost: Decimal
    currency: str


class AttemptLog:
    """Writes attempts to the journal; satisfies `adapters.attempts.AttemptObserver`."""

    def __init__(
        self, journal: Journal, audit: str, run: int, tariff: Tariff, limits: SpendingLimits
    ) -> None:
        """Count what earlier runs sent.

        Args:
            journal: Where rows go.
            audit: Id from `Journal.begin`.
            run: Number from `Journal.begin_run`.
            tariff: What requests cost.
            limits: What they may cost.
        """
        self._journal, self._audit, self._run = journal, audit, run
        self._tariff, self._limits = tariff, limits
        self._lock = threading.Lock()
        self._requests = threading.local()
        self._ends: list[tuple[int, AttemptEnd]] = []
        # Times within a run never go backwards, whatever happens to the machine's clock.
        self._clock_offset = time.time() - time.monotonic()
        spent = spending(journal, audit, tariff)
        self._num_requests, self._num_images = spent.num_requests, spent.num_images
        self._images_of: dict[int, int] = {}

    def aside(self) -> AbstractContextManager[object]:
        """Return what lets others have the journal's turn."""
        return self._journal.turn.aside()

    @property
    def spending(self) -> Spending:
        """Return what is sent so far, earlier runs included; any thread may ask."""
        with self._lock:
            num_requests, num_images = self._num_requests, self._num_images
        return _priced(num_requests, num_images, self._tariff)

    @contextmanager
    def asking(self, request: int) -> Iterator[None]:
        """Say which of the run's requests this thread is about to send."""
        self._requests.number = request
        try:
            yield
        finally:
            del self._requests.number

    def sending(self, attempt: Attempt) -> int:
        """Count and write down a request that is about to leave.

        Raises:
            BudgetSpentError: It would exceed a limit.
            JournalError: It could not be written.
        """
        with self._lock:
            # Checked and counted in one go, before the row is written: of two threads that ask for
            # the last request that is allowed, one must see the other's.
            self._check(attempt.num_images)
            self._num_requests += 1
            self._num_images += attempt.num_images
        # Charged until something else is known: if this process dies now, nobody can tell whether
        # the vendor counts it.
        handle = self._journal.file.write_soon(
            "INSERT INTO attempts (audit, run, request, attempt, started, num_images, "
            "request_sha256, is_charged) VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
            (
                self._audit,
                self._run,
                self._requests.number,
                attempt.number,
                self._clock_offset + time.monotonic(),
                attempt.num_images,
                attempt.request_sha256,
            ),
        )
        with self._lock:
            self._images_of[handle] = attempt.num_images
        return handle

    def ended(self, handle: int, end: AttemptEnd) -> None:
        """Note what became of a request; an answered one is written with its answer (`flush`)."""
        with self._lock:
            num_images = self._images_of.pop(handle)
            if not self._tariff.is_charged(end.status):
                self._num_requests -= 1
                self._num_images -= num_images
            # The end of an answered request is written with its answer, in one turn (ADR 10).
            self._ends.append((handle, end))
        if end.result is not Result.ANSWERED:
            self.flush()

    def flush(self) -> None:
        """Write down what became of the requests that have ended."""
        with self._lock:
            # Taken away under the lock and written without it: writing waits for the journal's
            # turn, and whoever has that may be about to take this lock.
            ends, self._ends = self._ends, []
        for handle, end in ends:
            self._journal.file.write_soon(
                "UPDATE attempts SET result = ?, status = ?, latency_s = ?, answer_sha256 = ?, "
                "metadata_json = ?, is_charged = ? WHERE id = ?",
                (
                    end.result.value,
                    end.status,
                    end.latency_s,
                    end.answer_sha256,
                    encoded(end.metadata),
                    int(self._tariff.is_charged(end.status)),
                    handle,
                ),
            )

    def _check(self, num_images: int) -> None:
        limits, told = self._limits, "raise it and go on with --resume"
        if limits.max_requests is not None and self._num_requests >= limits.max_requests:
            raise BudgetSpentError(
                f"max_requests: {self._num_requests} requests are sent and no more are allowed; "
                f"{told}"
            )
        # What the next one would make of it, not what is spent: nothing can be called back.
        next_cost = self._tariff.cost(self._num_requests + 1, self._num_images + num_images)
        if limits.max_cost is not None and next_cost > limits.max_cost:
            currency = self._tariff.currency
            spent = self._tariff.cost(self._num_requests, self._num_images)
            raise BudgetSpentError(
                f"max_cost: {money(spent, currency)} is spent, and one request more would exceed "
                f"{money(limits.max_cost, currency)}; {told}"
            )


def spending(journal: Journal, audit: str, tariff: Tariff) -> Spending:
    """Return what an audit has sent so far, priced by a tariff."""
    ((num_requests, num_images),) = journal.file.read_rows(
        "SELECT COUNT(*), COALESCE(SUM(num_images), 0) FROM attempts "
        "WHERE audit = ? AND is_charged = 1",
        (audit,),
    )
    return _priced(num_requests, num_images, tariff)


def _priced(num_requests: int, num_images: int, tariff: Tariff) -> Spending:
    return Spending(
        num_requests=num_requests,
        num_images=num_images,
        cost=tariff.cost(num_requests, num_images),
        currency=tariff.currency,
    )
