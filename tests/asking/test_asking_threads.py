"""Lanes ask side by side, keep in turns, and end when somebody leaves or something fails."""

import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from audit.asking.asking_threads import Lanes
from audit.journal.turn_lock import Turn


class Desk:
    """Hands out numbers and notes what is kept; the test says how asking goes."""

    def __init__(self, num_tasks: int, ask: Callable[[int], int] = lambda task: task) -> None:
        self.turn, self.count = Turn(), threading.Lock()
        self.waiting = list(range(num_tasks))
        self.taken: list[int] = []
        self.kept: list[int] = []
        self.asking = self.most_asking = 0
        self.num_abandoned = 0
        self.window = num_tasks
        self._ask = ask

    def may_take(self) -> bool:
        """Let nobody run more than `window` tasks ahead of the first that is not kept."""
        first = next(task for task in range(len(self.kept) + 1) if task not in self.kept)
        return not self.waiting or self.waiting[0] < first + self.window

    def take(self) -> int | None:
        if not self.waiting:
            return None
        self.taken.append(self.waiting.pop(0))
        return self.taken[-1]

    def ask(self, task: int) -> int:
        with self.count:
            self.asking += 1
            self.most_asking = max(self.most_asking, self.asking)
        try:
            with self.turn.aside():
                return self._ask(task)
        finally:
            with self.count:
                self.asking -= 1

    def keep(self, task: int, reply: int) -> int:
        self.kept.append(task)
        return reply

    def abandon(self) -> None:
        self.num_abandoned += 1

    def lanes(self, num_lanes: int) -> Lanes[int, int, int]:
        return Lanes(
            self.turn,
            may_take=self.may_take,
            take=self.take,
            ask=self.ask,
            keep=self.keep,
            abandon=self.abandon,
            num_lanes=num_lanes,
        )


def slowly(task: int) -> int:
    time.sleep(0.001 * (1 + task % 3))
    return task


def test_every_task_is_kept_once_and_heard_in_the_order_of_keeping() -> None:
    desk = Desk(200, slowly)
    heard = [reply for replies in desk.lanes(4).run() for reply in replies]
    assert sorted(heard) == list(range(200))
    assert heard == desk.kept
    assert desk.num_abandoned == 0


def test_all_lanes_ask_at_once_and_no_more() -> None:
    all_ask = threading.Barrier(3, timeout=100)

    def ask(task: int) -> int:
        all_ask.wait()
        return task

    desk = Desk(9, ask)
    assert sum(len(replies) for replies in desk.lanes(3).run()) == 9
    assert desk.most_asking == 3


def test_a_lane_that_fails_ends_the_others_after_what_they_are_asking() -> None:
    others_ask = threading.Barrier(3, timeout=100)
    failed = threading.Event()

    def ask(task: int) -> int:
        if task < 3:
            others_ask.wait()
        if task == 1:
            failed.set()
            raise ConnectionError("gone")
        failed.wait()
        time.sleep(0.05)
        return task

    desk = Desk(100, ask)
    with pytest.raises(ConnectionError, match="gone"):
        list(desk.lanes(3).run())
    assert sorted(desk.kept) == [0, 2]
    assert desk.taken == [0, 1, 2]
    assert desk.num_abandoned == 1


def test_who_stops_listening_ends_asking() -> None:
    desk = Desk(10_000, slowly)
    with closing(desk.lanes(4).run()) as replies:
        next(replies)
    assert desk.num_abandoned == 1
    assert sorted(desk.kept) == sorted(desk.taken)
    assert len(desk.kept) < 100
    assert desk.asking == 0


def test_who_listens_slowly_is_waited_for() -> None:
    desk = Desk(10_000)
    with closing(desk.lanes(2).run()) as replies:
        heard = len(next(replies))
        time.sleep(0.2)
        assert len(desk.taken) <= heard + 2 * (1 + 2)


def test_nobody_runs_ahead_of_a_late_answer_by_more_than_is_allowed() -> None:
    late = threading.Event()

    def ask(task: int) -> int:
        if task == 5:
            late.wait()
        return task

    desk = Desk(30, ask)
    desk.window = 4
    replies = desk.lanes(4).run()
    heard = 0
    while heard < 8:
        heard += len(next(replies))
    time.sleep(0.05)
    assert desk.taken == list(range(9))
    late.set()
    assert heard + sum(map(len, replies)) == 30


def test_nothing_is_taken_while_another_works() -> None:
    desk = Desk(50)
    replies = desk.lanes(4).run()
    thread = threading.Thread(target=lambda: list(replies))
    with desk.turn:
        thread.start()
        time.sleep(0.1)
        assert not desk.taken
    thread.join()
    assert len(desk.kept) == 50
