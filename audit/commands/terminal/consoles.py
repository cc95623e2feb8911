"""Consoles for tables and bars: rich's, with texts that cannot drive a terminal.

rich writes colours and moves the cursor, so that what it has put together may not go through the
gate (`audit.commands.terminal.output_gate`); each text that it is given does.
"""

import os
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.file_proxy import FileProxy
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.segment import Segment
from rich.text import Text

from adapters.printable import printable
from audit.commands.terminal.output_gate import ALLOWED, before_the_gate, behind_the_gate

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
        """Return the pieces of something to be shown: all texts printable, and nowhere a link."""
        for text, style, control in super().render(renderable, options):
            if style is not None and style.link:  # markup of somebody else: we have none
                style = style.update_link(None)
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


class WithBars:
    """Shows its bars within a ``with`` block."""

    _bars: "Bars"

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()


class Bars(Progress):
    """rich's bars on standard error; nothing at all where that is no terminal.

    While they are drawn, what others write appears above them.
    """

    def __init__(
        self, *columns: ProgressColumn, is_shown: bool, width: int = 0, transient: bool = True
    ) -> None:
        """Prepare them.

        Args:
            columns: What stands right of a bar.
            is_shown: False keeps silent.
            width: Least number of characters of their names.
            transient: Leave nothing behind.
        """
        console = PrintableConsole(stderr=True)
        # A name is from outside: brackets in it are brackets, and no style or link.
        name = TextColumn(f"{{task.description:<{width}}}", markup=False)
        super().__init__(
            name,
            BarColumn(),
            *columns,
            console=console,
            transient=transient,
            redirect_stdout=sys.stdout.isatty(),  # a pipe gets what is meant for it
            disable=not (is_shown and console.is_terminal),
        )

    def start(self) -> None:
        """Draw them from now on."""
        super().start()
        # rich reads colours and links in what others write to its proxies, so the gate is first;
        # it takes both away when it ends.
        if isinstance(sys.stdout, FileProxy):
            sys.stdout = before_the_gate(cast(TextIO, sys.stdout))
        if isinstance(sys.stderr, FileProxy):
            sys.stderr = before_the_gate(cast(TextIO, sys.stderr))
