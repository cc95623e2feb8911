"""How far a sweep is, on standard error: a bar with the time left, or now and then a line."""

import sys
import time

import click
from rich.progress import (
    MofNCompleteColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from audit.commands.terminal.consoles import Bars, WithBars
from audit.sweep.run import Listed, Noted, PairDone, Progressed, SweepEvent

LINE_EVERY_S = 30.0
"""Time between two lines where standard error is no terminal, seconds."""


class SweepProgress(WithBars):
    """Follows the events of a sweep.

    Args:
        is_shown: False keeps silent, but for what people must hear about.
    """

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._bars = Bars(
            MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), is_shown=is_shown
        )
        self._is_terminal = self._bars.console.is_terminal
        self._task = self._bars.add_task("listing", total=None)
        self._num_derived = self._num_failed = 0
        self._started = self._last_line = time.monotonic()
        self._first_done: int | None = None

    def show(self, event: SweepEvent) -> None:
        """Show one event."""
        match event:
            case Listed(num_names=num, is_complete=is_complete):
                self._bars.update(self._task, description=f"{num} found")
                if is_complete:
                    self._bars.reset(self._task, total=num, description="suspects")
                    self._started = time.monotonic()
            case PairDone(row=row):
                self._num_derived += row.verdict == "derived"
                self._num_failed += row.status in ("failed", "broken off")
            case Progressed(num_done=done, num_names=num):
                self._bars.update(self._task, completed=done, description=self._told())
                self._line(done, num)
            case Noted(text=text):
                self._say(text)
            case _:
                pass

    def _say(self, text: str) -> None:
        if self._is_terminal:  # above the bar, which is drawn again below
            console = self._bars.console
            console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
        else:
            click.echo(text, err=True)

    def _told(self) -> str:
        told = f"suspects ({self._num_derived} derived"
        return told + (f", {self._num_failed} failed)" if self._num_failed else ")")

    def _line(self, done: int, num: int) -> None:
        if self._is_terminal or not self._is_shown:
            return
        now = time.monotonic()
        if self._first_done is None:
            self._first_done = done
        if now - self._last_line < LINE_EVERY_S or done == self._first_done:
            return
        self._last_line = now
        left_s = (now - self._started) / (done - self._first_done) * (num - done)
        print(f"{self._told()}: {done} of {num}, {_duration(left_s)} left", file=sys.stderr)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
