"""What is written in one turn is one transaction, which ends with it at the latest."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from worlds.record_builder import FakeSuspect, audited_contents, copy_rule, finish_audit

from audit.errors import JournalError
from audit.journal.journal import Journal

ROW = (
    "INSERT INTO attempts (audit, run, request, attempt, started, num_images, request_sha256, "
    "is_charged) VALUES (?, 1, ?, 1, 0, 1, '', 1)"
)


class Desk:
    """A journal with an audit in it, and the eyes of another process."""

    def __init__(self, folder: Path) -> None:
        bundle = audited_contents()
        self.journal = Journal(folder / "journal.sqlite")
        self.audit = finish_audit(self.journal, FakeSuspect(bundle, copy_rule), bundle)
        self._eyes = sqlite3.connect(folder / "journal.sqlite")

    def write(self, number: int, audit: str | None = None) -> None:
        self.journal.file.write_soon(ROW, (audit or self.audit, number))

    def seen(self) -> list[int]:
        rows = self._eyes.execute("SELECT request FROM attempts ORDER BY request").fetchall()
        return [request for (request,) in rows]

    def close(self) -> None:
        self._eyes.close()
        self.journal.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_rows_of_one_turn_become_one_transaction_at_its_end(desk: Desk) -> None:
    statements: list[str] = []
    desk.journal.file._connection.set_trace_callback(statements.append)
    with desk.journal.turn:
        desk.write(1)
        with desk.journal.turn:
            desk.write(2)
        assert desk.seen() == []
    assert desk.seen() == [1, 2]
    assert [each for each in statements if each in ("BEGIN IMMEDIATE", "COMMIT")] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]


def test_who_steps_aside_leaves_nothing_unwritten(desk: Desk) -> None:
    with desk.journal.turn:
        desk.write(1)
        with desk.journal.turn.aside():
            assert desk.seen() == [1]
        desk.write(2)
        desk.journal.sync()
        assert desk.seen() == [1, 2]


def test_a_row_that_fails_takes_no_other_along(desk: Desk) -> None:
    with desk.journal.turn:
        desk.write(1)
        with pytest.raises(JournalError, match=r"cannot write .*FOREIGN KEY"):
            desk.write(2, "no such audit")
        desk.write(3)
    assert desk.seen() == [1, 3]


def test_an_error_keeps_what_the_turn_has_written(desk: Desk) -> None:
    def write_and_fail() -> None:
        with desk.journal.turn:
            desk.write(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert desk.seen() == [1]


def test_a_transaction_undoes_what_stands_in_it_and_nothing_else(desk: Desk) -> None:
    other = threading.Thread(target=desk.write, args=(7,))

    def write_and_fail() -> None:
        with desk.journal.turn:
            desk.write(6)
            with desk.journal.file.transaction():
                desk.write(8)
                other.start()
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    other.join()
    assert desk.seen() == [6, 7]


def test_what_is_committed_outlives_a_full_disk_later_in_the_turn(desk: Desk) -> None:
    def fill() -> None:
        with desk.journal.turn:
            desk.write(1)
            desk.journal.commit()
            ((pages,),) = desk.journal.file.read_rows("PRAGMA page_count")
            desk.journal.file.read_rows(f"PRAGMA max_page_count = {pages}")
            for number in range(2, 10_000):
                desk.write(number)

    with pytest.raises(JournalError, match="database or disk is full"):
        fill()
    assert desk.seen() == [1]
