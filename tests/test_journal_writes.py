"""Rows that many threads write at once: together on disk, each with its own number or error."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from record_builder import FakeSuspect, audited_contents, copy_rule, finish_audit

from audit.errors import JournalError
from audit.journal import Journal

ROW = (
    "INSERT INTO attempts (audit, run, request, attempt, started, num_images, request_sha256, "
    "is_charged) VALUES (?, 1, ?, 1, 0, 1, '', 1)"
)
NUM_THREADS = 8


def test_threads_that_wait_are_written_together_and_fail_alone(tmp_path: Path) -> None:
    bundle = audited_contents()
    journal = Journal(tmp_path / "journal.sqlite")
    audit = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
    transactions: list[str] = []

    def write(number: int) -> int:
        return journal.write_soon(ROW, (audit if number else "no such audit", number))

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        with journal.together():  # nobody else can write meanwhile
            rows = [pool.submit(write, number) for number in range(NUM_THREADS)]
            while len(journal._shared._waiting) < NUM_THREADS:
                time.sleep(0.001)
            mine = journal.write_soon(ROW, (audit, 100))
            journal._connection.set_trace_callback(transactions.append)
        for number, row in enumerate(rows[1:], start=1):
            found = journal.read_rows("SELECT request FROM attempts WHERE id = ?", (row.result(),))
            assert found == [(number,)]
        with pytest.raises(JournalError, match=r"cannot write .*FOREIGN KEY"):
            rows[0].result()
    assert journal.read_rows("SELECT request FROM attempts WHERE id = ?", (mine,)) == [(100,)]
    assert sum(statement.startswith("BEGIN") for statement in transactions) == 1
    journal.close()


def test_a_thread_of_its_own_is_never_part_of_anothers_transaction(tmp_path: Path) -> None:
    bundle = audited_contents()
    journal = Journal(tmp_path / "journal.sqlite")
    audit = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
    other = threading.Thread(target=journal.write_soon, args=(ROW, (audit, 7)))

    def write_and_fail() -> None:
        with journal.transaction():
            journal.write_soon(ROW, (audit, 8))
            other.start()
            while not journal._shared._waiting:
                time.sleep(0.001)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):  # undoes what stands in the block, and nothing else
        write_and_fail()
    other.join()
    assert journal.read_rows("SELECT request FROM attempts") == [(7,)]
    journal.close()
