"""Progress of crafting on standard error: bars on a terminal, lines elsewhere."""

import sys
import time

from rich.progress import (
    TaskID,
    TaskProgressColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from audit.commands.terminal.consoles import Bars, WithBars

MINUTE = 60.0
"""Seconds between lines where there is no terminal."""


class StageProgress(WithBars):
    """Shows one bar a stage, or writes lines where there is no terminal.

    Args:
        is_shown: False keeps silent.
    """

    def __init__(self, *, is_shown: bool = True) -> None:
        self._is_shown = is_shown
        self._bars = Bars(
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            is_shown=is_shown,
            width=18,
            transient=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._written = time.monotonic()

    def show(self, stage: str, done: int, total: int) -> None:
        """Show that a stage is ``done`` out of ``total``."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
            self._started[stage] = time.monotonic()
        self._bars.update(self._tasks[stage], completed=done, total=total)
        if self._is_shown and not self._bars.console.is_terminal:
            self._write_line(stage, done, total)

    def _write_line(self, stage: str, done: int, total: int) -> None:
        """Write a line at the end of a stage, and one a minute until then."""
        now = time.monotonic()
        seconds = now - self._started[stage]
        if done >= total:
            print(f"{stage}: {seconds:.1f} s", file=sys.stderr, flush=True)
        elif now - self._written >= MINUTE:
            left = seconds * (total - done) / done if done else 0.0
            about = f", about {left / 60:.1f} min left" if done else ""
            text = f"{stage}: {done / total:.0%} after {seconds / 60:.1f} min{about}"
            print(text, file=sys.stderr, flush=True)
        else:
            return
        self._written = now

    def tell(self, text: str) -> None:
        """Say something between the bars."""
        if self._is_shown:
            self._bars.console.print(text, highlight=False, markup=False, soft_wrap=True)
