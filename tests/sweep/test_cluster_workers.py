"""Workers that do not come back: a cluster without any, and suspects that take theirs along."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from worlds.record_builder import copy_rule
from worlds.sweep_world import World, names

pytest.importorskip("distributed")

from distributed import Client, LocalCluster, Worker, WorkerPlugin

from audit.errors import ClusterLostError
from audit.sweep import dask_engine
from audit.sweep.asking import FileAsker
from audit.sweep.dask_engine import DaskEngine
from audit.sweep.local_cluster import start_cluster
from audit.sweep.run import PairDone, Sweep, SweepEvent
from audit.sweep.tasks import SuspectTask, TaskResult


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with ExitStack() as owned:
        yield start_cluster(1, owned)


def events_of(
    world: World, sweep: Sweep, engine: DaskEngine, meanwhile: Any = None
) -> Iterator[SweepEvent]:
    """Sweep, and call ``meanwhile`` once, after the first pair."""
    try:
        for event in sweep.run(world.suspects, engine):
            yield event
            if meanwhile is not None and isinstance(event, PairDone):
                meanwhile()
                meanwhile = None
    finally:
        engine.close()


def test_a_cluster_that_stays_without_workers_ends_the_sweep_which_goes_on_later(
    world: World, cluster: LocalCluster
) -> None:
    for number in range(8):
        world.add(f"{number}.onnx", copy_rule)

    def send_all_away() -> None:
        cluster.scale(0)
        client = Client(cluster, set_as_default=False)
        client.retire_workers(close_workers=True)
        client.close()

    with world.sweep() as sweep:
        client = Client(cluster, set_as_default=False)
        engine = DaskEngine(client, sweep.parcel, sweep.results, patience_s=1.0)
        with pytest.raises(
            ClusterLostError, match="expected at least one worker, got none for 1 s"
        ):
            list(events_of(world, sweep, engine, send_all_away))
        kept = [row["audit"] for row in world.rows(sweep) if row["status"] == "asked"]
    assert kept
    _, asked, rows = world.run()
    assert len(asked) == 8 - len(kept)
    assert set(kept) <= {row["audit"] for row in rows}
    assert names(rows, "status") == dict.fromkeys(names(rows), "asked")


def test_a_local_cluster_gets_new_workers_where_their_restart_was_given_up(
    world: World, cluster: LocalCluster
) -> None:
    for number in range(8):
        world.add(f"{number}.onnx", copy_rule)

    def give_all_up() -> None:
        for nanny in list(cluster.workers.values()):
            cluster.sync(nanny.close)

    with world.sweep() as sweep:
        client = Client(cluster, set_as_default=False)
        engine = DaskEngine(client, sweep.parcel, sweep.results)
        list(events_of(world, sweep, engine, give_all_up))
        rows = world.rows(sweep)
    assert names(rows, "status") == dict.fromkeys(names(rows), "asked")
    assert len({row["worker"] for row in rows}) == 2


class _Deadly(WorkerPlugin):  # type: ignore[misc]  # distributed has no types of its own
    """Lets a worker die at once when it is to ask ``deadly.onnx``."""

    name = "deadly"

    def setup(self, worker: Worker) -> None:
        asks = dask_engine._ask_one

        def ask_one(asker: FileAsker, task: SuspectTask) -> TaskResult:
            if task.path.endswith("deadly.onnx"):
                os.kill(os.getpid(), signal.SIGKILL)
            return asks(asker, task)

        dask_engine._ask_one = ask_one


@pytest.mark.long
def test_a_suspect_that_takes_its_workers_along_leaves_the_others_of_its_group(
    world: World, cluster: LocalCluster
) -> None:
    for number in range(9):
        world.add(f"{number}.onnx", copy_rule)
    world.add("deadly.onnx", copy_rule)
    with world.sweep() as sweep:
        client = Client(cluster, set_as_default=False)
        client.register_plugin(_Deadly())
        engine = DaskEngine(client, sweep.parcel, sweep.results)
        engine._groups.learn(0.0)  # as if suspects were quick: all that wait travel together
        list(events_of(world, sweep, engine))
        rows = world.rows(sweep)
    status = names(rows, "status")
    assert status.pop("deadly.onnx") == "broken off"
    assert status == dict.fromkeys(status, "asked")
    assert "died, one after another" in names(rows, "reason")["deadly.onnx"]
