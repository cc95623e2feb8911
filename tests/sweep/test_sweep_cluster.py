"""Sweeps on a Dask cluster of this machine: reach, workers that die and join, other versions."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from worlds.in_process import run
from worlds.record_builder import copy_rule
from worlds.sweep_world import World, names

pytest.importorskip("distributed")

from distributed import Client, LocalCluster
from distributed.security import Security

from audit.errors import ClusterError, ClusterLostError
from audit.suspects.found_files import SuspectKind
from audit.sweep import dask_engine
from audit.sweep.dask_engine import DaskEngine
from audit.sweep.local_cluster import start_cluster
from audit.sweep.run import PairDone, Sweep, SweepEvent
from audit.sweep.tasks import SuspectTask

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with ExitStack() as owned:
        yield start_cluster(2, owned)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def engine_of(sweep: Sweep, cluster: LocalCluster) -> DaskEngine:
    client = Client(cluster, set_as_default=False)
    try:
        return DaskEngine(client, sweep.parcel, sweep.results)
    except BaseException:
        client.close()
        raise


def sweep_with(
    world: World, cluster: LocalCluster, meanwhile: Any = None
) -> tuple[list[SweepEvent], list[dict[str, Any]]]:
    """Sweep on the cluster; ``meanwhile`` is called once, after the first pair."""
    with world.sweep() as sweep:
        engine = engine_of(sweep, cluster)
        events = []
        try:
            for event in sweep.run(world.suspects, engine):
                events.append(event)
                if meanwhile is not None and isinstance(event, PairDone):
                    meanwhile()
                    meanwhile = None
        finally:
            engine.close()
        return events, world.rows(sweep)


def told(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    columns = ("suspect", "model", "verdict", "score", "p_value", "adjusted_p_value", "reason")
    return [tuple(row[column] for column in columns) for row in rows]


def test_a_cluster_finds_what_this_process_finds(tmp_path: Path, cluster: LocalCluster) -> None:
    world = World(tmp_path, num_bundles=2)
    world.add_some()
    (world.suspects / "broken.onnx").write_bytes(b"no model")
    _, rows = sweep_with(world, cluster)
    assert all(row["worker"].startswith("tls://127.0.0.1:") for row in rows)
    world.results = world.folder / "here"
    assert told(rows) == told(world.run()[2])


@linux_only
def test_nothing_of_a_local_cluster_listens_beyond_this_machine(cluster: LocalCluster) -> None:
    pids = {os.getpid(), *_worker_pids(cluster)}
    inodes = {
        os.readlink(descriptor)[8:-1]
        for pid in pids
        for descriptor in Path(f"/proc/{pid}/fd").iterdir()
        if descriptor.is_symlink() and os.readlink(descriptor).startswith("socket:")
    }
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.append(fields[1].rpartition(":")[0])
    loopback = "0100007F"  # 127.0.0.1 as the kernel writes it
    assert len(listening) >= 3
    assert set(listening) == {loopback}


def test_nobody_without_the_certificates_gets_in(cluster: LocalCluster) -> None:
    other = Security.temporary()
    with pytest.raises((OSError, TimeoutError)):
        Client(cluster.scheduler_address, security=other, timeout=3, set_as_default=False)


def _worker_pids(cluster: LocalCluster) -> list[int]:
    return [worker.pid for worker in cluster.workers.values()]


@linux_only
def test_a_worker_that_dies_in_the_middle_loses_nothing(
    world: World, cluster: LocalCluster
) -> None:
    for number in range(12):
        world.add(f"{number}.onnx", copy_rule)
    before = _worker_pids(cluster)
    _, rows = sweep_with(world, cluster, lambda: os.kill(before[0], signal.SIGKILL))
    assert {row["status"] for row in rows} == {"asked"}
    assert len({row["audit"] for row in rows}) == 12


@pytest.mark.long
def test_a_worker_that_joins_in_the_middle_gets_the_bundles(
    world: World, cluster: LocalCluster
) -> None:
    for number in range(40):  # more than are handed out at once
        world.add(f"{number}.onnx", copy_rule)

    old: list[str] = []

    def exchange_all() -> None:
        # From here on only workers can answer that were not there when the sweep began.
        old.extend(cluster.scheduler_info["workers"])
        cluster.scale(4)
        cluster.wait_for_workers(4)
        client = Client(cluster, set_as_default=False)
        client.retire_workers(old, close_workers=True)
        client.close()

    _, rows = sweep_with(world, cluster, exchange_all)
    assert {row["status"] for row in rows} == {"asked"}
    assert old
    assert {row["worker"] for row in rows} - set(old)


def test_workers_of_another_version_are_refused_by_name(
    world: World, cluster: LocalCluster
) -> None:
    with world.sweep() as sweep:
        versions = tuple(
            (name, "0.0.1" if name == "kinprint" else version)
            for name, version in sweep.parcel.versions
        )
        sweep.parcel = replace(sweep.parcel, versions=versions)
        with pytest.raises(ClusterError, match=r"kinprint [0-9.]+ instead of 0\.0\.1"):
            engine_of(sweep, cluster)


@pytest.mark.long
def test_a_worker_that_joins_with_another_version_is_sent_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.add("copy.onnx", copy_rule)
    monkeypatch.setattr(dask_engine, "_check_versions", lambda client, parcel: None)
    with ExitStack() as owned, world.sweep() as sweep:
        # All of them are, as if each had joined after the sweep had looked at them.
        sweep.parcel = replace(sweep.parcel, versions=(("kinprint", "0.0.1"),))
        engine = engine_of(sweep, start_cluster(1, owned))
        engine.submit(
            SuspectTask(suspect="s", path=str(path), kind=SuspectKind.ONNX, sha256=None, bundles=())
        )
        told = sweep.results.get()
        engine.close()
    assert isinstance(told, str)
    assert "is another version and was sent away: kinprint" in told


def test_nobody_at_the_address_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_engine, "CONNECT_TIMEOUT_S", 1.0)
    world.add_some()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
    done = run(*world.command("--cluster", address))
    assert done.returncode == 14
    assert f"cluster: expected a Dask scheduler at {address}" in done.stderr


def test_tls_without_certificates_is_told_before_anybody_is_called(world: World) -> None:
    done = run(*world.command("--cluster", "tls://127.0.0.1:9"))
    assert done.returncode == 14
    assert "expected certificates for a tls:// address, found none" in done.stderr


def test_a_scheduler_that_goes_away_ends_the_sweep_which_goes_on_later(world: World) -> None:
    for number in range(8):
        world.add(f"{number}.onnx", copy_rule)
    with ExitStack() as owned:
        own = start_cluster(1, owned)
        with pytest.raises(ClusterLostError, match="the scheduler is gone"):
            sweep_with(world, own, own.close)
    with world.sweep() as sweep:
        kept = [row["audit"] for row in world.rows(sweep) if row["status"] == "asked"]
    assert kept
    _, asked, rows = world.run()
    assert len(asked) == 8 - len(kept)
    assert set(kept) <= {row["audit"] for row in rows}
    assert names(rows, "status") == dict.fromkeys(names(rows), "asked")
