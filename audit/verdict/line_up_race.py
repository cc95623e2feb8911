"""A suspect's race in a line-up: its answers so far, who leads, and when asking ends.

Who leads and when is the same whoever of the members is the source: nothing here asks for that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.line_up import LineUp
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.scores.line_up import Race, ToldAnswers, race

LINE_UP = "line-up"
"""The score's name, and the kind of its questions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LineUpRace:
    """A suspect's race as it is judged and drawn."""

    told: ToldAnswers
    race: Race
    """``[T, n]``"""
    source: int
    """The source's place among the members."""
    lead_bound: float
    """Nats by which a member must lead."""
    led_after: int | None
    """Questions after which somebody led; None where nobody did, or nothing stops early."""

    @property
    def num_questions(self) -> int:
        """Return how many questions count, n."""
        return int(self.race.running.shape[-1])

    @property
    def scores(self) -> NDArray[np.int64]:
        """Return the members' scores after the last question, ``[T]``."""
        running = self.race.running
        if not self.num_questions:
            return np.zeros(running.shape[:-1], dtype=np.int64)
        return np.asarray(running[..., -1])

    @property
    def final_leads(self) -> tuple[float, ...]:
        """Return the members' scores less their mean after the last question, nats."""
        if not self.num_questions:
            return (0.0,) * len(self.scores)
        return tuple(self.race.leads[:, -1].tolist())


def follow_race(
    bundle: BundleContents, answers: Mapping[str, Answer], *, stops_early: bool
) -> LineUpRace:
    """Return the race of the answers so far, up to where it was decided.

    Args:
        bundle: With a line-up.
        answers: By question id.
        stops_early: Whether the race ends when somebody leads by the bound.

    Raises:
        AuditError: The bundle has no line-up.
    """
    line_up = line_up_of(bundle)
    told = told_answers(line_up, answers, in_order=stops_early)
    running = race(line_up, told)
    stop = int(running.first_lead(line_up.record.lead_bound)) if stops_early else 0
    if stop:
        told = _first(told, stop)
        running = Race(running=running.running[..., :stop], nats_per_step=running.nats_per_step)
    return LineUpRace(
        told=told,
        race=running,
        source=line_up.record.source,
        lead_bound=line_up.record.lead_bound,
        led_after=stop or None,
    )


def line_up_of(bundle: BundleContents) -> LineUp:
    """Return the bundle's line-up.

    Raises:
        AuditError: It has none.
    """
    if bundle.line_up is None:
        raise AuditError("score: line-up needs source and siblings, but this bundle has no line-up")
    return bundle.line_up


def told_answers(
    line_up: LineUp, answers: Mapping[str, Answer], *, first: int = 0, in_order: bool = False
) -> ToldAnswers:
    """Return what a suspect told of a line-up's questions.

    Args:
        line_up: Whose questions.
        answers: By question id.
        first: Number of the first question that is looked at.
        in_order: Take them up to the first that is missing, whatever came back after it: the same
            answers then end at the same question in whatever order they came.
    """
    num, num_classes = line_up.arrays.member_codes.shape[1:]
    questions: list[int] = []
    there: list[Answer] = []
    for index in range(first, num):
        answer = answers.get(f"{LINE_UP}/{index}")
        if answer is not None:
            questions.append(index)
            there.append(answer)
        elif in_order:
            break
    nothing = np.full(num_classes, np.nan)
    rows = np.array(
        [
            nothing
            if one.log_probabilities is None or one.label == REFUSED
            else one.log_probabilities
            for one in there
        ]
    ).reshape(len(there), num_classes)
    return ToldAnswers(
        questions=np.array(questions, dtype=np.int64),
        labels=np.array([one.label for one in there], dtype=np.int64),
        log_probabilities=None if np.isnan(rows).all() else rows,
    )


class LineUpFollower:
    """Says while answers come whether some member leads (`audit.asking.question_loop`).

    Args:
        bundle: With a line-up.
    """

    kind = LINE_UP

    def __init__(self, bundle: BundleContents) -> None:
        self._line_up = line_up_of(bundle)
        self._scores = np.zeros(len(self._line_up.record.members), dtype=np.int64)
        self._next = 0
        self._is_led = False

    @property
    def num_followed(self) -> int:
        """Return how many answers were taken: the number of the first that is missing."""
        return self._next

    def follow(self, answers: Mapping[str, Answer]) -> bool:
        """Take what is new up to the first unanswered question, and say whether somebody leads."""
        told = told_answers(self._line_up, answers, first=self._next, in_order=True)
        if not self._is_led and len(told.questions):
            new = race(self._line_up, told)
            # What an answer is worth depends on no other answer: the race goes on where it was.
            whole = Race(
                running=new.running + self._scores[:, None], nats_per_step=new.nats_per_step
            )
            stop = int(whole.first_lead(self._line_up.record.lead_bound))
            self._is_led = stop > 0
            self._next += stop or len(told.questions)
            self._scores = whole.running[:, -1]
        return self._is_led


def _first(told: ToldAnswers, num: int) -> ToldAnswers:
    rows = told.log_probabilities
    return ToldAnswers(
        questions=told.questions[:num],
        labels=told.labels[:num],
        log_probabilities=None if rows is None else rows[:num],
    )
