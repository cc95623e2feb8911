"""The part of a table ``[answer]`` that says how labels that come as words are read."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from adapters.class_words import Cleaning, WordRules
from adapters.strict_model import FrozenModel
from adapters.timed_patterns import checked_pattern

ALL_STEPS: tuple[Cleaning, ...] = ("NFKC", "casefold", "strip")

DECLINES = (
    r"\b(?:not|cannot|unable|sorry|neither|none|unknown|unclear)\b",
    r"n['\N{RIGHT SINGLE QUOTATION MARK}]t\b",
)
"""What a sentence says that names no class, or names one to rule it out; a name alone is never held
against these."""

_Text = Annotated[str, Field(min_length=1)]


def _is_absent(value: Any) -> bool:
    """Files that say nothing of words are the ones they were before there were such fields."""
    return value is None or value == () or value == {}


class WordsTable(FrozenModel):
    """How words become labels; all of it absent where labels are used as they come."""

    clean: tuple[Cleaning, ...] | None = Field(default=None, strict=False, exclude_if=_is_absent)
    """What is done to a text and to all names before they are compared, in this order: ``NFC`` or
    ``NFKC`` (Unicode's normal forms), ``casefold``, ``strip`` (blanks, quotation marks and full
    stops around it). Absent: NFKC, casefold and strip, where anything else of this is used."""
    find: Literal["whole", "within"] | None = Field(default=None, exclude_if=_is_absent)
    """``whole``: the text is a name; ``within``: one stands somewhere in it."""
    pattern: str | None = Field(default=None, exclude_if=_is_absent)
    """Regular expression, whose first group, or all of it, is the text that counts."""
    refusals: tuple[str, ...] | None = Field(default=None, strict=False, exclude_if=_is_absent)
    """Regular expressions; a text in which one is found declines to name a class. Absent:
    `DECLINES` where a name may stand in a sentence."""
    aliases: dict[str, Annotated[tuple[_Text, ...], Field(strict=False)]] = Field(
        default_factory=dict, exclude_if=_is_absent
    )
    """Other names of a class, by the vendor's label or the bundle's name."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        return None if pattern is None else checked_pattern(pattern)

    @field_validator("refusals")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if patterns is None else tuple(map(checked_pattern, patterns))

    def rules(
        self,
        *,
        is_text: bool,
        find: str = "whole",
        takes_index: bool = True,
    ) -> WordRules | None:
        """Return how words are read; None where labels are used as they come.

        Args:
            is_text: Whether labels are words even where the table says nothing.
            find: Where it does not say.
            takes_index: Whether a text that is a number may be the class itself.
        """
        is_used = any(
            value is not None for value in (self.clean, self.find, self.pattern, self.refusals)
        )
        if not (is_text or is_used or self.aliases):
            return None
        is_within = (self.find or find) == "within"
        usual = DECLINES if is_within else ()
        return WordRules(
            clean=ALL_STEPS if self.clean is None else self.clean,
            is_within=is_within,
            pattern=self.pattern,
            refusals=usual if self.refusals is None else self.refusals,
            aliases=self.aliases,
            takes_index=takes_index,
        )
