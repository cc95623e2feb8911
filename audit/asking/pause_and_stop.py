"""Pausing and stopping an audit from another thread: a screen's, or a signal handler's.

Nothing under way is broken off: its answers still reach the journal, so that a stopped audit can be
resumed and asks nothing twice.
"""

import threading


class AuditControl:
    """A handle that the asking side looks at before each batch."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._is_paused = self._is_stopped = self._is_waiting = False

    @property
    def is_paused(self) -> bool:
        """Whether somebody asked for a pause."""
        return self._is_paused

    @property
    def is_stopped(self) -> bool:
        """Whether somebody asked for the end."""
        return self._is_stopped

    @property
    def is_waiting(self) -> bool:
        """Whether the audit really rests: paused, and no question is under way."""
        return self._is_waiting

    @property
    def may_ask(self) -> bool:
        """Whether another batch may leave now."""
        return not (self._is_paused or self._is_stopped)

    def pause(self) -> None:
        """Let no further batch leave until `resume`."""
        with self._condition:
            self._is_paused = True

    def resume(self) -> None:
        """Go on after a pause."""
        with self._condition:
            self._is_paused = False
            self._condition.notify_all()

    def stop(self) -> None:
        """End the audit before the next batch, also out of a pause."""
        with self._condition:
            self._is_stopped = True
            self._condition.notify_all()

    def wait(self) -> None:
        """Return when another batch may leave, or the audit is to end."""
        with self._condition:
            self._is_waiting = True
            self._condition.wait_for(lambda: self._is_stopped or not self._is_paused)
            self._is_waiting = False
