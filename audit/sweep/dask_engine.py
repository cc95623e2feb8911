"""The tasks of a sweep on a cluster, by Dask distributed (extra ``cluster``).

What every worker needs travels once, as a plugin: a worker that joins or restarts in the middle
gets it from the scheduler. Whoever can talk to a scheduler can run programs on its workers and
here; the cluster of this machine is therefore closed by certificates of its own, and another one
should be by yours (docs/cluster.md).
"""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from dask import config
from distributed import Client, LocalCluster, Worker, WorkerPlugin, get_worker
from distributed.scheduler import KilledWorker
from distributed.security import Security

from audit.environment import environment_versions
from audit.errors import ClusterError, ClusterLostError
from audit.sweep.asking import FileAsker
from audit.sweep.engine import MAX_DEATHS, Results, lost_task
from audit.sweep.tasks import Parcel, SuspectTask, TaskResult

CONNECT_TIMEOUT_S = 10.0
SLOTS_EVERY_S = 1.0
"""How often the scheduler is asked how many workers there are."""
LOOPBACK = "127.0.0.1"


class DaskEngine:
    """Asks suspects on a cluster; see `audit.sweep.engine.Engine`.

    Args:
        client: Connected; closed with the engine.
        parcel: What every worker needs.
        results: Where results go.
        owned: What else ends with the engine.

    Raises:
        ClusterError: The workers cannot run our tasks.
    """

    def __init__(
        self, client: Client, parcel: Parcel, results: Results, owned: ExitStack | None = None
    ) -> None:
        self._client, self._parcel, self._results = client, parcel, results
        self._owned = owned or ExitStack()
        self._lock = threading.Lock()
        self._running: dict[int, tuple[Any, SuspectTask]] = {}
        self._num_tasks, self._is_closed, self._is_lost = 0, False, False
        self._num_slots = 0
        self._ended = threading.Event()
        _check_versions(client, parcel)
        plugin = _SweepPlugin(parcel)
        _tried(lambda: client.register_plugin(plugin, name=plugin.name))
        self._look()
        threading.Thread(target=self._watch, daemon=True, name="cluster-watch").start()

    @property
    def num_slots(self) -> int:
        """Return the number of threads of all workers, as of a moment ago."""
        return self._num_slots

    def submit(self, task: SuspectTask) -> None:
        """Hand a task to the scheduler."""
        with self._lock:
            self._num_tasks += 1
            number = self._num_tasks
            key = f"kinprint-{self._parcel.key}-{id(self)}-{number}"
            try:
                future = self._client.submit(_ask, self._parcel.key, task, key=key, pure=False)
            except Exception:
                if self._client.status in ("running", "connecting"):
                    raise
                future = None
            else:
                self._running[number] = future, task
        if future is None:
            self._lose()
            return
        future.add_done_callback(lambda done: self._done(number, done))

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

    def _done(self, number: int, future: Any) -> None:
        with self._lock:
            if self._is_closed or number not in self._running:
                return
            _, task = self._running.pop(number)
        try:
            result = future.result(timeout=CONNECT_TIMEOUT_S)
        except KilledWorker:
            told = "worker: the processes that asked this suspect died, one after another"
            result = lost_task(task, told)
        except _OtherVersionError as error:
            self._retire(str(error))
            self.submit(task)
            return
        except Exception as error:
            if future.cancelled() or self._client.status != "running":
                self._lose()
                return
            result = lost_task(task, f"unexpected {type(error).__name__}: {error}")
        self._results.put(result)

    def _retire(self, told: str) -> None:
        """Send a worker away that is another version than we are."""
        address, _, reason = told.partition(" ")
        self._results.put(f"worker {address} is another version and was sent away: {reason}")
        with suppress(Exception):
            self._client.retire_workers([address], close_workers=True)

    def _lose(self) -> None:
        with self._lock:
            if self._is_lost or self._is_closed:
                return
            self._is_lost = True
        self._results.put(
            ClusterLostError(
                "cluster: the scheduler is gone; what was asked is kept, the same command goes on"
            )
        )

    def _watch(self) -> None:
        while not self._ended.wait(SLOTS_EVERY_S):
            if self._client.status not in ("running", "connecting"):
                self._lose()
                return
            self._look()

    def _look(self) -> None:
        with suppress(Exception):  # it is told when a task fails
            self._num_slots = sum(self._client.nthreads().values())


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
        return DaskEngine(client, parcel, results, owned)
    except (OSError, TimeoutError, RuntimeError) as error:
        owned.close()
        raise ClusterError(f"cluster: cannot be started here ({_one_line(error)})") from error
    except BaseException:
        owned.close()
        raise


def start_cluster(num_workers: int, owned: ExitStack) -> LocalCluster:
    """Start a cluster that only this process can use.

    Args:
        num_workers: Processes.
        owned: Ends it.
    """
    settings: dict[str, Any] = {
        "distributed.worker.http.routes": [],
        "distributed.scheduler.http.routes": [],
        "distributed.scheduler.allowed-failures": MAX_DEATHS - 1,
        # Dask watches itself a hundred times a second, which costs more than a small suspect does.
        "distributed.worker.profile.enabled": False,
        "distributed.worker.memory.monitor-interval": "1s",
        "distributed.admin.tick.interval": "500ms",
        "distributed.admin.system-monitor.interval": "10s",
        "distributed.admin.system-monitor.gil.enabled": False,
    }
    owned.enter_context(config.set(settings))
    return owned.enter_context(
        LocalCluster(
            n_workers=num_workers,
            threads_per_worker=1,
            processes=True,
            host=LOOPBACK,
            security=True,
            dashboard_address=f"{LOOPBACK}:0",
            worker_dashboard_address=f"{LOOPBACK}:0",
            silence_logs=logging.CRITICAL,
        )
    )


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
            _askers[self._parcel.key] = _OtherVersionError(f"{worker.address} {differences}")
            return
        _askers[self._parcel.key] = FileAsker(self._parcel, name=str(worker.address))

    def teardown(self, worker: Worker) -> None:
        """End the processes that wait for suspects."""
        asker = _askers.pop(self._parcel.key, None)
        if isinstance(asker, FileAsker):
            asker.close()


def _ask(key: str, task: SuspectTask) -> TaskResult:
    """Run in a worker."""
    asker = _askers.get(key)
    if asker is None:
        raise _OtherVersionError(f"{get_worker().address} has not got the sweep's bundles")
    if isinstance(asker, Exception):
        raise asker
    return asker.ask(task)


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
