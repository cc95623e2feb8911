"""Progress of crafting on standard error: bars on a terminal, one line a stage elsewhere."""

import sys
import time
from types import TracebackType

from rich.progress import (
    TaskID,
    TaskProgressColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from audit.commands.terminal.consoles import Bars


class StageProgress:
    """Shows one bar a stage.

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

    def __enter__(self) -> "StageProgress":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def show(self, stage: str, done: int, total: int) -> None:
        """Show that a stage is ``done`` out of ``total``."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
            self._started[stage] = time.monotonic()
        self._bars.update(self._tasks[stage], completed=done, total=total)
        if done >= total and self._is_shown and not self._bars.console.is_terminal:
            seconds = time.monotonic() - self._started[stage]
            print(f"{stage}: {seconds:.1f} s", file=sys.stderr, flush=True)

    def tell(self, text: str) -> None:
        """Say something between the bars."""
        if self._is_shown:
            self._bars.console.print(text, highlight=False, markup=False)
