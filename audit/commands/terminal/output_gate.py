"""The last gate on the way to a terminal: whoever writes, nothing gets through that could drive it.

While a command runs, standard output and error are `PrintableStream`; so are they for warnings, log
lines and tracebacks of other libraries. Colours and bars go past it, by the consoles beside this
file, which look at their texts themselves.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from adapters.printable import printable

ALLOWED = "\n\xa0"
"""Besides what is printable: the line feed, and the no-break space of our own sentences."""


class PrintableStream:
    """A text stream that writes question marks in the place of what could drive a terminal.

    It has no ``buffer``: bytes would go past it.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        """Where the text goes."""

    def write(self, text: str | bytes) -> int:
        """Write what may be seen; a character that the stream has no bytes for is none of it.

        Bytes, as click writes what a shell is to complete, go the same way.
        """
        told = text if isinstance(text, str) else text.decode("utf-8", "replace")
        shown = printable(told, allowed=ALLOWED)
        encoding = self.stream.encoding or "utf-8"
        self.stream.write(shown.encode(encoding, "replace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self.stream, name)


@contextmanager
def printable_output() -> Iterator[None]:
    """Put the gate before standard output and error."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(before_the_gate, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def before_the_gate(stream: TextIO) -> TextIO:
    """Return what puts the gate before a stream, unless it is there."""
    gate = stream if isinstance(stream, PrintableStream) else PrintableStream(stream)
    return cast(TextIO, gate)


def behind_the_gate(stream: TextIO) -> TextIO:
    """Return where a stream's text goes, for whoever makes sure that it may."""
    return stream.stream if isinstance(stream, PrintableStream) else stream
