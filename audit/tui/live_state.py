"""What is known of a running audit: plain values that the live screen draws."""

import time
from collections import deque
from dataclasses import replace
from enum import Enum

from adapters.tariff import money
from audit.answer import Answer
from audit.asking.events import (
    Answered,
    AuditEvent,
    ControlsChecked,
    Finished,
    Standing,
    Started,
    Stopped,
)
from audit.asking.options import AuditOptions
from audit.bundle.manifest import BundleContents
from audit.journal.attempt_log import Spending
from audit.question import QuestionId
from audit.report.question_view import source_label
from audit.scores.evidence import query_evidence
from audit.tui.widgets.plots.evidence_plot import Curve, curve_of
from audit.tui.widgets.query_grid import Mark
from audit.tui.widgets.verdict_banner import BannerData
from audit.tui.words import duration
from audit.verdict.control_confusion import ControlConfusion, control_confusion
from audit.verdict.line_up import race_of
from audit.verdict.line_up_race import LineUpRace
from audit.verdict.outcome import ControlCheck, ScoreOutcome, Verdict

RATE_WINDOW_S = 10.0
"""The rate is that of the last so many seconds."""


class Phase(Enum):
    """Where an audit stands."""

    OPENING = "opening"
    ASKING = "asking"
    STOPPED = "stopped"
    FAILED = "failed"
    FINISHED = "finished"


