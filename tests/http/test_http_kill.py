"""``kill -9`` of an audit that a slow, throttling, failing vendor answers.

The vendor runs in a process of its own and writes every question into a file as it arrives; so
does the audit with every answer that it has told anybody about.
"""

import multiprocessing
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tenacity import wait_exponential
from worlds.record_builder import audited_contents, copy_rule
from worlds.servers.fault_proxy import Fault
from worlds.servers.vendor_server import Vendor, vendor

from adapters.http import retry as http_retry
from adapters.http.opening import open_endpoint
from audit.asking.events import Answered, Finished
from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.verdict.outcome import Verdict

NUM_QUESTIONS, CONCURRENCY = 32, 3
BUNDLE = audited_contents()
FIELDS = f"timeout_s = 5\nretries = 50\nconcurrency = {CONCURRENCY}\nstop_after_failures = 1000"
_FORK = multiprocessing.get_context("fork")


def _serve(pipe: "multiprocessing.connection.Connection", asked_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    asked = os.open(asked_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write_down(number: int, questions: tuple[str, ...]) -> None:
        os.write(asked, "".join(f"{question}\n" for question in questions).encode())

    def fail(number: int) -> Fault | None:
        delay_s, fate = rng.uniform(0, 0.006), rng.random()
        if fate < 0.1:
            return Fault(status=500, body=b"oops", delay_s=delay_s)
        if fate < 0.2:
            return Fault(status=429, body=b"", headers=(("Retry-After", "0"),), delay_s=delay_s)
        return Fault(delay_s=delay_s, is_reset=fate < 0.25)

    with vendor(BUNDLE, copy_rule, fail, write_down) as server:
        pipe.send(server.url)
        threading.Event().wait()


@contextmanager
def served(folder: Path, seed: int) -> Iterator[Path]:
    here, there = _FORK.Pipe()
    process = _FORK.Process(target=_serve, args=(there, folder / "asked.txt", seed), daemon=True)
    process.start()
    url = here.recv()
    with Vendor(BUNDLE, copy_rule) as writer:  # knows how the file looks; its socket is not used
        path = writer.endpoint_file(folder / "vendor.toml", FIELDS)
        text = path.read_text().replace(writer.url, url)
    path.write_text(text)
    try:
        yield path
    finally:
        process.kill()
        process.join()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_retry, "_exponential", wait_exponential(multiplier=5e-4, max=0.004))
    monkeypatch.setattr(http_retry, "JITTER_S", 0.001)


def _audit(endpoint_path: Path, journal_path: Path, told_path: Path) -> None:
    """Audit, or go on with it, in a process that may be killed; write down what was told."""
    told = os.open(told_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    endpoint, journal = open_endpoint(endpoint_path), Journal(journal_path)
    try:
        session = AuditSession(BUNDLE, endpoint, journal, AuditOptions(resume=True))
    except AuditError:  # killed before it began, or finished
        session = AuditSession(BUNDLE, endpoint, journal)
    for event in session.run():
        if isinstance(event, Answered):
            lines = zip(event.questions, event.labels, strict=True)
            os.write(told, "".join(f"{name} {label}\n" for name, label in lines).encode())
        if isinstance(event, Finished):
            assert event.outcome.verdict is Verdict.DERIVED


def lines(path: Path, start: int = 0) -> list[str]:
    return path.read_text().splitlines()[start:] if path.exists() else []


def journaled(path: Path) -> dict[str, int]:
    """Return label by question of the one audit in a journal."""
    with closing(sqlite3.connect(path)) as database:
        try:
            return dict(database.execute("SELECT question, label FROM answers").fetchall())
        except sqlite3.OperationalError:
            return {}  # killed before there were tables


def is_finished(path: Path) -> bool:
    """Whether the one audit in a journal has an end."""
    if not path.exists():
        return False
    with closing(sqlite3.connect(path)) as database:
        try:
            return database.execute("SELECT finished FROM audits").fetchall() not in ([], [(None,)])
        except sqlite3.OperationalError:
            return False


def unfinished_attempts(path: Path) -> list[int]:
    """Return how many requests each run left without an end."""
    with closing(sqlite3.connect(path)) as database:
        try:
            rows = database.execute(
                "SELECT COUNT(*) FROM attempts WHERE result IS NULL GROUP BY run"
            ).fetchall()
        except sqlite3.OperationalError:
            return []
    return [num for (num,) in rows]


@pytest.mark.parametrize("num_kills", [20, pytest.param(200, marks=pytest.mark.whole)])
def test_no_answer_is_lost_and_nothing_asked_again_but_what_was_in_flight(
    tmp_path: Path, num_kills: int
) -> None:
    rng = random.Random(0)
    asked_path, num_finished, kills = tmp_path / "asked.txt", 0, 0
    with served(tmp_path, seed=0) as endpoint_path:
        # Once undisturbed, so that what is loaded late is there in the children from the start.
        _audit(endpoint_path, tmp_path / "warm.sqlite", tmp_path / "warm.txt")
        started = time.monotonic()
        whole = _FORK.Process(
            target=_audit, args=(endpoint_path, tmp_path / "2.sqlite", tmp_path / "2.txt")
        )
        whole.start()
        whole.join()
        whole_s = time.monotonic() - started
        while kills < num_kills:  # audit after audit, each killed again and again
            journal = tmp_path / f"killed-{num_finished}.sqlite"
            told_path = tmp_path / f"killed-{num_finished}.txt"
            first_line, kills_here = len(lines(asked_path)), 0
            while not is_finished(journal):
                before, num_asked = journaled(journal), len(lines(asked_path))
                process = _FORK.Process(target=_audit, args=(endpoint_path, journal, told_path))
                process.start()
                assert process.pid is not None
                process.join(rng.uniform(0, 0.6 * whole_s))
                if process.is_alive():
                    os.kill(process.pid, signal.SIGKILL)
                    kills_here += 1
                process.join()
                assert process.exitcode in (0, -signal.SIGKILL)
                kept = journaled(journal)
                told = dict(line.split() for line in lines(told_path))
                # What was answered before is there, and what anybody was told of is too.
                assert before.items() <= kept.items()
                assert {name: int(label) for name, label in told.items()}.items() <= kept.items()
                # What was on disk was not asked again.
                assert not before.keys() & set(lines(asked_path, num_asked))
            assert len(journaled(journal)) == NUM_QUESTIONS
            in_flight = unfinished_attempts(journal)
            assert all(num <= CONCURRENCY for num in in_flight)
            assert len(in_flight) <= kills_here
            # Every request that arrived is in the books, whether its answer came or not.
            with closing(sqlite3.connect(journal)) as database:
                (booked,) = database.execute("SELECT COUNT(*) FROM attempts").fetchone()
            assert booked >= len(lines(asked_path, first_line)) >= NUM_QUESTIONS
            num_finished, kills = num_finished + 1, kills + kills_here
    repeated = Counter(lines(asked_path))
    assert len(repeated) == NUM_QUESTIONS
    assert num_finished >= num_kills / 20


def test_a_request_is_in_the_books_before_it_leaves(tmp_path: Path) -> None:
    journal_path = tmp_path / "journal.sqlite"
    booked: list[int] = []

    def compare(number: int, questions: tuple[str, ...]) -> None:
        with closing(sqlite3.connect(journal_path)) as database:
            (num,) = database.execute("SELECT COUNT(*) FROM attempts").fetchone()
        booked.append(num - number)

    with vendor(BUNDLE, copy_rule, on_request=compare) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", "concurrency = 1")
        endpoint, journal = open_endpoint(path), Journal(journal_path)
        list(AuditSession(BUNDLE, endpoint, journal).run())
        endpoint.close()
        journal.close()
    assert booked == [1] * NUM_QUESTIONS
