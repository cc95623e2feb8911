"""One audit as a stream of events: plan, ask, journal, judge.

Data flows one way. Every answer is in the journal before it is used, so that an audit which is
killed anywhere goes on from there and ends with the same outcome.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from adapters.attempts import NUM_OTHERS, watchable
from adapters.suspect import (
    ABSENT_CLASSES,
    MERGED_CLASSES,
    REFUSED,
    WEIGHTS,
    Suspect,
    SuspectError,
    SuspectIdentity,
)
from audit.answer import Answer
from audit.asking.answer_book import AnswerBook
from audit.asking.class_order import SETTING, UNKNOWN
from audit.asking.class_order_of_audit import (
    AskedOrder,
    find_order,
    order_so_far,
    settle_order,
)
from audit.asking.ends import End, end_of
from audit.asking.events import (
    AuditEvent,
    ControlsChecked,
    Finished,
    OrderFound,
    Started,
    Stopped,
)
from audit.asking.options import AuditOptions
from audit.asking.pause_and_stop import AuditControl
from audit.asking.plan import Plan, QuestionGroup, deciding_scores, make_plan
from audit.asking.question_loop import QuestionLoop
from audit.asking.second_questions import repeats_due
from audit.asking.second_step import StepGroups, needs_line_up, step_groups
from audit.asking.standings import Standings
from audit.bundle.manifest import BundleContents
from audit.bundle.query_order import START, draw_start
from audit.errors import BudgetSpentError, NothingToResumeError
from audit.journal.attempt_log import AttemptLog, Spending
from audit.journal.audits import KnownAudit, audits_of_pair
from audit.journal.journal import AskedBundle, Journal
from audit.library_versions import environment_versions
from audit.scores.merged_classes import as_asked
from audit.signing.canonical import canonical_bytes
from audit.verdict.early_stop import follow_controls
from audit.verdict.following import Follows, follow_score
from audit.verdict.judge import check_controls, judge
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.outcome import Outcome, Verdict

_HOW_READ = (
    *("preprocessing", "output", "output_kind", "class_order"),
    *(MERGED_CLASSES, ABSENT_CLASSES, WEIGHTS),
)
"""Details of a suspect that change what it answers, or what is judged besides."""


class AuditSession:
    """An audit of one suspect with one bundle; nothing is written before `run`.

    Args:
        bundle: A bundle whose signature was checked.
        suspect: Whom to ask.
        journal: Where answers go.
        options: What to ask and when to stop; by default the bundle's own score and rates, and
            every question.
        stamp: Gets an RFC 3161 reply over the manifest's bytes; called once, before the first
            question of a new audit.
        control: Pauses and stops the audit from another thread.
        standing_every_s: Yield a `Standing` about so often, in seconds; None never does.

    Raises:
        NothingToResumeError: There is nothing to resume.
        AuditError: A score or the budget does not fit.
    """

    def __init__(
        self,
        bundle: BundleContents,
        suspect: Suspect,
        journal: Journal,
        options: AuditOptions | None = None,
        *,
        stamp: Callable[[bytes], bytes] | None = None,
        control: AuditControl | None = None,
        standing_every_s: float | None = None,
    ) -> None:
        options = options or AuditOptions()
        self._suspect, self._journal = suspect, journal
        self._stamp, self._control = stamp, control or AuditControl()
        in_steps = options.decides_in_steps(bundle.manifest)
        scores = options.scores or deciding_scores(bundle.manifest, look_for=options.look_for)
        options = replace(options, scores=scores, in_steps=in_steps)
        self._options = options
        self._rule = options.rule(bundle.manifest)
        identity = suspect.identity
        settings = {"scores": ",".join(scores), "capability": suspect.capability.name}
        settings |= self._rule.settings()
        # The same file read in another way answers otherwise: never mix the two.
        settings |= {name: identity.details[name] for name in _HOW_READ if name in identity.details}
        earlier = self._known(bundle, settings, is_finished=False) if options.resume else None
        if options.resume and earlier is None:
            finished = self._known(bundle, settings, is_finished=True)
            raise NothingToResumeError(
                f"resume: no unfinished audit of {identity.name} with this bundle and these "
                "scores in the journal; start it without --resume",
                None if finished is None else finished.audit,
            )
        settings |= _start_of(bundle, identity, earlier)
        self._settings: Mapping[str, str] = settings
        self._earlier = earlier.audit if earlier else None
        self._order = order_so_far(bundle, earlier) if earlier and options.infer_classes else None
        self._bundle = bundle = as_asked(bundle, {**identity.details, **settings})
        self._whole_plan = make_plan(bundle, scores, suspect.capability)
        self._plan: Plan = self._whole_plan.within(options.budget)
        self._standings = Standings(bundle, self._rule, scores, every_s=standing_every_s)
        self._book: AnswerBook | None = None
        self._log: AttemptLog | None = None

    def _known(
        self, bundle: BundleContents, settings: Mapping[str, str], *, is_finished: bool
    ) -> KnownAudit | None:
        """Return the newest audit with these settings, wherever it began."""
        is_open = {SETTING} if self._options.infer_classes else set[str]()
        for one in audits_of_pair(self._journal, bundle.manifest_sha256, self._suspect.identity):
            if one.is_finished is not is_finished:
                continue
            known = {name: told for name, told in one.settings.items() if name not in is_open}
            known.pop(START, None)
            if known == settings and is_open <= one.settings.keys():
                return one
        return None

    @property
    def earlier(self) -> str | None:
        """Return the audit that this one goes on with; None where it begins."""
        return self._earlier

    @property
    def plan(self) -> Plan:
        """Return what is asked, within the budget."""
        return self._plan

    @property
    def reach(self) -> Plan:
        """Return what may be asked: of what the first step leaves the second may ask more."""
        budget = self._options.budget
        if self._rule.steps is None or budget is None:
            return self._plan
        groups = {group.kind: group for group in self._plan.groups}
        left = budget - self._plan.groups[0].num_questions
        groups[LINE_UP] = self._whole_plan.group(LINE_UP).first(left)
        kinds = (group.kind for group in self._whole_plan.groups if group.kind in groups)
        return Plan(scores=self._plan.scores, groups=tuple(groups[kind] for kind in kinds))

    @property
    def answers(self) -> dict[str, Answer]:
        """Return a copy of all answers so far, those of earlier runs included, by question id.

        Nothing is known before `run` begins.
        """
        return {} if self._book is None else dict(self._book.answers)

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
        audit = self._earlier or self._begin()
        book = self._book = AnswerBook(self._journal, audit, self._bundle.manifest.task.num_classes)
        book.expect(self._plan.groups)
        suspect = self._suspect
        if self._options.infer_classes:
            self._order = self._order or AskedOrder(audit, None)
            suspect = self._order.applied_to(suspect)
        run = self._begin_run(audit, suspect)
        loop = QuestionLoop(suspect, self._journal, book, self._control, log=self._log)
        yield Started(
            audit=audit,
            num_questions=self._plan.num_questions,
            num_answered=book.num_answered,
            start=self._bundle.start,
        )
        controls, *others = self._plan.groups
        # Which control images are right, nobody knows before the order of the classes.
        follower = None if self._order else follow_controls(self._bundle, self._rule)
        yield from self._ask(loop, controls, follower)
        if self._order and not loop.is_cut:
            yield self._in_order(self._order, book, loop)
        if not loop.is_cut:
            check = check_controls(self._bundle, book.answers, self._rule)
            yield ControlsChecked(check=check)
            if check.comparable:
                yield from self._ask_scored(loop, others)
        outcome = None if loop.is_cut else self._judged()
        while outcome is not None and (again := self._again(book, outcome)):
            book.expect(again)
            for group in again:
                yield from self._ask(loop, group)
            outcome = None if loop.is_cut else self._judged()
        if outcome is None:
            self._journal.break_off_run(audit, run, End.USER)
            self._journal.sync()
            yield Stopped(num_questions=book.num_questions, num_answered=book.num_answered)
            return
        yield self._finish(audit, run, outcome)

    def _begin(self) -> str:
        settings = dict(self._settings)
        if self._options.infer_classes:
            settings[SETTING] = UNKNOWN
        return self._journal.begin(
            _asked_bundle(self._bundle, self._stamp), self._suspect.identity, settings
        )

    def _begin_run(self, audit: str, suspect: Suspect) -> int:
        """Note that the audit is asked from now on, and by which program."""
        assert self._book is not None
        run = self._journal.begin_run(
            audit,
            budget=self._options.budget,
            details=suspect.identity.details,
            libraries=environment_versions(),
        )
        self._book.begin_run(run)
        if (watched := watchable(suspect)) is not None:
            limits = watched.limits.unless(self._options.limits)
            self._log = AttemptLog(self._journal, audit, run, watched.tariff, limits)
            watched.watch(
                self._log,
                has_answered=bool(self._book.answers),
                others=self._other_images(),
            )
        return run

    def _other_images(self) -> NDArray[np.uint8]:
        """Return control images to ask where another gets no answer, ``[M, H, W, C]``."""
        assert self._book is not None
        controls, known = self._bundle.arrays.controls, self._book.answers
        labels = [
            known[question].label if (question := f"control/{index}") in known else None
            for index in range(len(controls))
        ]
        # What got a class in an earlier run, then what is asked last; never what was refused.
        last_first = range(len(controls) - 1, -1, -1)
        order = sorted(last_first, key=lambda index: labels[index] is None)
        return controls[[index for index in order if labels[index] != REFUSED][:NUM_OTHERS]]

    def _ask(
        self, loop: QuestionLoop, group: QuestionGroup, follower: Follows | None = None
    ) -> Iterator[AuditEvent]:
        assert self._book is not None
        try:
            for answered in loop.ask(group, follower):
                yield from answered
                if group.kind != "control":
                    yield from self._standings.due(self._book.answers)
        except (SuspectError, BudgetSpentError) as error:
            ended_by = End.BUDGET if isinstance(error, BudgetSpentError) else End.REFUSALS
            self._journal.break_off_run(self._book.audit, self._book.run, ended_by)
            raise

    def _ask_scored(
        self, loop: QuestionLoop, groups: Sequence[QuestionGroup]
    ) -> Iterator[AuditEvent]:
        """Ask the questions of the scores, until the one that decides has decided."""
        assert self._book is not None
        scores, rule = self._plan.scores, self._rule
        if rule.steps is None:
            yield from self._ask_until_decided(loop, groups, scores[0])
            return
        yield from self._ask_until_decided(loop, self._steps().crafted, scores[0])
        if loop.is_cut:
            return
        if needs_line_up(self._bundle, self._book.answers, self._whole_plan, rule):
            # Only now is known how much of the budget is left for it.
            yield from self._ask_until_decided(loop, (self._steps().line_up,), LINE_UP)
        for group in self._steps().beside:
            if not loop.is_cut:
                yield from self._ask(loop, group)

    def _steps(self) -> StepGroups:
        assert self._book is not None
        return step_groups(
            self._whole_plan, self._book.answers, self._rule, budget=self._options.budget
        )

    def _ask_until_decided(
        self, loop: QuestionLoop, groups: Sequence[QuestionGroup], score: str
    ) -> Iterator[AuditEvent]:
        assert self._book is not None
        follower = follow_score(self._bundle, self._rule, score)
        for group in groups:
            yield from self._ask(loop, group, follower)
            if loop.is_cut or (follower is not None and follower.follow(self._book.answers)):
                return

    def _in_order(self, so_far: AskedOrder, book: AnswerBook, loop: QuestionLoop) -> OrderFound:
        """Find the order of the classes, unless an earlier run has, and go on in it."""
        found = find_order(self._bundle, so_far, book.answers)
        if so_far.order is None:
            book.use(settle_order(self._journal, so_far, found, self._settings, book.answers))
            loop.suspect = AskedOrder(so_far.audit, found.order).applied_to(self._suspect)
        return OrderFound(order=found)

    def _again(self, book: AnswerBook, outcome: Outcome) -> tuple[QuestionGroup, ...]:
        return repeats_due(self._whole_plan, book.answers, outcome, budget=self._options.budget)

    def _judged(self) -> Outcome:
        assert self._book is not None
        return judge(self._bundle, self._book.answers, self._plan.scores, self._rule)

    def _finish(self, audit: str, run: int, outcome: Outcome) -> Finished:
        is_cut = self._plan is not self._whole_plan
        if outcome.steps is not None:  # what the first step left was the second's
            is_cut = is_cut and outcome.scores[0].num_queries < outcome.scores[0].num_in_bundle
        # What stopped early as inconclusive has asked enough, whatever the budget.
        is_open = outcome.verdict is Verdict.INCONCLUSIVE and not outcome.scores[0].stopped_early
        is_complete = not (is_cut and is_open)
        self._journal.end_run(
            audit,
            run,
            outcome.model_dump_json(),
            is_complete=is_complete,
            ended_by=end_of(self._whole_plan, self._plan, self.answers, outcome),
        )
        return Finished(
            outcome=outcome,
            is_complete=is_complete,
            num_attempts=self._journal.count_attempts(audit),
            spending=self.spending,
        )


def _start_of(
    bundle: BundleContents, suspect: SuspectIdentity, earlier: KnownAudit | None
) -> dict[str, str]:
    """Return where an audit begins among the queries, as its settings say it."""
    if earlier is not None:
        # One from before audits began anywhere began at the first query, and says nothing.
        return {START: earlier.settings[START]} if START in earlier.settings else {}
    num_queries = len(bundle.arrays.queries)
    # A file keeps nothing from one image to the next: it has no beginning that it could spoil, and
    # gets the same verdict whoever asks it.
    is_file = suspect.kind == "onnx"
    return {} if is_file or not num_queries else {START: str(draw_start(num_queries))}


def _asked_bundle(bundle: BundleContents, stamp: Callable[[bytes], bytes] | None) -> AskedBundle:
    # These are the bytes that were read: a manifest that is not canonical is refused.
    manifest = canonical_bytes(bundle.manifest.model_dump(mode="json"))
    return AskedBundle(
        sha256=bundle.manifest_sha256,
        signer_key_id=bundle.signer_key_id,
        manifest=manifest,
        timestamp=None if stamp is None else stamp(manifest),
    )
