"""Progress of an audit on a terminal: one bar on standard error, nothing elsewhere."""

import time
from types import TracebackType

from rich.progress import MofNCompleteColumn, TimeElapsedColumn

from audit.asking.events import Answered, AuditEvent, ControlsChecked, Finished, Started
from audit.commands.terminal.consoles import Bars, WithBars


class AuditProgress(WithBars):
    """Follows the events of one audit.

    Args:
        name: What to call the suspect.
        is_shown: False keeps silent; so does a standard error that is no terminal.
    """

    def __init__(self, name: str, *, is_shown: bool = True) -> None:
        self.finished: Finished | None = None
        self.num_resumed = 0
        self.seconds = 0.0
        self._start = time.monotonic()
        self._bars = Bars(MofNCompleteColumn(), TimeElapsedColumn(), is_shown=is_shown)
        self._task = self._bars.add_task(name, total=None)
        self._name = name

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds = time.monotonic() - self._start
        super().__exit__(kind, error, traceback)

    def show(self, event: AuditEvent) -> None:
        """Show one event."""
        match event:
            case Started():
                self.num_resumed = event.num_answered
                self._bars.update(
                    self._task, total=event.num_questions, completed=event.num_answered
                )
            case Answered():
                self._bars.update(self._task, completed=event.num_answered)
            case ControlsChecked():
                told = f"{self._name} (controls {event.check.accuracy:.0%})"
                self._bars.update(self._task, description=told)
            case Finished():
                self.finished = event
