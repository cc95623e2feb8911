"""What a sweep says and does while its cluster has no workers, by a clock of the test's own."""

from pathlib import Path
from queue import SimpleQueue
from typing import Any

from worlds.sweep_world import HereEngine, World, names

from audit.errors import ClusterLostError
from audit.sweep.engine import Done
from audit.sweep.run import Noted
from audit.sweep.tasks import SuspectTask
from audit.sweep.worker_wait import WorkerWait


def told(wait: WorkerWait, now: float, num_slots: int = 0) -> str | None:
    said = wait.look(num_slots=num_slots, is_needed=True, now=now)
    assert not isinstance(said, ClusterLostError)
    return said


def test_it_is_told_once_that_nobody_is_there() -> None:
    wait = WorkerWait(600.0)
    assert told(wait, 100.0) is None
    assert told(wait, 104.9) is None
    assert told(wait, 105.0) == (
        "cluster: no worker is there; waiting up to 10 minutes for one before the sweep ends"
    )
    assert told(wait, 106.0) is None
    assert told(wait, 699.9) is None


def test_a_restart_is_not_worth_a_word() -> None:
    wait = WorkerWait(600.0)
    assert told(wait, 0.0) is None
    assert told(wait, 4.0) is None
    assert told(wait, 4.5, num_slots=1) is None
    assert told(wait, 6.0) is None  # counts from here


def test_the_end_comes_when_patience_does() -> None:
    wait = WorkerWait(600.0)
    assert told(wait, 100.0) is None
    ended = wait.look(num_slots=0, is_needed=True, now=700.0)
    assert isinstance(ended, ClusterLostError)
    assert str(ended) == (
        "cluster: expected at least one worker, got none for 10 minutes; "
        "what was asked is kept, the same command goes on"
    )


def test_a_worker_that_comes_is_told_and_gives_the_whole_time_again() -> None:
    wait = WorkerWait(600.0)
    assert told(wait, 0.0) is None
    assert told(wait, 599.0) is not None
    assert told(wait, 600.0, num_slots=4) == "cluster: a worker is there, the sweep goes on"
    assert told(wait, 601.0, num_slots=4) is None
    assert told(wait, 700.0) is None
    assert told(wait, 1299.0) is not None


def test_a_cluster_without_work_needs_no_workers() -> None:
    wait = WorkerWait(600.0)
    for now in (0.0, 599.0, 6000.0):
        assert wait.look(num_slots=0, is_needed=False, now=now) is None
    assert told(wait, 6001.0) is None  # the time counts from when there is work
    assert wait.look(num_slots=0, is_needed=False, now=6007.0) is None
    assert told(wait, 6700.0) is None


class _NeverWaits(SimpleQueue[Done]):
    """Results that must not be waited for while there are none."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        assert not (block and self.empty()), "would wait for ever"
        return super().get(block, timeout)


class _Talking(HereEngine):
    """Says two words about a task first, and asks it when somebody has heard both."""

    def submit(self, task: SuspectTask) -> None:
        self.waiting = task
        self._results.put("first word")


def test_a_word_is_told_when_it_is_said_and_not_with_the_next_result(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add("one.onnx")
    with world.sweep() as sweep:
        sweep.results = _NeverWaits()
        engine = _Talking(sweep.parcel, sweep.results)
        for event in sweep.run(world.suspects, engine):
            if isinstance(event, Noted) and event.text == "first word":
                sweep.results.put("second word")
            elif isinstance(event, Noted):
                HereEngine.submit(engine, engine.waiting)
        engine.close()
        assert names(world.rows(sweep), "status") == {"one.onnx": "asked"}
