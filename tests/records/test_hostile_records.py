"""A record that a trusted key has signed may say anything: it is read or refused, no more."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import run
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    GOLDEN_RECORD,
    STARTED,
    TRUST,
    audited_contents,
    copy_rule,
    fixed_draft,
    forged,
    interrupted,
    signed,
)

from audit.errors import AuditError
from audit.records.against_bundle import record_order
from audit.records.check import Status
from audit.records.record import parse_record
from audit.records.verify import Result, verify_record
from audit.report.data import report_data
from audit.report.write import render_json, render_junit, render_markdown

Lines = list[dict[str, Any]]
RIGHT = GOLDEN_RECORD.read_bytes()
LONG = "9" * 5000
ODD = [
    None, True, -1, 0, 1, 2**53 - 1, 0.5, 1e308, "", " ", "x", LONG, "-1", "\xb2", "nan", "a,b",
    "\x1b[2J", "\u202e", "====", "AAAA", "a" * 64, "0000-01-01T00:00:00.000000Z",
    "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z", "2025-02-30T12:00:00.000000Z",
    [], [1], {}, {"a": "b"}, "query/0", "control/99999", "query/x", "probe/0/1/2", "query/\xb2",
]  # fmt: skip
FIELDS = {
    0: ["audit", "started", "bundle", "suspect", "settings", "runs", "format", "format_version"],
    1: ["question", "image_sha256", "run", "request", "sequence", "asked", "latency_s", "attempts",
        "label", "log_probabilities", "metadata"],
    -1: ["state", "num_answers", "finished", "outcome", "written", "timestamp"],
}  # fmt: skip
INNER = [
    (("bundle", "sha256"), "bundle's digest"),
    (("bundle", "manifest"), "manifest"),
    (("bundle", "timestamp"), "timestamp"),
    (("suspect", "kind"), "kind"),
    (("suspect", "name"), "name"),
    (("settings", "scores"), "scores"),
    (("settings", "capability"), "capability"),
    (("settings", "class_order"), "class order"),
    (("settings", "alpha"), "alpha"),
    (("settings", "stopping_error"), "stopping error"),
    (("runs", 0), "run"),
    (("runs", 0, "number"), "number"),
    (("runs", 0, "started"), "start"),
    (("runs", 0, "budget"), "budget"),
    (("runs", 0, "details"), "details"),
    (("runs", 0, "libraries"), "libraries"),
]


def put(value: Any, path: tuple[Any, ...], odd: object) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = odd


def look_at(folder: Path, data: bytes) -> bool:
    """Verify a record and report on it; return whether it is refused, let nothing else happen."""
    path = folder / "odd.kinrecord"
    path.write_bytes(data)
    verification = verify_record(path, GOLDEN_BUNDLE, TRUST, now=STARTED + 3600)
    with suppress(AuditError):
        reported = report_data(path, None, TRUST)
        for render in (render_markdown, render_json, render_junit):
            assert render(reported)
    return verification.result is Result.REFUSED


def spoiled(path: tuple[Any, ...], line: int) -> Iterator[bytes]:
    for odd in ODD:
        try:
            yield forged(RIGHT, partial(_spoil, line, path, odd), AUDITOR_KEY)
        except ValueError:
            continue  # nobody can sign this


def _spoil(line: int, path: tuple[Any, ...], odd: Any, lines: list[dict[str, object]]) -> None:
    put(lines[line], path, odd)


@pytest.mark.parametrize(
    ("line", "field"), [(line, field) for line, fields in FIELDS.items() for field in fields]
)
def test_no_odd_field_is_unexpected(tmp_path: Path, line: int, field: str) -> None:
    assert any(look_at(tmp_path, data) for data in spoiled((field,), line))


@pytest.mark.parametrize("path", [path for path, _ in INNER], ids=[name for _, name in INNER])
def test_no_odd_part_of_an_opening_is_unexpected(tmp_path: Path, path: tuple[Any, ...]) -> None:
    for data in spoiled(path, 0):
        look_at(tmp_path, data)


def with_order(text: str, data: bytes = RIGHT) -> bytes:
    return forged(data, lambda lines: put(lines[0], ("settings", "class_order"), text), AUDITOR_KEY)


@pytest.mark.parametrize(
    "order",
    ["", "a,b,c,d", "0,1,2", "0,1,2,3,4", "0,1,2,2", "0,1,2,-1", f"0,1,2,{LONG}", "0,1,2,\xb2",
     " 0,1,2,3", "0,1,2,03", "unknown", "0,1,2,4", ",".join(["0"] * 100_000)],
    ids=["nothing", "letters", "few", "many", "twice", "negative", "huge", "superscript", "blank",
         "zero", "unknown", "beyond", "very many"],
)  # fmt: skip
def test_a_record_with_no_order_of_its_classes_is_refused(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.kinrecord"
    path.write_bytes(with_order(order))
    verification = verify_record(path, GOLDEN_BUNDLE, TRUST, now=STARTED + 3600)
    assert verification.result is Result.REFUSED
    (wrong,) = [check for check in verification.checks if check.status is Status.FAILED]
    assert wrong.text.startswith("settings: class_order: expected each of 0 to 3 once")
    assert len(wrong.text) < 300


def test_an_order_of_the_classes_is_read() -> None:
    record = parse_record(with_order("3,0,1,2"), TRUST)
    assert record_order(record, audited_contents()) == (3, 0, 1, 2)


def test_an_audit_that_was_interrupted_may_not_know_the_order_yet() -> None:
    draft = interrupted(fixed_draft(audited_contents(), copy_rule), num_rows=3)
    record = parse_record(with_order("unknown", signed(draft)), TRUST)
    assert record_order(record, audited_contents()) is None


def test_verify_and_report_say_so_with_the_exit_status_of_a_wrong_record(tmp_path: Path) -> None:
    path, key = tmp_path / "a.kinrecord", tmp_path / "auditor.pub"
    path.write_bytes(with_order("a,b"))
    key.write_bytes(AUDITOR_KEY.public_key.pem)
    trust = ["--trust", key, "--trust", GOLDEN_PUBLIC_KEY]
    onnx = tmp_path / "suspect.onnx"
    onnx.write_bytes(b"never opened")
    verified = run("verify", path, "--bundle", GOLDEN_BUNDLE, *trust, "--onnx", onnx)
    reported = run("report", path, "--bundle", GOLDEN_BUNDLE, *trust)
    assert (verified.returncode, reported.returncode) == (13, 13)
    assert "class_order" in verified.stdout
    assert "class_order" in reported.stderr