class LiveState:
    """Follows the events of an audit, over several runs of it.

    Args:
        bundle: What is asked.
    """

    def __init__(self, bundle: BundleContents) -> None:
        self._bundle = bundle
        self.phase = Phase.OPENING
        self.audit: str | None = None
        self.num_questions = self.num_answered = 0
        self.labels: dict[str, int] = {}
        self.marks: dict[str, Mark] = {}
        self.newest: str | None = None
        self.error: Exception | None = None
        self.finished: Finished | None = None
        self._answers: dict[str, Answer] = {}
        self._check: ControlCheck | None = None
        self._score: ScoreOutcome | None = None
        self._num_retries = 0
        self._began, self._ended = 0.0, 0.0
        self._last_answer = 0.0
        self._recent: deque[tuple[float, int]] = deque()

    @property
    def has_begun(self) -> bool:
        """Whether there is an audit in the journal to go on with."""
        return self.audit is not None

    @property
    def can_ask_more(self) -> bool:
        """Whether a larger budget would help."""
        return self.finished is not None and not self.finished.is_complete

    def begin(self) -> None:
        """Another run begins."""
        self.phase, self.error, self.finished = Phase.OPENING, None, None
        self._began = self._last_answer = time.monotonic()
        self._ended = 0.0
        self._recent.clear()

    def failed(self, error: Exception) -> None:
        """Note why it ended."""
        self.phase, self.error = Phase.FAILED, error
        self._ended = time.monotonic()

    def take(self, event: AuditEvent) -> None:
        """Follow one event."""
        match event:
            case Started():
                self.audit, self.phase = event.audit, Phase.ASKING
                self._bundle = replace(self._bundle, start=event.start)
                self.num_questions, self.num_answered = event.num_questions, event.num_answered
                self._began = self._last_answer = time.monotonic()
            case Answered():
                self._answered(event)
            case ControlsChecked():
                self._check = event.check
            case Standing():
                self._score = event.score
            case Stopped():
                self.phase, self._ended = Phase.STOPPED, time.monotonic()
            case Finished():
                self.phase, self._ended = Phase.FINISHED, time.monotonic()
                self.finished = event
                if event.outcome.scores:
                    self._score = event.outcome.scores[0]

    def _answered(self, event: Answered) -> None:
        self._last_answer = time.monotonic()
        self.num_questions, self.num_answered = event.num_questions, event.num_answered
        self.newest = event.questions[-1]
        self._num_retries += event.num_attempts - 1
        self._recent.append((self._last_answer, len(event.questions)))
        for question, label in zip(event.questions, event.labels, strict=True):
            self.labels[question] = label
            self.marks[question] = mark_of(self._bundle, question, label)

    def know(self, answers: dict[str, Answer]) -> None:
        """Take in all answers of this audit, from earlier runs too."""
        self._answers = answers
        for question, answer in answers.items():
            self.labels[question] = answer.label
            self.marks[question] = mark_of(self._bundle, question, answer.label)

    def confusion(self) -> ControlConfusion:
        """Return what became of the control images."""
        return control_confusion(self._bundle, self._answers)

    def final_curve(self, earlier: Curve | None) -> Curve | None:
        """Return the whole curve of an audit that has ended.

        Args:
            earlier: What is known of it already.
        """
        if self._score is None:
            return earlier
        evidence = query_evidence(self._bundle, self._answers, self._score.name)
        return curve_of(self._score, evidence, earlier)

    def final_race(self, options: AuditOptions) -> LineUpRace | None:
        """Return the race of an audit by a line-up that has ended; None for other scores.

        Args:
            options: Of the audit.
        """
        if self._score is None:
            return None
        rule = options.rule(self._bundle.manifest)
        return race_of(self._bundle, self._answers, self._score.name, rule)

    def meters(self, now: float, spent: Spending | None) -> tuple[tuple[str, str], ...]:
        """Return the key figures.

        Args:
            now: `time.monotonic`, seconds.
            spent: What the journal's attempts come to; None for a file.
        """
        end = self._ended or now
        values = [("asked", f"{self.num_answered} of {self.num_questions}")]
        values.append(("for", duration(end - self._began)))
        rate = self._rate(end)
        if rate:
            values.append(("rate", f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"))
        values.append(("retries", str(self._num_retries)))
        if spent is not None and spent.currency:
            values.append(("spent", money(spent.cost, spent.currency)))
        left = self.num_questions - self.num_answered
        if self.phase is Phase.ASKING and left:
            values.append(("left", f"≤ {duration(left / rate)}" if rate else "unknown"))
            if now - self._last_answer > 2:
                values.append(("silent for", duration(now - self._last_answer)))
        if self._check is not None:
            values.append(("controls", f"{self._check.accuracy:.0%} right"))
        return tuple(values)

    def _rate(self, now: float) -> float:
        while self._recent and self._recent[0][0] < now - RATE_WINDOW_S:
            self._recent.popleft()
        if not self._recent:
            return 0.0
        span = max(now - max(self._began, now - RATE_WINDOW_S), 0.05)
        return sum(num for _, num in self._recent) / span

    def banner(self, *, is_pausing: bool, is_waiting: bool, is_stopping: bool) -> BannerData:
        """Return the verdict so far and what can be done."""
        if self.phase is Phase.FAILED:
            kept = f"{self.num_answered} answers are kept: g goes on." if self.has_begun else ""
            return BannerData(
                headline=f"✗ {self.error}",
                rests_on=f"{kept} Escape leaves.".strip(),
            )
        if self.finished is not None:
            return self._final_banner(self.finished)
        doing = self._doing(is_pausing=is_pausing, is_waiting=is_waiting, is_stopping=is_stopping)
        if self._score is None:
            return BannerData(headline=doing, rests_on=self._control_words())
        score = self._score
        return BannerData(
            headline=f"{score.value:+.3f} after {score.num_queries} of {score.num_in_bundle}"
            f" ─ {doing}",
            rests_on=score.reason,
            verdict=score.verdict,
        )

    def _doing(self, *, is_pausing: bool, is_waiting: bool, is_stopping: bool) -> str:
        if self.phase is Phase.STOPPED:
            return "‖ stopped; every answer is kept: g goes on, Escape leaves"
        if is_stopping:
            return "stopping: waiting for answers that are under way"
        if is_waiting:
            return "‖ paused: p goes on"
        if is_pausing:
            return "pausing: waiting for answers that are under way"
        if self.phase is Phase.OPENING:
            return "opening the suspect ..."
        return "asking control images" if self._check is None else "asking"

    def _control_words(self) -> str:
        if self._check is None:
            return "Labelled control images first: does the suspect do the same task at all?"
        return (
            f"Control images: {self._check.accuracy:.0%} right, the source "
            f"{self._check.source_accuracy:.0%}. Now come the queries that decide."
        )

    def _final_banner(self, finished: Finished) -> BannerData:
        outcome = finished.outcome
        if not finished.is_complete:
            return BannerData(
                headline="The budget ended the audit before it could decide: b asks more.",
                rests_on=outcome.text,
                verdict=outcome.verdict,
                is_final=True,
            )
        headline = {
            Verdict.DERIVED: "It behaves like a model derived from the source.",
            Verdict.INDEPENDENT: "It behaves like a model independent of the source.",
            Verdict.INCONCLUSIVE: "The test does not decide.",
            Verdict.NOT_COMPARABLE: "It could not be compared with the source.",
            Verdict.NO_COPY: "No copy; extraction not looked for.",
        }[outcome.verdict]
        return BannerData(
            headline=f"{headline} Enter: why.",
            rests_on=outcome.text,
            verdict=outcome.verdict,
            is_final=True,
        )


def mark_of(bundle: BundleContents, question: str, label: int) -> Mark:
    """Return the sign of an answer."""
    if label < 0:
        return Mark.REFUSED
    is_same = label == source_label(bundle, question)
    asked = QuestionId.parse(question)
    if asked.is_again:
        return Mark.SAME if is_same else Mark.OTHER
    if asked.kind == "control":
        return Mark.RIGHT if is_same else Mark.WRONG
    if asked.kind == "query":
        return Mark.MATCH if is_same else Mark.MISMATCH
    return Mark.SAME if is_same else Mark.OTHER
