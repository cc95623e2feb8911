"""The tasks of a sweep on the processes of this machine, by `concurrent.futures`.

One executor of one process per slot: when a process dies, its own task is known to be the one that
it worked on, and the others never notice.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial

from audit.sweep.asking import FileAsker
from audit.sweep.engine import MAX_DEATHS, Results, lost_task
from audit.sweep.tasks import Parcel, SuspectTask, TaskResult

PARENT_CHECK_S = 1.0
TASKS_PER_SLOT = 2
"""One that is asked, and one that waits beside it so that nobody waits for the coordinator."""


@dataclass(eq=False)
class _Slot:
    """One process and the tasks that it has; the first one is the one that it works on."""

    executor: ProcessPoolExecutor
    tasks: deque[SuspectTask] = field(default_factory=deque)


class ProcessEngine:
    """Asks suspects in worker processes; see `audit.sweep.engine.Engine`.

    Args:
        parcel: What every worker needs.
        num_workers: Processes.
        results: Where results go.
    """

    def __init__(self, parcel: Parcel, num_workers: int, results: Results) -> None:
        self._parcel, self._results = parcel, results
        # Taken again within itself: a future that is done calls back in the thread that asks for
        # it.
        self._lock = threading.RLock()
        self._deaths: Counter[str] = Counter()
        self._is_closed = False
        self._slots = [_Slot(self._executor()) for _ in range(num_workers)]

    @property
    def capacity(self) -> int:
        """Return how many tasks keep its processes busy."""
        return TASKS_PER_SLOT * len(self._slots)

    @property
    def process_ids(self) -> list[int]:
        """Return the ids of the processes that have started."""
        return [process for slot in self._slots for process in (slot.executor._processes or {})]

    def submit(self, task: SuspectTask) -> None:
        """Give a task to the process that has the fewest."""
        with self._lock:
            slot = min(self._slots, key=lambda slot: len(slot.tasks))
            self._give(slot, task)

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._is_closed = True
            executors = [slot.executor for slot in self._slots]
        for executor in executors:
            processes = list((executor._processes or {}).values())
            executor.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                # A worker may be in the middle of a suspect that takes minutes, and its answers
                # count nowhere.
                process.terminate()
            for process in processes:
                process.join()
            executor.shutdown(wait=True)

    def _executor(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            1,
            # Never forked: this process has threads that hold locks, and files that have one
            # writer.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_prepare,
            initargs=(self._parcel, os.getpid()),
        )

    def _give(self, slot: _Slot, task: SuspectTask) -> None:
        slot.tasks.append(task)
        executor = slot.executor
        try:
            future = executor.submit(_ask, task)
        except BrokenProcessPool:  # it died a moment ago, and its callback has not come yet
            slot.tasks.remove(task)
            self._replace(slot, executor)
            self._give(slot, task)
            return
        future.add_done_callback(partial(self._done, slot, executor, task))

    def _done(
        self,
        slot: _Slot,
        executor: ProcessPoolExecutor,
        task: SuspectTask,
        future: "Future[TaskResult]",
    ) -> None:
        with self._lock:
            if self._is_closed or future.cancelled():
                return
            error = future.exception()
            if error is None:
                slot.tasks.remove(task)
                self._results.put(future.result())
            elif not isinstance(error, BrokenProcessPool):
                slot.tasks.remove(task)
                told = f"unexpected {type(error).__name__}: {error}"
                self._results.put(lost_task(task, told))
            elif slot.executor is executor:
                # Every task of a dead process comes this far; the first one replaces it for all.
                self._replace(slot, executor)

    def _replace(self, slot: _Slot, broken: ProcessPoolExecutor) -> None:
        """Start a new process for a slot, and give it the tasks again."""
        self._results.put("a worker process died; its suspect is asked by a new one")
        tasks = list(slot.tasks)
        slot.tasks.clear()
        slot.executor = self._executor()
        broken.shutdown(wait=False)
        for place, task in enumerate(tasks):
            # It worked on the first; the others only waited and are not to blame.
            self._deaths[task.suspect] += place == 0
            if self._deaths[task.suspect] >= MAX_DEATHS:
                told = f"worker: the process that asked this suspect died {MAX_DEATHS} times"
                self._results.put(lost_task(task, told))
            else:
                self._give(slot, task)


_asker: FileAsker | None = None


def _prepare(parcel: Parcel, parent: int) -> None:
    """Make a new process a worker."""
    global _asker
    # The coordinator decides what an interrupt means, and nobody works for one that is gone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _asker = FileAsker(parcel, name=f"process {os.getpid()}")


def _ask(task: SuspectTask) -> TaskResult:
    assert _asker is not None, "workers are prepared before their first task"
    return _asker.ask(task)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    os._exit(1)
