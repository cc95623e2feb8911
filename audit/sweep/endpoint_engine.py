"""The endpoints of a sweep, asked by threads of the coordinator.

Never on another machine: an endpoint's pace is its vendor's and not ours, its secret stays in one
place, and every answer, which may be paid, is in the sweep's own journal before it is used. So one
limit on requests holds for the whole sweep, wherever its files are asked.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from pydantic import ValidationError

from adapters.attempts import Watchable, watchable
from audit.asking.cost import plan_spending
from audit.asking.events import AuditEvent, Started
from audit.asking.run import run_audit
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError, NothingToResumeError
from audit.exit_codes import code_for_verdict
from audit.journal.audits import final_outcome
from audit.journal.journal import Journal
from audit.journal.sweep_rows import PairStatus
from audit.journal.transfer import AuditCopy
from audit.suspects.opening import open_remote
from audit.sweep.asking import ask_pair
from audit.sweep.engine import Results, SweepEndsError, lost_task
from audit.sweep.tasks import PairResult, SuspectTask, SweepSettings, TaskResult
from audit.verdict.outcome import Outcome

NUM_THREADS = 4
"""Endpoints that are asked at once."""
MAX_WAITING = 1000
"""Endpoints that are known and not yet done."""
WORKER = "coordinator"


class EndpointEngine:
    """Asks endpoints; see `audit.sweep.engine.Engine`.

    Args:
        bundles: By SHA-256 of the manifest.
        settings: How pairs are asked.
        journal: The sweep's.
        results: Where results go.
        note_audit: Told suspect, bundle and audit before the first question.
        allow: What endpoint files may use besides what the user always allows.
    """

    def __init__(
        self,
        bundles: Mapping[str, BundleContents],
        settings: SweepSettings,
        journal: Journal,
        results: Results,
        note_audit: Callable[[str, str, str], None],
        allow: Sequence[str] = (),
    ) -> None:
        self._bundles, self._settings, self._journal = bundles, settings, journal
        self._results, self._note_audit, self._allow = results, note_audit, allow
        self._ending = threading.Event()
        self._open: set[Watchable] = set()
        self._pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="endpoint")

    @property
    def capacity(self) -> int:
        """Return how many endpoints may be known: most of the time they wait themselves."""
        return MAX_WAITING

    def submit(self, task: SuspectTask) -> None:
        """Take a task."""

        def done(future: "Future[TaskResult]") -> None:
            if future.cancelled():
                return
            error = future.exception()
            told = f"unexpected {type(error).__name__}: {error}"
            self._results.put(future.result() if error is None else lost_task(task, told))

        self._pool.submit(self._ask, task).add_done_callback(done)

    def close(self) -> None:
        """Wait for what is under way only, and not for a vendor's pause; answers are kept."""
        self._ending.set()
        for endpoint in tuple(self._open):
            endpoint.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _ask(self, task: SuspectTask) -> TaskResult:
        pairs = [
            self._pair(task, self._bundles[bundle], audit)
            for bundle, audit in zip(task.bundles, task.audits, strict=True)
        ]
        return TaskResult(task=task, pairs=tuple(pairs), worker=WORKER)

    def _pair(self, task: SuspectTask, bundle: BundleContents, audit: str | None) -> PairResult:
        known = None if audit is None else self._finished(bundle, audit)
        if known is not None:
            return known

        def asks(
            bundle: BundleContents, on_event: Callable[[AuditEvent], None]
        ) -> AuditCopy | None:
            def follow(event: AuditEvent) -> None:
                if isinstance(event, Started):
                    self._note_audit(task.suspect, bundle.manifest_sha256, event.audit)
                on_event(event)
                # Between two events, when all that was answered is kept.
                if self._ending.is_set():
                    raise SweepEndsError("the sweep was ended; the next run goes on")

            self._audit(task, bundle, follow, resume=audit is not None)
            return None

        result = ask_pair(bundle, asks)
        if result.status is PairStatus.FAILED:  # a vendor may be back tomorrow, or a secret there
            return replace(result, status=PairStatus.BROKEN_OFF)
        return result

    def _audit(
        self,
        task: SuspectTask,
        bundle: BundleContents,
        on_event: Callable[[AuditEvent], None],
        *,
        resume: bool,
    ) -> None:
        settings = self._settings
        suspect = open_remote(
            bundle,
            task.path,
            labels_only=settings.labels_only,
            ca_bundle=settings.ca_bundle,
            allow_plain_http=settings.allow_plain_http,
            rate=settings.rate,
            allow=self._allow,
        )
        options = settings.options(bundle, resume=resume)
        endpoint = watchable(suspect)
        assert endpoint is not None, "endpoints can be watched"
        # Before the second look at whether it ends: `close` stops those that it finds here.
        self._open.add(endpoint)
        if self._ending.is_set():
            endpoint.stop()
        try:
            spending = plan_spending(bundle, suspect, options)
            is_limited = settings.budget is not None or (spending and spending.limits.are_set)
            if spending and not (spending.tariff.is_free or is_limited or settings.is_agreed):
                raise AuditError(
                    f"{spending.estimate.text}. Nobody agreed to that and nothing limits it: give "
                    "--max-cost, --max-requests or --budget, or --yes. Nothing was sent."
                )

            try:
                run_audit(self._journal, bundle, suspect, options, on_event=on_event)
            except NothingToResumeError:
                # The table remembers an audit that the journal no longer has: it is asked anew.
                options = settings.options(bundle)
                run_audit(self._journal, bundle, suspect, options, on_event=on_event)
        finally:
            self._open.discard(endpoint)
            suspect.close()

    def _finished(self, bundle: BundleContents, audit: str) -> PairResult | None:
        """Return the result of an audit that ended just before an earlier run did."""
        told = final_outcome(self._journal, audit)
        if told is None:
            return None
        try:
            outcome = Outcome.model_validate_json(told)
        except ValidationError:  # another version judged it
            return None
        return PairResult(
            bundle=bundle.manifest_sha256,
            status=PairStatus.ASKED,
            reason=outcome.text,
            exit_code=code_for_verdict(outcome.verdict, is_complete=True),
            seconds=0.0,
            outcome=outcome,
            audit=audit,
        )
