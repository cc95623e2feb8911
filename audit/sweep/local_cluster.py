"""A Dask cluster on this machine that nobody else can reach or use.

Everything listens on the loopback address only, and takes nobody without the certificates that are
made here and kept in memory. Dask restarts a worker that dies, but gives up for ever when the new
one dies while it starts, as it does when what it is given kills it; here it gets another one then.
"""

import logging
from contextlib import ExitStack, suppress
from typing import Any

from dask import config
from distributed import LocalCluster
from distributed.core import Status
from tornado.ioloop import PeriodicCallback

from audit.sweep.engine import MAX_DEATHS

LOOPBACK = "127.0.0.1"
CARE_EVERY_S = 1.0
"""How often workers are looked for whose restart was given up."""


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
        # Dask ends workers whose restart takes longer, as it may on a busy machine.
        "distributed.deploy.lost-worker-timeout": "1000 days",
        # Dask watches itself a hundred times a second, which costs more than a small suspect does.
        "distributed.worker.profile.enabled": False,
        "distributed.worker.memory.monitor-interval": "1s",
        "distributed.admin.tick.interval": "500ms",
        "distributed.admin.system-monitor.interval": "10s",
        "distributed.admin.system-monitor.gil.enabled": False,
    }
    owned.enter_context(config.set(settings))
    cluster = owned.enter_context(
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
    _take_care(cluster, owned)
    return cluster


def _take_care(cluster: LocalCluster, owned: ExitStack) -> None:
    """Start anew, until the end, what keeps a worker alive where it has given up."""

    async def look() -> None:
        gone = [
            name
            for name, nanny in cluster.workers.items()
            if nanny.status in (Status.closed, Status.failed)
        ]
        if not gone or cluster.status is not Status.running:
            return
        for name in gone:
            # Dask counts those that it gave up as there, and starts none in their place.
            del cluster.workers[name]
        with suppress(Exception):  # one that cannot start is tried again the next time
            await cluster  # starts what is wanted and missing

    care = PeriodicCallback(look, 1000 * CARE_EVERY_S)
    cluster.loop.add_callback(care.start)
    owned.callback(cluster.loop.add_callback, care.stop)
