"""How many tasks of a sweep travel together.

Handing something over to a cluster costs it some milliseconds, whatever it is; a small suspect is
asked in little more. So small ones travel together, as many as are asked in `GROUP_S`, and slow or
large ones alone. A group's results come back at once; a worker that dies loses those of one group.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from audit.sweep.tasks import SuspectTask

GROUP_S = 0.4
"""How long a group is about to take, seconds."""
MAX_GROUP = 16
MAX_GROUP_BYTES = 16 << 20
"""Files of one group, together; a larger one travels alone."""
_NEWEST_SHARE = 0.25
"""How much the newest suspect tells about the next one."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tasks that travel together."""

    tasks: tuple[SuspectTask, ...]
    is_doubtful: bool = False
    """It is one task, which may have done harm to its workers."""


class TaskGroups:
    """Tasks that wait for a worker. The caller lets one thread in at a time."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[SuspectTask, int]] = deque()
        self._doubtful: deque[SuspectTask] = deque()
        self._suspect_s: float | None = None

    @property
    def size(self) -> int:
        """Return how many tasks make a group, by what the last ones took."""
        if self._suspect_s is None:  # nobody knows yet
            return 1
        return int(min(MAX_GROUP, max(1.0, GROUP_S / max(self._suspect_s, 1e-6))))

    def add(self, task: SuspectTask, num_bytes: int) -> None:
        """Let a task wait, whose file has so many bytes."""
        self._waiting.append((task, num_bytes))

    def doubt(self, tasks: Iterable[SuspectTask]) -> None:
        """Let tasks wait whose workers died: one of them may have done it, nobody knows which."""
        self._doubtful.extend(tasks)

    def take(self, num_slots: int, *, may_be_doubtful: bool = True) -> Group | None:
        """Return what travels next, None if nothing waits.

        Args:
            num_slots: How many workers there are: the last tasks are shared out among them.
            may_be_doubtful: Take also what may do harm.
        """
        if may_be_doubtful and self._doubtful:
            return Group(tasks=(self._doubtful.popleft(),), is_doubtful=True)
        # Rounded up; near the end groups shrink, so that nobody carries what others wait for.
        fair_share = -(-len(self._waiting) // max(1, num_slots))
        most = min(self.size, fair_share)
        tasks: list[SuspectTask] = []
        room = MAX_GROUP_BYTES
        # The first one fits whatever its size, or a large file would never travel.
        while len(tasks) < most and (not tasks or self._waiting[0][1] <= room):
            task, num_bytes = self._waiting.popleft()
            tasks.append(task)
            room -= num_bytes
        return Group(tasks=tuple(tasks)) if tasks else None

    def learn(self, seconds: float) -> None:
        """Note how long a suspect has taken."""
        # A moving mean: a folder's suspects are alike for a while, and then others come.
        before = seconds if self._suspect_s is None else self._suspect_s
        self._suspect_s = before + _NEWEST_SHARE * (seconds - before)
