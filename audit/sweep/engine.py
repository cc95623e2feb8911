"""What runs the tasks of a sweep: processes of this machine, a cluster, or threads."""

from queue import SimpleQueue
from typing import Protocol

from audit.errors import AuditError
from audit.exit_codes import ExitCode
from audit.journal.sweep_rows import PairStatus
from audit.sweep.tasks import PairResult, SuspectTask, TaskResult

MAX_DEATHS = 2
"""Workers that one suspect may take along before it is left alone."""


class SweepEndsError(AuditError):
    """Somebody ends the sweep; what was answered is kept, and the next run goes on."""


Done = TaskResult | AuditError | str
"""A task's result, why no task can be run any more, or something that people should hear about."""


class Engine(Protocol):
    """Runs tasks and puts their results into the queue that it was made with."""

    @property
    def capacity(self) -> int:
        """Return how many tasks keep its workers busy, those that wait included, at least 1."""
        ...

    def submit(self, task: SuspectTask) -> None:
        """Take a task; its result comes by the queue, also where its worker dies."""
        ...

    def close(self) -> None:
        """End all workers; what runs is broken off."""
        ...


Results = SimpleQueue[Done]


def lost_task(task: SuspectTask, reason: str, *, worker: str = "") -> TaskResult:
    """Return the result of a task whose workers died, or that none could take."""
    return TaskResult(
        task=task,
        pairs=tuple(
            PairResult(
                bundle=bundle,
                status=PairStatus.BROKEN_OFF,
                reason=reason,
                exit_code=ExitCode.UNEXPECTED,
                seconds=0.0,
            )
            for bundle in task.bundles
        ),
        worker=worker,
    )
