"""Sweeps on processes: killed ones, dead workers, a folder that is watched."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from worlds.onnx_builders import endless_loop, save
from worlds.record_builder import copy_rule
from worlds.sweep_world import World, names

from audit.journal.audits import audit_ids
from audit.journal.journal import Journal
from audit.journal.sweep_results import pair_counts
from audit.sweep.process_engine import TASKS_PER_SLOT, ProcessEngine
from audit.sweep.run import JOURNAL, PAGE_NAME, Noted, Sweep

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@contextmanager
def started(world: World, *more: object) -> Iterator["subprocess.Popen[str]"]:
    """Run ``kinprint sweep --json`` in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kinprint", *world.command("--json", "--quiet", *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines(process: "subprocess.Popen[str]", num: int) -> list[dict[str, Any]]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(num)]


def children(process: int) -> set[int]:
    """Return all processes below one."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in "ZX":
                parents[int(entry.name)] = int(fields[1])
    found: set[int] = set()
    while more := {one for one, parent in parents.items() if parent in found | {process}} - found:
        found |= more
    return found


def is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_until(holds: Callable[[], object]) -> None:
    while not holds():
        time.sleep(0.02)


def audits(world: World) -> set[str]:
    journal = Journal(world.results / JOURNAL)
    try:
        return set(audit_ids(journal))
    finally:
        journal.close()


@linux_only
def test_a_killed_sweep_goes_on_and_repeats_only_what_was_under_way(world: World) -> None:
    num, jobs = 20, 2
    for number in range(num):
        world.add(f"{number:02}.onnx", copy_rule)
    with started(world, "--jobs", jobs) as process:
        lines(process, num // 2)
        below = children(process.pid)
        assert below
        process.kill()
        process.wait()
    # Nobody works on for a coordinator that is gone.
    wait_until(lambda: all(map(is_gone, below)))
    with world.sweep() as sweep:
        before = {row["suspect"]: row["audit"] for row in world.rows(sweep) if row["audit"]}
    assert num // 2 <= len(before) <= num
    kept = audits(world)
    assert set(before.values()) <= kept

    with started(world, "--jobs", jobs, "--fail-on", "never") as process:
        out, _ = process.communicate()
    told = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0
    assert told[-1]["by_result"] == {"derived": num}
    # Every pair that counted before is as it was, and only the others were asked.
    asked = {line["suspect"] for line in told[:-1]}
    assert len(asked) == num - len(before)
    assert not asked & set(before)
    with world.sweep() as sweep:
        after = {row["suspect"]: row["audit"] for row in world.rows(sweep)}
    assert before.items() <= after.items()
    # What had reached the journal without counting was under way: two tasks a process.
    assert len(audits(world)) - num <= 2 * jobs


def in_flight(sweep: Sweep, world: World, num_workers: int) -> ProcessEngine:
    engine = ProcessEngine(sweep.parcel, num_workers, sweep.results)
    assert engine.capacity == TASKS_PER_SLOT * num_workers
    return engine


@linux_only
def test_a_worker_that_dies_loses_nothing(world: World) -> None:
    for number in range(10):
        world.add(f"{number}.onnx", copy_rule)
    with world.sweep() as sweep:
        engine = in_flight(sweep, world, 2)
        is_killed = False
        for event in sweep.run(world.suspects, engine):
            assert event
            if not is_killed and engine.process_ids and pair_counts(sweep.table).num_asked:
                os.kill(engine.process_ids[0], signal.SIGKILL)
                is_killed = True
        engine.close()
        assert is_killed
        assert {row["status"] for row in world.rows(sweep)} == {"asked"}


@linux_only
def test_a_suspect_that_takes_its_workers_along_is_left_alone(world: World) -> None:
    # It never answers, so that its worker can be killed while it asks.
    save(endless_loop(), world.suspects / "loop.onnx")
    with world.sweep() as sweep:
        engine = in_flight(sweep, world, 1)
        killed: set[int] = set()

        def kill_two() -> None:
            for _ in range(2):
                wait_until(lambda: set(engine.process_ids) - killed)
                (worker,) = set(engine.process_ids) - killed
                wait_until(lambda worker=worker: any(map(_answers, children(worker))))  # type: ignore[misc]
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)

        killer = threading.Thread(target=kill_two)
        killer.start()
        events = list(sweep.run(world.suspects, engine))
        killer.join()
        engine.close()
        rows = world.rows(sweep)
    assert names(rows, "status") == {"loop.onnx": "broken off"}
    assert "died 2 times" in names(rows, "reason")["loop.onnx"]
    assert sum(isinstance(event, Noted) for event in events) == 2


def _answers(process: int) -> bool:
    """Return whether a process is a suspect's own, in its private folder."""
    try:
        return "kinprint-" in os.readlink(f"/proc/{process}/cwd")
    except OSError:
        return False


@linux_only
def test_a_watched_folder_is_looked_into_again(world: World) -> None:
    world.add("first.onnx")
    command = world.command()
    place = command.index("--suspects")
    command[place] = "--watch"
    process = subprocess.Popen(
        [sys.executable, "-m", "kinprint", *command, "--json", "--every", "0.2", "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        (first,) = lines(process, 1)
        world.add("second.onnx", copy_rule)
        (second,) = lines(process, 1)
        # Whoever watches looks at the page meanwhile, which is written after each look.
        page = world.results / PAGE_NAME
        wait_until(lambda: page.exists() and "second.onnx" in page.read_text())
        process.send_signal(signal.SIGINT)
        out, told = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert "2 names, 1 pair asked; " in told
    assert "looking again every 0.2 s, Ctrl-C ends" in told
    assert [Path(row["suspect"]).name for row in (first, second)] == ["first.onnx", "second.onnx"]
    assert json.loads(out.splitlines()[-1])["by_result"] == {"derived": 1, "independent": 1}
    assert process.returncode == 10


def test_results_know_who_asked(world: World) -> None:
    world.add_some()
    with world.sweep() as sweep:
        engine = in_flight(sweep, world, 1)
        list(sweep.run(world.suspects, engine))
        assert [f"process {one}" for one in engine.process_ids] == sorted(
            {row["worker"] for row in world.rows(sweep)}
        )
        engine.close()
        assert engine.process_ids == []
