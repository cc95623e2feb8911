"""Threads that ask, keep the answer and ask again, while somebody listens to what was kept.

A lane carries an answer all the way: one thread wakes for it, and the next question leaves as soon
as the answer that made room for it is kept. All that is one turn (`audit.journal.turn_lock`); a
lane steps aside only while it waits, so that lanes wait side by side and otherwise leave one
another in peace.

Who listens wakes up forty times a second at most: waking up for each answer takes time from the
answers. Nobody is asked for an audience that has left: few kept answers wait to be heard, and a
lane that fails ends the others after what they are asking just then.
"""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

from audit.journal.turn_lock import Turn

_MAX_UNHEARD = 2
"""Kept answers that may wait to be heard, for each lane."""
_LISTENING_S = 0.025
"""How long the first of them waits for others."""

Task = TypeVar("Task")
Reply = TypeVar("Reply")
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class _Ended:
    """A lane has ended, perhaps with an error."""

    error: BaseException | None


class Lanes(Generic[Task, Reply, Kept]):
    """One go over the tasks that there are.

    Args:
        turn: Held by a lane, but where `ask` steps aside to wait.
        may_take: Whether the next task may be taken before another answer is kept. It may be where
            no task is asked.
        take: Returns the next task, None when there is none.
        ask: Waits for the reply to a task.
        keep: Puts the reply away and returns what is worth hearing.
        abandon: Ends all waiting in `ask`; called when nobody wants the replies any more.
        num_lanes: Threads.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        may_take: Callable[[], bool],
        take: Callable[[], Task | None],
        ask: Callable[[Task], Reply],
        keep: Callable[[Task, Reply], Kept],
        abandon: Callable[[], None],
        num_lanes: int,
    ) -> None:
        self._turn = turn
        self._may_take, self._take = may_take, take
        self._ask, self._keep, self._abandon = ask, keep, abandon
        self._num_lanes = num_lanes
        self._told: SimpleQueue[Kept | _Ended] = SimpleQueue()
        self._room = threading.Semaphore((1 + _MAX_UNHEARD) * num_lanes)
        self._is_over, self._hurry = False, threading.Event()

    def run(self) -> Generator[list[Kept], None, None]:
        """Yield what was kept, in the order in which it was; close this to end.

        Raises:
            BaseException: What a lane raised first; what the others were asking is kept by then.
        """
        with ThreadPoolExecutor(self._num_lanes, thread_name_prefix="suspect") as pool:
            try:
                for _ in range(self._num_lanes):
                    pool.submit(self._lane)
                num_working = self._num_lanes
                while num_working:
                    told = [self._told.get()]
                    self._hurry.wait(_LISTENING_S)
                    self._hurry.clear()
                    while not self._told.empty():
                        told.append(self._told.get())
                    ends = [one for one in told if isinstance(one, _Ended)]
                    if kept := [one for one in told if not isinstance(one, _Ended)]:
                        yield kept
                        self._room.release(len(kept))
                    for error in (end.error for end in ends if end.error is not None):
                        raise error
                    num_working -= len(ends)
            except BaseException:
                self._end()
                self._abandon()
                raise

    def _lane(self) -> None:
        try:
            with self._turn:
                while (task := self._next()) is not None:
                    reply = self._ask(task)
                    self._told.put(self._keep(task, reply))
                    self._turn.notify()
        except BaseException as error:
            self._end()
            self._told.put(_Ended(error))
        else:
            self._told.put(_Ended(None))
        self._hurry.set()

    def _next(self) -> Task | None:
        if not self._room.acquire(blocking=False):
            self._hurry.set()
            with self._turn.aside():
                self._room.acquire()
        self._turn.wait_for(lambda: self._is_over or self._may_take())
        return None if self._is_over else self._take()

    def _end(self) -> None:
        with self._turn:
            self._is_over = True
            self._turn.notify()
        self._room.release(self._num_lanes)
