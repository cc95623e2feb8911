"""The tasks of a sweep on a cluster, by Dask distributed (extra ``cluster``).

What every worker needs travels once, as a plugin: a worker that joins or restarts in the middle
gets it from the scheduler. Whoever can talk to a scheduler can run programs on its workers and
here; the cluster of this machine is therefore closed by certificates of its own, and another one
should be by yours (docs/cluster.md).
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from distributed import Client, Worker, WorkerPlugin, get_worker
from distributed.scheduler import KilledWorker
from distributed.security import Security

from audit.errors import ClusterError, ClusterLostError
from audit.library_versions import environment_versions
from audit.sweep.asking import FileAsker
from audit.sweep.engine import Results, lost_task
from audit.sweep.groups import Group, TaskGroups
from audit.sweep.local_cluster import start_cluster
from audit.sweep.tasks import Parcel, SuspectTask, TaskResult
from audit.sweep.worker_wait import WorkerWait

CONNECT_TIMEOUT_S = 10.0
RESULT_TIMEOUT_S = 600.0
"""Until a group's results have come from its worker, which may be busy, or far away."""
SLOTS_EVERY_S = 1.0
"""How often the scheduler is asked how many workers there are."""
PATIENCE_S = 600.0
"""How long a sweep waits for a cluster's first worker, or for others where all have gone."""
LOCAL_PATIENCE_S = 120.0
"""The same for a cluster of this machine, whose workers are processes that need seconds."""
GROUPS_PER_SLOT = 2
"""One that is asked, and one that waits beside it so that nobody waits for the coordinator."""


