"""Times in signed things: what no clock can have shown is refused, whoever signed it."""

import datetime
from pathlib import Path
from typing import Any

import pytest
from worlds.bundle_builder import OWNER_KEY, OWNER_TRUST
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_RECORD,
    TRUST,
    audited_contents,
    forged,
)

from audit.bundle.bundle_file import creation_time
from audit.bundle.commitment import commitment_bytes, read_commitment
from audit.errors import AuditError, RecordError
from audit.records.record import parse_record, utc
from generator.errors import GenerationError
from generator.jobs.crafting import read_job

Lines = list[dict[str, Any]]
DAY = datetime.timedelta(days=1)
IN_TWO_DAYS = "in two days"
"""Stands for that time in a test's name, which is the same in every process."""


def later(days: float) -> str:
    """Return a time so many days from now as a record writes it."""
    return utc((datetime.datetime.now(datetime.UTC) + days * DAY).timestamp())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2025-99-99T12:00:00.000000Z", "expected a time that exists, got 2025-99-99"),
        ("2025-02-30T12:00:00.000000Z", "expected a time that exists, got 2025-02-30"),
        ("2099-01-01T00:00:00.000000Z", "expected a time that has been, got 2099-01-01"),
        (IN_TWO_DAYS, "expected a time that has been"),
    ],
)
@pytest.mark.parametrize("place", ["started", "run", "asked", "finished", "written"])
def test_a_record_of_a_day_that_has_not_been_is_refused(
    text: str, message: str, place: str
) -> None:
    def change(lines: Lines) -> None:
        where = {
            "started": lines[0],
            "run": lines[0]["runs"][0],
            "asked": lines[5],
            "finished": lines[-1],
            "written": lines[-1],
        }[place]
        told = later(2) if text == IN_TWO_DAYS else text
        where["started" if place == "run" else place] = told

    with pytest.raises(RecordError, match=message):
        parse_record(forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY), TRUST)


def test_a_record_with_a_bundle_from_2099_is_refused() -> None:
    def change(lines: Lines) -> None:
        lines[0]["bundle"]["manifest"]["created"] = "2099-01-01T00:00:00Z"

    with pytest.raises(RecordError, match=r"bundle\.manifest\.created: expected a time that has"):
        parse_record(forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY), TRUST)


def test_another_machines_clock_may_be_a_day_ahead() -> None:
    def change(lines: Lines) -> None:
        lines[-1]["written"] = later(0.9)

    parse_record(forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY), TRUST)


@pytest.mark.parametrize("committed", ["2099-01-01T00:00:00Z", "9999-99-99T99:99:99Z"])
def test_a_commitment_from_a_day_that_has_not_been_is_refused(
    tmp_path: Path, committed: str
) -> None:
    digest = audited_contents().manifest_sha256
    path = tmp_path / "early.kincommit"
    path.write_bytes(commitment_bytes(digest, OWNER_KEY, committed=committed, timestamp=None))

    with pytest.raises(RecordError, match="commitment: "):
        read_commitment(path, digest, OWNER_TRUST)


def test_no_bundle_is_crafted_for_a_day_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"model": "a.onnx", "images": ("a",), "key": Path("k"), "out": Path("o"), "name": "a"}
    with pytest.raises(GenerationError, match=r"^created: expected a time that has been, got 2099"):
        read_job(None, job | {"created": "2099-01-01T00:00:00Z", "owner": "o"})
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(4e9)))
    with pytest.raises(AuditError, match="SOURCE_DATE_EPOCH: expected a time that has been"):
        creation_time()
