"""What a decoded answer means in the bundle's classes, and which words could not be understood.

Words that are no class count as a refusal, and are kept for people. Where the first words of an
endpoint are never any, they are read in the wrong way, which is an error.
"""

import dataclasses
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from adapters.class_map import ClassMap, UnknownLabelError
from adapters.class_words import Doubt, Reading
from adapters.endpoint.wire_format import Label, Scores, WireAnswer
from adapters.printable import printable, shortened
from adapters.suspect import REFUSED, Predictions

MAX_LOST = 8
"""Answers that are all not understood, before any was, that end an audit."""
MAX_EXAMPLES = 3
MAX_EXAMPLE_CHARACTERS = 160


@dataclass(frozen=True, kw_only=True)
class UnclearAnswers:
    """Answers that were not understood for one reason."""

    doubt: Doubt
    num: int
    examples: tuple[str, ...]
    """The first different ones, shortened, nothing secret or unprintable in them."""


class AnswerReader:
    """Reads the answers of one endpoint, for several threads; remembers what was not understood.

    Args:
        mask: Puts something else in the place of secrets.
    """

    def __init__(self, mask: Callable[[str], str]) -> None:
        self._mask = mask
        self._no_classes: set[Label] = set()
        self._lock = threading.Lock()
        self._counts: dict[Doubt, int] = {}
        self._examples: dict[Doubt, dict[str, None]] = {}
        self._has_understood = False

    @property
    def unclear(self) -> tuple[UnclearAnswers, ...]:
        """Return what was not understood so far, by reason."""
        with self._lock:
            return tuple(
                UnclearAnswers(doubt=doubt, num=num, examples=tuple(self._examples[doubt]))
                for doubt, num in self._counts.items()
            )

    def take_for_refusal(self, label: Label) -> None:
        """Take a label that is none of the classes for a refusal from now on."""
        self._no_classes.add(label)

    def predictions(
        self,
        answer: WireAnswer,
        classes: ClassMap,
        metadata: dict[str, str],
        *,
        has_understood: bool,
    ) -> Predictions:
        """Say which classes an answer names, and what it tells of the others.

        Args:
            answer: Decoded.
            classes: The bundle's class of each label.
            metadata: What the server said about itself, to be shown.
            has_understood: Whether an answer named a class before.

        Raises:
            UnknownLabelError: A label is not in the map, or none of the first words is a class.
            SuspectError: Scores are not what the endpoint file says.
        """
        if classes.words is not None:
            answer = self._noted(answer, classes, has_understood=has_understood)
        classes.require_apart(answer.repeated, answer.listed, answer.num_listed)
        labels = [self._class_of(label, classes) for label in answer.labels]
        log_probabilities = None
        # What merged classes have between them, or absent ones would have had, the calibration
        # models' answers do not tell.
        if answer.scores is not None and not (classes.merged or classes.absent):
            kind = answer.scores_kind
            rows = [
                classes.told_log_probabilities(scores)
                if kind == "top_k"
                else classes.log_probabilities(scores, kind)
                for scores in answer.scores
            ]
            log_probabilities = np.stack(rows)  # N times [K] -> [N, K]
        return Predictions(
            labels=np.array(labels, dtype=np.int64),
            log_probabilities=log_probabilities,
            metadata=metadata,
        )

    def _class_of(self, label: Label, classes: ClassMap) -> int:
        return REFUSED if label in self._no_classes else classes.class_of(label)

    def _noted(self, answer: WireAnswer, classes: ClassMap, *, has_understood: bool) -> WireAnswer:
        """Return an answer in the map's labels; what is none is noted and becomes a refusal."""
        readings = [_read(label, classes) for label in answer.labels]
        with self._lock:
            self._has_understood |= has_understood
            self._has_understood |= any(each.doubt in (None, Doubt.DECLINED) for each in readings)
            for label, reading in zip(answer.labels, readings, strict=True):
                if reading.doubt is not None:
                    self._note(str(label), reading.doubt)
            num_lost = 0 if self._has_understood else sum(self._counts.values())
        if num_lost >= MAX_LOST:
            last = self.unclear[-1]
            raise UnknownLabelError(
                f"answer: expected words that name one class, got {num_lost} answers of which none "
                f"does ({last.num} {last.doubt}, such as {last.examples[-1]!r}); correct "
                "answer.label, answer.pattern or answer.find, or write other names under "
                "[answer.aliases]"
            )
        return _with_labels(answer, tuple(reading.label for reading in readings), classes)

    def _note(self, text: str, doubt: Doubt) -> None:
        self._counts[doubt] = self._counts.get(doubt, 0) + 1
        examples = self._examples.setdefault(doubt, {})
        if len(examples) < MAX_EXAMPLES:
            told = printable(" ".join(self._mask(text).split()))
            examples[shortened(told, MAX_EXAMPLE_CHARACTERS)] = None


def in_labels(answer: WireAnswer, classes: ClassMap) -> WireAnswer:
    """Return an answer whose words are the map's labels; those that are none become refusals."""
    if classes.words is None:
        return answer
    labels = tuple(_read(label, classes).label for label in answer.labels)
    return _with_labels(answer, labels, classes)


def _read(label: Label, classes: ClassMap) -> Reading:
    if classes.words is None or not isinstance(label, str):
        return Reading(label)
    return classes.words.read(label)


def _with_labels(answer: WireAnswer, labels: tuple[Label, ...], classes: ClassMap) -> WireAnswer:
    scores = answer.scores
    if scores is not None:
        scores = tuple(_in_labels(each, classes) for each in scores)
    return dataclasses.replace(answer, labels=labels, scores=scores)


def _in_labels(scores: Scores, classes: ClassMap) -> Scores:
    """Return scores by the map's labels; of several names of one label the sum."""
    if not isinstance(scores, Mapping) or classes.words is None:
        return scores
    told: dict[str | int, float] = {}
    for name, score in scores.items():
        label = classes.words.label_of(name) if isinstance(name, str) else name
        key = name if label is None else label
        told[key] = told[key] + score if key in told else score
    return told
