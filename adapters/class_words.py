"""From what a vendor says in words to one of its labels: names, other names, sentences, refusals.

A text that names one class is that class. One that names two, or none, is no class: guessing would
turn into a verdict. Names are looked for as whole words, the longest first, so that a hot dog is no
dog.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from adapters.suspect import SuspectConfigError, SuspectError
from adapters.timed_patterns import TIME_LIMIT_S, PatternTimeoutError, TimedPatterns

Cleaning = Literal["strip", "casefold", "NFC", "NFKC"]
"""What is done to a text, and to the names that it is compared with."""

MAX_CHARACTERS = 1 << 14
"""Of a text; who answers a question for a class with more has not understood it."""
_AROUND = " \t\r\n\v\f\u00a0.,;:!?\"'`*_()[]{}<>\u201c\u201d\u2018\u2019\u00ab\u00bb"
"""Blanks, quotation marks and the like, which ``strip`` takes away at both ends."""
_INDEX = re.compile(r"[0-9]{1,9}$", re.ASCII)


class Doubt(StrEnum):
    """Why a text is no class."""

    AMBIGUOUS = "name several classes"
    UNKNOWN = "name no class"
    UNMATCHED = "do not match answer.pattern"
    DECLINED = "decline to name a class"
    TOO_LONG = f"are longer than {MAX_CHARACTERS} characters"


@dataclass(frozen=True)
class Reading:
    """What a text means."""

    label: str | int | None
    """A label of the class map; None where it is no class."""
    doubt: Doubt | None = None
    """Why it is none; None also where it is empty."""


@dataclass(frozen=True, kw_only=True)
class WordRules:
    """How texts are read, as an endpoint file says."""

    clean: tuple[Cleaning, ...] = ()
    """In this order."""
    is_within: bool = False
    """Whether a name may stand within a longer text."""
    pattern: str | None = None
    """Regular expression whose first group, or all of it, is the text that counts."""
    refusals: tuple[str, ...] = ()
    """Regular expressions of texts that decline."""
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Other names of a class, by the vendor's label or the bundle's name."""
    takes_index: bool = True
    """Whether a text that is a number is the class itself, where integers are."""


class WordReader:
    """Reads texts by rules; used by several threads.

    Args:
        rules: How.
        classes: Class 0..K-1 of each of the vendor's labels.
        names: The bundle's K classes.
        accepts_index: Whether integers are the classes themselves.

    Raises:
        SuspectConfigError: One name would stand for two classes, or an alias for none.
    """

    def __init__(
        self,
        rules: WordRules,
        classes: Mapping[str, int],
        names: Sequence[str],
        *,
        accepts_index: bool,
    ) -> None:
        self._rules, self._accepts_index = rules, accepts_index and rules.takes_index
        self._labels: dict[str, str] = {}
        for label in classes:
            self._add(label, label, classes, "class_names")
        for target, others in rules.aliases.items():
            label = _label_of(target, classes, names)
            for other in others:
                self._add(other, label, classes, f"answer.aliases.{target}")
        longest_first = sorted(self._labels, key=len, reverse=True)
        any_name = "|".join(map(re.escape, longest_first))
        self._names = re.compile(rf"(?<!\w)(?:{any_name})(?!\w)")
        self._classes = classes
        wanted = [*([rules.pattern] if rules.pattern else []), *rules.refusals]
        self._patterns = TimedPatterns(wanted) if wanted else None

    def read(self, text: str) -> Reading:
        """Say which label a text means.

        Raises:
            SuspectError: A regular expression takes too long on it.
        """
        if len(text) > MAX_CHARACTERS:
            return Reading(None, Doubt.TOO_LONG)
        if (known := self.label_of(text)) is not None:
            return Reading(known)
        found = self._found(text)
        if self._rules.pattern is not None:
            part, *refused = found
        else:
            part, refused = text, found
        if any(each is not None for each in refused):
            return Reading(None, Doubt.DECLINED)
        if part is None:
            return Reading(None, Doubt.UNMATCHED)
        if (known := self.label_of(part)) is not None:
            return Reading(known)
        cleaned = self._cleaned(part)
        if not cleaned:
            return Reading(None)
        if not self._rules.is_within:
            return Reading(None, Doubt.UNKNOWN)
        named = {self._labels[each[0]] for each in self._names.finditer(cleaned)}
        # Several names of one class say the same.
        if len({self._classes[label] for label in named}) > 1:
            return Reading(None, Doubt.AMBIGUOUS)
        return Reading(min(named)) if named else Reading(None, Doubt.UNKNOWN)

    def label_of(self, name: str) -> str | int | None:
        """Return the label that a text is a name of, or the index that it is."""
        cleaned = self._cleaned(name)
        if cleaned in self._labels:
            return self._labels[cleaned]
        return int(cleaned) if self._accepts_index and _INDEX.match(cleaned) else None

    def close(self) -> None:
        """End what searches for regular expressions."""
        if self._patterns is not None:
            self._patterns.close()

    def _found(self, text: str) -> list[str | None]:
        if self._patterns is None:
            return []
        try:
            return self._patterns.search(text)
        except PatternTimeoutError:
            raise SuspectError(
                f"answer.pattern: expected the regular expressions to be through with a text of "
                f"{len(text)} characters within {TIME_LIMIT_S:g} s, got no end; write pattern and "
                "refusals without a repetition inside of another one"
            ) from None

    def _cleaned(self, text: str) -> str:
        for step in self._rules.clean:
            text = _cleaned_by(step, text)
        return text

    def _add(self, name: str, label: str, classes: Mapping[str, int], field_name: str) -> None:
        cleaned = self._cleaned(name)
        if not cleaned:
            raise SuspectConfigError(
                f"{field_name}: expected a name with letters in it, got {name!r}"
            )
        other = self._labels.setdefault(cleaned, label)
        if classes[other] != classes[label]:
            raise SuspectConfigError(
                f"{field_name}: expected each name to stand for one class, got {name!r} for "
                f"{other!r} and for {label!r}; take one of them out"
            )


def _label_of(target: str, classes: Mapping[str, int], names: Sequence[str]) -> str:
    if target in classes:
        return target
    if target in names:
        index = list(names).index(target)
        return next(label for label, each in classes.items() if each == index)
    raise SuspectConfigError(
        f"answer.aliases: expected names of the classes {_some(classes)}, got {target!r}"
    )


def _cleaned_by(step: Cleaning, text: str) -> str:
    match step:
        case "strip":
            # Runs of blanks and line breaks are one blank, since sentences break anywhere.
            return " ".join(text.split()).strip(_AROUND)
        case "casefold":
            return text.casefold()
        case _:
            return unicodedata.normalize(step, text)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:10])
    return shown if len(listed) <= 10 else f"{shown}, ... ({len(listed)} in all)"
