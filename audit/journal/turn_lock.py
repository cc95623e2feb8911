"""Turns of threads that work on one thing, and step aside while they wait for something else.

Threads that compete for the interpreter, statement by statement, slow one another down. Whoever
has the turn works alone; nobody waits for a network with it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType


class Turn:
    """A lock that its holder may take again, let go of for a while, and wait with for a change.

    Args:
        before_end: Called whenever the turn is about to end, by whoever has it; may raise.
    """

    def __init__(self, before_end: Callable[[], None] = lambda: None) -> None:
        self._before_end = before_end
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._owner: int | None = None
        self._depth = 0
        """How often its owner holds it."""

    @property
    def is_mine(self) -> bool:
        """Return whether this thread has it."""
        # Read without the lock: nobody but this thread ever writes its id there, so that the answer
        # holds for whoever asks.
        return self._owner == threading.get_ident()

    def __enter__(self) -> None:
        """Wait for the turn."""
        self._lock.acquire()
        self._depth += 1
        self._owner = threading.get_ident()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of it, where it is not held outside, too."""
        try:
            # It may fail, for want of disk; the turn ends all the same, or everybody would wait for
            # ever.
            if self._depth == 1:
                self._before_end()
        finally:
            self._depth -= 1
            if not self._depth:
                self._owner = None
            self._lock.release()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let others have the turn inside the block; nothing happens where it is not held."""
        if not self.is_mine:
            yield
            return
        # Before others come in and before what is waited for begins: a request that leaves now must
        # find its row written (ADR 10).
        self._before_end()
        depth = self._let_go()
        for _ in range(depth):
            # An RLock is free for others only when it was released as often as it was taken.
            self._lock.release()
        try:
            yield
        finally:
            for _ in range(depth):
                self._lock.acquire()
            self._take_back(depth)

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Let others have the turn, which is held, until something is so.

        Args:
            is_so: Asked now and after each `notify`.
        """
        # Whoever wakes up looks again: the change may have been another one, or somebody was
        # faster.
        while not is_so():
            self._before_end()
            depth = self._let_go()
            # Lets go of the lock, however often it is held, and takes it back as it was.
            self._changed.wait()
            self._take_back(depth)

    def notify(self) -> None:
        """Let all that wait, `wait_for`, look again; the turn is held."""
        self._changed.notify_all()

    def _let_go(self) -> int:
        depth, self._depth, self._owner = self._depth, 0, None
        return depth

    def _take_back(self, depth: int) -> None:
        self._depth, self._owner = depth, threading.get_ident()