class DaskEngine:
    """Asks suspects on a cluster; see `audit.sweep.engine.Engine`.

    Args:
        client: Connected; closed with the engine.
        parcel: What every worker needs.
        results: Where results go.
        owned: What else ends with the engine.
        patience_s: How long to wait for a worker while there is none, seconds.

    Raises:
        ClusterError: The workers cannot run our tasks.
    """

    def __init__(
        self,
        client: Client,
        parcel: Parcel,
        results: Results,
        owned: ExitStack | None = None,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._client, self._parcel, self._results = client, parcel, results
        self._owned = owned or ExitStack()
        self._lock = threading.Lock()
        self._groups = TaskGroups()
        self._running: dict[int, tuple[Any, Group]] = {}
        self._num_groups, self._is_closed, self._is_lost = 0, False, False
        self._num_slots = 0
        self._wait = WorkerWait(patience_s)
        self._ended = threading.Event()
        _check_versions(client, parcel)
        plugin = _SweepPlugin(parcel)
        _tried(lambda: client.register_plugin(plugin, name=plugin.name))
        self._look()
        threading.Thread(target=self._watch, daemon=True, name="cluster-watch").start()

    @property
    def capacity(self) -> int:
        """Return how many tasks keep the threads of all workers busy, as of a moment ago."""
        return (GROUPS_PER_SLOT + 1) * self._groups.size * max(1, self._num_slots)

    def submit(self, task: SuspectTask) -> None:
        """Hand a task to the scheduler as soon as somebody has time for it."""
        with self._lock:
            self._add(task)
        self._send()

    def close(self) -> None:
        """Take back what is not done, and leave the cluster."""
        with self._lock:
            self._is_closed = True
            futures = [future for future, _ in self._running.values()]
            self._running.clear()
        self._ended.set()
        with suppress(Exception):  # a cluster that is gone cannot be left
            if futures and not self._is_lost:
                self._client.cancel(futures, force=True)
        with suppress(Exception):
            self._client.close(timeout=CONNECT_TIMEOUT_S)
        self._owned.close()

    def _add(self, task: SuspectTask) -> None:
        num_bytes = 0
        with suppress(OSError):
            num_bytes = os.stat(task.path).st_size
        self._groups.add(task, num_bytes)

    def _send(self) -> None:
        """Hand over what waits, so far as there are workers for it."""
        while True:
            with self._lock:
                most = GROUPS_PER_SLOT * max(1, self._num_slots)
                if self._is_closed or self._is_lost or len(self._running) >= most:
                    return
                # Of two that are doubtful and at work at once nobody could tell which one did it.
                is_doubted = any(group.is_doubtful for _, group in self._running.values())
                group = self._groups.take(self._num_slots, may_be_doubtful=not is_doubted)
                if group is None:
                    return
                self._num_groups += 1
                number = self._num_groups
                # Unlike any other sweep's: a scheduler hands out an old result for a key that it
                # knows.
                key = f"kinprint-{self._parcel.key}-{id(self)}-{number}"
                lost = ""
                try:
                    future = self._client.submit(
                        _ask, self._parcel.key, group.tasks, key=key, pure=False
                    )
                    self._running[number] = future, group
                except Exception as error:
                    is_there = self._client.status == "running"
                    lost = f"takes no tasks ({_one_line(error)})" if is_there else "is gone"
            # Without the lock, which is taken on the way.
            if lost:
                self._lose(lost)
                return
            future.add_done_callback(partial(self._done, number))

    def _done(self, number: int, future: Any) -> None:
        with self._lock:
            if self._is_closed or number not in self._running:
                return
            _, group = self._running[number]
        # What is doubtful comes next only when these results are here: they lie with a worker.
        results = self._results_of(group, future)
        with self._lock:
            self._running.pop(number, None)
            for result in results:
                # What the last suspects took says how many of the next ones travel together.
                self._groups.learn(sum(pair.seconds for pair in result.pairs))
        self._send()  # first, so that no worker waits for what becomes of these
        for result in results:
            self._results.put(result)

    def _results_of(self, group: Group, future: Any) -> Sequence[TaskResult]:
        """Fetch what a group came to; tasks that are to be asked again wait afterwards."""
        try:
            results: Sequence[TaskResult] = future.result(timeout=RESULT_TIMEOUT_S)
        except KilledWorker:
            # Dask blames all that was with the worker; each gets its chance on its own.
            if not group.is_doubtful:
                with self._lock:
                    self._groups.doubt(group.tasks)
                return ()
            told = "worker: the processes that asked this suspect died, one after another"
        except _OtherVersionError as error:
            self._retire(str(error))
            with self._lock:
                for task in group.tasks:
                    self._add(task)
            return ()
        except Exception as error:
            if future.cancelled() or self._client.status != "running":
                self._lose()
                return ()
            told = f"unexpected {type(error).__name__}: {error}"
        else:
            return results
        return [lost_task(task, told) for task in group.tasks]

    def _retire(self, told: str) -> None:
        """Send a worker away that is another version than we are."""
        address, _, reason = told.partition(" ")
        self._results.put(f"worker {address} is another version and was sent away: {reason}")
        with suppress(Exception):
            self._client.retire_workers([address], close_workers=True)

    def _lose(self, told: str = "is gone") -> None:
        self._end(
            ClusterLostError(
                f"cluster: the scheduler {told}; what was asked is kept, the same command goes on"
            )
        )

    def _end(self, error: ClusterLostError) -> None:
        with self._lock:
            if self._is_lost or self._is_closed:
                return
            self._is_lost = True
        self._results.put(error)

    def _watch(self) -> None:
        while not self._ended.wait(SLOTS_EVERY_S):
            if self._client.status not in ("running", "connecting"):
                self._lose()
                return
            self._look()
            with self._lock:
                is_needed = bool(self._running)
            # A pause in the sweep's own work is no reason to end it: only while something waits for
            # them are workers missed.
            told = self._wait.look(
                num_slots=self._num_slots, is_needed=is_needed, now=time.monotonic()
            )
            if isinstance(told, ClusterLostError):
                self._end(told)
                return
            if told is not None:
                self._results.put(told)

    def _look(self) -> None:
        with suppress(Exception):  # it is told when a task fails
            self._num_slots = sum(self._client.nthreads().values())
            self._send()  # to those that have joined


def connect(address: str, parcel: Parcel, results: Results) -> DaskEngine:
    """Join a cluster.

    Args:
        address: Of its scheduler, ``tls://host:8786`` or ``tcp://host:8786``. Certificates are
            named in Dask's own configuration.
        parcel: What every worker needs.
        results: Where results go.

    Raises:
        ClusterError: Nobody answers there, or the workers are other versions than we are.
    """
    if address.startswith("tls:") and not _has_certificates():
        raise ClusterError(
            "cluster: expected certificates for a tls:// address, found none; Dask's configuration "
            "names them (docs/cluster.md)"
        )
    try:
        # Never the default: whatever else this process asks of Dask must not end up on this
        # cluster.
        client = Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False, name="kinprint")
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        raise ClusterError(
            f"cluster: expected a Dask scheduler at {address}, got no answer "
            f"({_one_line(error)}); is it started, and are its certificates those that this "
            "process uses?"
        ) from error
    try:
        return DaskEngine(client, parcel, results)
    except BaseException:
        with suppress(Exception):
            client.close(timeout=CONNECT_TIMEOUT_S)
        raise


