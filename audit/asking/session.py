"""One audit as a stream of events: plan, ask, journal, judge.

Data flows one way. Every answer is in the journal before it is used, so that an audit which is
killed anywhere goes on from there and ends with the same outcome.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from threading import Semaphore

from adapters.attempts import watchable
from adapters.suspect import Suspect
from adapters.tariff import SpendingLimits
from audit.answer import Answer
from audit.asking.answer_book import AnswerBook, Batch, Reply
from audit.asking.asking_threads import Lanes
from audit.asking.class_order_of_audit import (
    SETTING,
    UNKNOWN,
    AskedOrder,
    find_order,
    order_so_far,
    settle_order,
)
from audit.asking.events import (
    Answered,
    AuditEvent,
    ControlsChecked,
    Finished,
    OrderFound,
    Standing,
    Started,
    Stopped,
)
from audit.asking.pause_and_stop import AuditControl
from audit.asking.plan import Plan, QuestionGroup, make_plan
from audit.asking.second_questions import repeats_due
from audit.bundle.manifest import BundleContents
from audit.errors import NothingToResumeError
from audit.journal.attempt_log import AttemptLog, Spending, spending
from audit.journal.journal import AskedBundle, Journal
from audit.library_versions import environment_versions
from audit.scores.evidence import query_evidence
from audit.signing.canonical import canonical_bytes
from audit.verdict.early_stop import Follower, follow_controls, follow_queries
from audit.verdict.judge import check_controls, judge
from audit.verdict.outcome import Verdict
from audit.verdict.rule import DecisionRule, bundle_rule

_HOW_READ = ("preprocessing", "output", "output_kind", "class_order")
"""Details of a suspect that change what it answers."""

_STOPPING_BATCH = 8
"""Largest paid batch of an audit that may stop early: what follows the stop is money lost."""
_FREE_STOPPING_BATCH = 64
"""The same where only time is lost, and the way to the suspect and back costs some, too."""

_STANDING_SHARE = 0.05
"""Largest share of the time that may go into computing standings."""


class AuditSession:
    """An audit of one suspect with one bundle.

    Args:
        bundle: A bundle whose signature was checked.
        suspect: Whom to ask.
        journal: Where answers go.
        scores: Scores to compute, the deciding one first; the bundle's default score if empty.
        budget: Largest number of questions, control images included; None asks them all.
        resume: Go on with the newest unfinished audit of this pair and these scores.
        rule: Error rates, and whether the audit may stop early; by default the bundle's own.
        stamp: Gets an RFC 3161 reply over the manifest's bytes; called once, before the first
            question of a new audit.
        limits: What an endpoint's requests may come to; by default what its file says.
        control: Pauses and stops the audit from another thread.
        standing_every_s: Yield a `Standing` about so often, in seconds; None never does.
        infer_classes: Find the order of the suspect's classes from all control images first.

    Raises:
        NothingToResumeError: There is nothing to resume.
        AuditError: A score or the budget does not fit.
    """

    def __init__(
        self,
        bundle: BundleContents,
        suspect: Suspect,
        journal: Journal,
        *,
        scores: tuple[str, ...] = (),
        budget: int | None = None,
        resume: bool = False,
        rule: DecisionRule | None = None,
        stamp: Callable[[bytes], bytes] | None = None,
        limits: SpendingLimits | None = None,
        control: AuditControl | None = None,
        standing_every_s: float | None = None,
        infer_classes: bool = False,
    ) -> None:
        self._bundle, self._suspect, self._journal = bundle, suspect, journal
        self._watched = watchable(suspect)
        self._log: AttemptLog | None = None
        self._limits = limits or SpendingLimits()
        self._control, self._is_cut = control or AuditControl(), False
        self._standing_every_s, self._next_standing = standing_every_s, 0.0
        scores = scores or (bundle.manifest.default_score,)
        self._whole_plan = make_plan(bundle, scores, suspect.capability)
        self._plan: Plan = self._whole_plan.within(budget)
        identity, digest = suspect.identity, bundle.manifest_sha256
        self._rule = rule or bundle_rule(bundle.manifest)
        settings = {"scores": ",".join(scores), "capability": suspect.capability.name}
        settings |= self._rule.settings()
        # The same file read in another way answers otherwise: never mix the two.
        settings |= {name: identity.details[name] for name in _HOW_READ if name in identity.details}
        self._settings, self._order = settings, None
        if infer_classes:
            self._order = order_so_far(journal, digest, identity, settings) if resume else None
            settings = {**settings, SETTING: UNKNOWN}
            earlier = self._order.audit if self._order else None
        else:
            earlier = journal.unfinished(digest, identity, settings) if resume else None
        if resume and earlier is None:
            raise NothingToResumeError(
                f"resume: no unfinished audit of {identity.name} with this bundle and these "
                "scores in the journal; start it without --resume"
            )
        if earlier is None:
            earlier = journal.begin(_asked_bundle(bundle, stamp), identity, settings)
        self._audit, self._budget = earlier, budget
        if infer_classes:
            self._order = self._order or AskedOrder(earlier, None)
            self._suspect = self._order.applied_to(suspect)
        self._book = AnswerBook(journal, self._audit, bundle.manifest.task.num_classes)
        self._num_again = 0
        # Times within a run never go backwards, whatever happens to the machine's clock.
        self._clock_offset = time.time() - time.monotonic()
        self._book.num_answered = self._plan.num_questions - sum(
            len(self._book.missing(group)) for group in self._plan.groups
        )

    @property
    def plan(self) -> Plan:
        """Return what is asked, within the budget."""
        return self._plan

    @property
    def _num_due(self) -> int:
        """Return the number of questions of this audit, second ones included."""
        return self._plan.num_questions + self._num_again

    @property
    def answers(self) -> dict[str, Answer]:
        """Return a copy of all answers so far, those of earlier runs included, by question id."""
        return dict(self._book.answers)

    @property
    def spending(self) -> Spending | None:
        """Return what an endpoint charges so far, all runs together; any thread may ask.

        None for a file, and before `run` begins.
        """
        return None if self._log is None else self._log.spending

    def run(self) -> Iterator[AuditEvent]:
        """Ask and judge.

        Yields:
            One event per answered batch and per step; `Finished` last, or `Stopped`.

        Raises:
            SuspectError: The suspect did not answer; what it answered before is in the journal.
            MismatchError: It answered a class that the bundle does not have.
            JournalError: An answer could not be put on disk.
        """
        plan = self._plan
        run = self._journal.begin_run(
            self._audit,
            budget=self._budget,
            details=self._suspect.identity.details,
            libraries=environment_versions(),
        )
        self._book.begin_run(run)
        if self._watched is not None:
            self._log = AttemptLog(
                self._journal,
                self._audit,
                run,
                self._watched.tariff,
                self._watched.limits.unless(self._limits),
            )
            self._watched.watch(self._log, has_answered=bool(self._book.answers))
        yield Started(
            audit=self._audit,
            num_questions=plan.num_questions,
            num_answered=self._book.num_answered,
        )
        controls, *others = plan.groups
        # Which control images are right, nobody knows before the order of the classes.
        follower = None if self._order else follow_controls(self._bundle, self._rule)
        yield from self._ask(controls, follower)
        if self._is_cut:
            yield Stopped(num_questions=plan.num_questions, num_answered=self._book.num_answered)
            return
        if self._order:
            yield self._in_order(self._order)
        check = check_controls(self._bundle, self._book.answers, self._rule)
        yield ControlsChecked(check=check)
        if check.comparable:
            yield from self._ask_scored(others)
        if self._is_cut:
            yield Stopped(num_questions=plan.num_questions, num_answered=self._book.num_answered)
            return
        outcome = judge(self._bundle, self._book.answers, plan.scores, self._rule)
        again = repeats_due(self._whole_plan, self._book.answers, outcome, budget=self._budget)
        self._num_again = sum(group.num_questions for group in again)
        for group in again:
            yield from self._ask(group, None)
        if self._is_cut:
            yield Stopped(num_questions=self._num_due, num_answered=self._book.num_answered)
            return
        if again:
            outcome = judge(self._bundle, self._book.answers, plan.scores, self._rule)
        cut = plan is not self._whole_plan
        # What stopped early as inconclusive has asked enough, whatever the budget.
        is_open = outcome.verdict is Verdict.INCONCLUSIVE and outcome.scores[0].e_value is None
        is_complete = not (cut and is_open)
        self._journal.end_run(self._audit, run, outcome.model_dump_json(), is_complete=is_complete)
        yield Finished(
            outcome=outcome,
            is_complete=is_complete,
            num_attempts=self._journal.count_attempts(self._audit),
            spending=None
            if self._watched is None
            else spending(self._journal, self._audit, self._watched.tariff),
        )

    def _in_order(self, so_far: AskedOrder) -> OrderFound:
        """Find the order of the classes, unless an earlier run has, and go on in it."""
        found = find_order(self._bundle, so_far, self._book.answers)
        if so_far.order is None:
            self._book.use(settle_order(self._journal, so_far, found, self._settings, self.answers))
            self._order = AskedOrder(so_far.audit, found.order)
            self._suspect = self._order.applied_to(self._suspect)
        return OrderFound(order=found)

    def _ask_scored(self, groups: Sequence[QuestionGroup]) -> Iterator[Answered | Standing]:
        """Ask the questions of the scores, until the one that decides has decided."""
        follower = follow_queries(self._bundle, self._rule, self._plan.scores[0])
        for group in groups:
            yield from self._ask(group, follower)
            if self._is_cut or (follower is not None and follower.follow(self._book.answers)):
                return

    def _standing(self) -> Iterator[Standing]:
        start = time.monotonic()
        if self._standing_every_s is None or start < self._next_standing:
            return
        first = self._plan.scores[0]
        answers = self.answers  # others are coming in
        outcome = judge(self._bundle, answers, (first,), self._rule)
        evidence = query_evidence(self._bundle, answers, first)
        end = time.monotonic()
        self._next_standing = end + max(self._standing_every_s, (end - start) / _STANDING_SHARE)
        yield from (Standing(score=score, evidence=evidence) for score in outcome.scores)

    def _ask(
        self, group: QuestionGroup, follower: Follower | None
    ) -> Iterator[Answered | Standing]:
        """Ask what the journal has no answer to yet, until the follower has seen enough."""
        book, control = self._book, self._control
        missing = book.missing(group)
        if not len(missing):
            return
        images = group.images()
        size, num_at_once = self._suspect.batch_size, self._suspect.concurrency
        is_free = self._suspect.identity.kind == "onnx"
        if follower is not None:
            size = min(size, _FREE_STOPPING_BATCH if is_free else _STOPPING_BATCH)
        waiting = deque(missing[start : start + size] for start in range(0, len(missing), size))
        # A file may be asked again for nothing, so one batch waits and no time is lost. An endpoint
        # is paid: no question leaves before the answer that made room for it is written.
        num_lanes = num_at_once + 1 if is_free and follower is None else num_at_once
        places, is_held = Semaphore(num_at_once), False

        def ask(batch: Batch) -> Reply:
            if self._log is not None:  # an endpoint steps aside itself, only while it waits
                return self._timed(batch)
            with self._journal.turn.aside(), places:
                return self._timed(batch)

        def has_decided() -> bool:
            return follower is not None and follower.follow(book.answers) is not None

        def may_take() -> bool:
            # Where one answer is late, the others do not run ahead of what may be the last one.
            if follower is None or follower.kind != group.kind or has_decided() or not waiting:
                return True
            return int(waiting[0][0]) < follower.num_followed + num_at_once * size

        def take() -> Batch | None:
            nonlocal is_held
            # A pause lets all lanes end, also where it is over before the last one sees it.
            is_held = is_held or not control.may_ask
            if is_held or has_decided() or not waiting:
                return None
            return book.batch(group, images, waiting.popleft())

        try:
            while waiting and not has_decided():
                if is_held:
                    if control.is_stopped:
                        self._is_cut = True
                        return
                    control.wait()
                    is_held = False
                    continue
                lanes = Lanes(
                    self._journal.turn,
                    may_take=may_take,
                    take=take,
                    ask=ask,
                    keep=self._keep,
                    abandon=self._abandon,
                    num_lanes=min(num_lanes, len(waiting)),
                )
                with closing(lanes.run()) as runs:
                    for answered in runs:
                        # Nobody hears of answers that the disk does not have. The next questions
                        # are under way meanwhile: the answers outlive this process already.
                        self._journal.sync()
                        yield from answered
                        if group.kind != "control":
                            yield from self._standing()
        finally:
            if self._log is not None:
                self._log.flush()
            self._journal.sync()

    def _timed(self, batch: Batch) -> Reply:
        start = time.monotonic()
        with self._log.asking(batch.request) if self._log else nullcontext():
            predictions = self._suspect.predict(batch.images)
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
            num_questions=self._num_due,
            num_answered=self._book.num_answered,
            num_attempts=reply.predictions.attempts,
        )

    def _abandon(self) -> None:
        """Let nobody wait for an answer that is not paid yet."""
        if self._watched is not None:
            self._watched.stop()


def _asked_bundle(bundle: BundleContents, stamp: Callable[[bytes], bytes] | None) -> AskedBundle:
    # These are the bytes that were read: a manifest that is not canonical is refused.
    manifest = canonical_bytes(bundle.manifest.model_dump(mode="json"))
    return AskedBundle(
        sha256=bundle.manifest_sha256,
        signer_key_id=bundle.signer_key_id,
        manifest=manifest,
        timestamp=None if stamp is None else stamp(manifest),
    )
