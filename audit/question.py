"""What a question is called: the same in every audit of a bundle, in journals and in records."""

from dataclasses import dataclass, replace

AGAIN = "again/"
"""Begins the ids of questions that are asked a second time."""


@dataclass(frozen=True, slots=True)
class QuestionId:
    """One image of a bundle, as it is asked: ``control/3``, ``again/query/7``, ``probe/2/17``."""

    kind: str
    """``control``, ``query``, ``trigger`` or ``probe``."""
    index: int
    """Of the image among the bundle's of that kind; of the trigger for a probe."""
    probe: int | None = None
    """Number of the probe around that trigger."""
    is_again: bool = False
    """Whether it is asked a second time."""

    def __str__(self) -> str:
        probe = "" if self.probe is None else f"/{self.probe}"
        return f"{AGAIN if self.is_again else ''}{self.kind}/{self.index}{probe}"

    @classmethod
    def parse(cls, text: str) -> "QuestionId":
        """Read an id.

        Raises:
            ValueError: It is none.

        Example:
            >>> QuestionId.parse("again/query/7")
            QuestionId(kind='query', index=7, probe=None, is_again=True)
        """
        kind, *numbers = text.removeprefix(AGAIN).split("/")
        if not kind or not 1 <= len(numbers) <= 2 or not all(n.isdecimal() for n in numbers):
            raise ValueError(f"question: expected an id such as query/7, got {text!r}")
        index, *probes = map(int, numbers)
        return cls(kind, index, probes[0] if probes else None, text.startswith(AGAIN))

    @property
    def first(self) -> "QuestionId":
        """The question that this one repeats; itself where it is asked for the first time."""
        return replace(self, is_again=False) if self.is_again else self
