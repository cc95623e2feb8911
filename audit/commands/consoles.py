"""Consoles for tables and bars: rich's, with texts that cannot drive a terminal.

rich writes colours and moves the cursor, so that what it has put together may not go through the
gate (`audit.commands.output_gate`); each text that it is given does.
"""

import os
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import TextColumn
from rich.segment import Segment
from rich.text import Text

from adapters.printable import printable
from audit.commands.output_gate import ALLOWED, behind_the_gate

_WIDTH = 140
"""Columns of a file or a pipe, unless ``COLUMNS`` says otherwise."""


class PrintableConsole(Console):
    """A console on standard output or error."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        """Open it.

        Args:
            stderr: Standard error instead of standard output.
            options: rich's.
        """
        file = behind_the_gate(sys.stderr if stderr else sys.stdout)
        super().__init__(file=file, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Return the pieces of something to be shown, all texts in them printable."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text, allowed=ALLOWED), style, control)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text that is measured as it will be shown."""
        return super().render_str(printable(text, allowed=ALLOWED), **options)


def result_console() -> Console:
    """Return a console on standard output that cuts nothing off in a pipe."""
    console = PrintableConsole(soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        return PrintableConsole(width=_WIDTH)
    return console


def name_column() -> TextColumn:
    """Return the column with a bar's name, in which brackets are brackets and no style."""
    return TextColumn("{task.description}", markup=False)
