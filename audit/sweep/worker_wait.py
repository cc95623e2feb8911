"""How long a sweep waits for a cluster that has no workers, and what people hear meanwhile.

Workers may come and go: a cluster that is being started or that grows with its work has none at
first, one that restarts them has none for a moment. But nobody should look at a sweep that stands
still without a word, or find it so the next morning.
"""

from audit.errors import ClusterLostError

TELL_AFTER_S = 5.0
"""A worker that restarts is back by then, mostly."""


class WorkerWait:
    """Counts the time without workers. The caller lets one thread in at a time.

    Args:
        patience_s: How long to wait for one, seconds.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: float | None = None
        self._is_told = False

    def look(self, *, num_slots: int, is_needed: bool, now: float) -> str | ClusterLostError | None:
        """Note how it stands.

        Args:
            num_slots: Threads of all workers.
            is_needed: Something waits for them.
            now: Of a clock that only goes forward, seconds.

        Returns:
            What people should hear, or why the sweep ends, or None.
        """
        if num_slots or not is_needed:
            is_back = self._is_told and num_slots > 0
            self._since, self._is_told = None, False
            return "cluster: a worker is there, the sweep goes on" if is_back else None
        if self._since is None:
            self._since = now
        # Counted from the first look that found none.
        if now - self._since >= self._patience_s:
            return ClusterLostError(
                f"cluster: expected at least one worker, got none for {_told(self._patience_s)}; "
                "what was asked is kept, the same command goes on"
            )
        if not self._is_told and now - self._since >= TELL_AFTER_S:
            self._is_told = True
            return (
                f"cluster: no worker is there; waiting up to {_told(self._patience_s)} for one "
                "before the sweep ends"
            )
        return None


def _told(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds > 60 else f"{seconds:g} s"