def connect_locally(num_workers: int, parcel: Parcel, results: Results) -> DaskEngine:
    """Start a cluster on this machine that nobody else can reach or use, and join it.

    Everything listens on the loopback address only, and takes nobody without the certificates that
    are made here and kept in memory.

    Args:
        num_workers: Processes.
        parcel: What every worker needs.
        results: Where results go.

    Raises:
        ClusterError: It cannot be started.
    """
    owned = ExitStack()
    try:
        cluster = start_cluster(num_workers, owned)
        client = owned.enter_context(Client(cluster, set_as_default=False, name="kinprint"))
        return DaskEngine(client, parcel, results, owned, patience_s=LOCAL_PATIENCE_S)
    except (OSError, TimeoutError, RuntimeError) as error:
        owned.close()
        raise ClusterError(f"cluster: cannot be started here ({_one_line(error)})") from error
    except BaseException:
        owned.close()
        raise


class _OtherVersionError(Exception):
    """A worker that joined is another version; address first."""


_askers: dict[str, FileAsker | Exception] = {}
"""In a worker: who asks, by parcel."""


class _SweepPlugin(WorkerPlugin):  # type: ignore[misc]  # distributed has no types of its own
    """Makes a worker able to ask; runs in each one once, whenever it joins."""

    def __init__(self, parcel: Parcel) -> None:
        self._parcel = parcel
        self.name = f"kinprint-{parcel.key}"

    def setup(self, worker: Worker) -> None:
        """Open the bundles."""
        differences = _differences(dict(self._parcel.versions), environment_versions())
        if differences:
            # Kept for its first task: that error reaches the coordinator, one in here may not.
            _askers[self._parcel.key] = _OtherVersionError(f"{worker.address} {differences}")
            return
        _askers[self._parcel.key] = FileAsker(self._parcel, name=str(worker.address))

    def teardown(self, worker: Worker) -> None:
        """End the processes that wait for suspects."""
        asker = _askers.pop(self._parcel.key, None)
        if isinstance(asker, FileAsker):
            asker.close()


def _ask(key: str, tasks: Sequence[SuspectTask]) -> tuple[TaskResult, ...]:
    """Run in a worker."""
    asker = _askers.get(key)
    if asker is None:
        raise _OtherVersionError(f"{get_worker().address} has not got the sweep's bundles")
    if isinstance(asker, Exception):
        raise asker
    return tuple(_ask_one(asker, task) for task in tasks)


def _ask_one(asker: FileAsker, task: SuspectTask) -> TaskResult:
    try:
        return asker.ask(task)
    except Exception as error:  # nobody knows what; the others of its group go on
        return lost_task(task, f"unexpected {type(error).__name__}: {error}")


def _has_certificates() -> bool:
    return Security().get_connection_args("client").get("ssl_context") is not None


def _check_versions(client: Client, parcel: Parcel) -> None:
    """Refuse workers that would ask or judge otherwise than we do.

    Raises:
        ClusterError: There is one, or Kinprint is not installed there.
    """
    ours = dict(parcel.versions)
    told: dict[str, Any] = _tried(lambda: client.run(environment_versions, on_error="return"))
    wrong = {
        address: _one_line(versions)
        if isinstance(versions, BaseException)
        else _differences(ours, versions)
        for address, versions in told.items()
    }
    named = [f"{address}: {text}" for address, text in sorted(wrong.items()) if text]
    if named:
        raise ClusterError(
            "cluster: expected the coordinator's versions on all workers, got others; install the "
            "same ones there: " + "; ".join(named[:5])
        )


def _tried(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        raise ClusterError(
            f"cluster: its workers cannot run Kinprint ({_one_line(error)}); install the same "
            "version there"
        ) from error


def _differences(ours: dict[str, str], theirs: dict[str, str]) -> str:
    return ", ".join(
        f"{name} {theirs.get(name, 'missing')} instead of {ours.get(name, 'none')}"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    )


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
