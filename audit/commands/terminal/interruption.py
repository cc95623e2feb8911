"""Ctrl-C as a request: it ends a long run between two events, never in the middle of a write."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType


class Interruption:
    """While it is entered, the first Ctrl-C only asks; a second one raises where it falls.

    Args:
        wake: Called when Ctrl-C asks, to wake whoever waits; must be safe in a signal handler.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._asked = threading.Event()
        self._before: Callable[[int, FrameType | None], object] | int | None = None
        self._is_ours = False

    def __enter__(self) -> "Interruption":
        # Only the main thread may say what a signal does; elsewhere everything stays as it is.
        self._is_ours = threading.current_thread() is threading.main_thread()
        if self._is_ours:
            self._before = signal.signal(signal.SIGINT, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_ours:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raise if Ctrl-C has asked.

        Raises:
            KeyboardInterrupt: It has.
        """
        if self._asked.is_set():
            raise KeyboardInterrupt

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until Ctrl-C asks.

        Raises:
            KeyboardInterrupt: It has.
        """
        self._asked.wait(seconds)
        self.check()

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._asked.is_set():
            raise KeyboardInterrupt
        self._asked.set()
        self._wake()
