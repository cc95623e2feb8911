"""The record's file: every byte is signed, and what is refused says why."""

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from worlds.bundle_builder import OWNER_KEY, STRANGER_KEY, small_contents
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_RECORD,
    TRUST,
    audited_contents,
    copy_rule,
    fixed_draft,
    forged,
    interrupted,
    rechained,
    signed,
)

from audit.errors import AuditError, RecordError, SignatureInvalidError, UntrustedKeyError
from audit.records.record import (
    encode_log_probabilities,
    parse_record,
    read_record,
    seconds,
    utc,
    write_record,
)
from audit.signing.hash_chain import follow_back, link
from audit.signing.keys import Trust

Lines = list[dict[str, object]]


def test_a_record_reads_back_what_was_signed() -> None:
    bundle = audited_contents()
    record = parse_record(signed(fixed_draft(bundle, copy_rule)), TRUST)
    assert record.opening.bundle.sha256 == bundle.manifest_sha256
    assert record.signer_key_id == AUDITOR_KEY.public_key.key_id
    # 8 control images, then 24 queries
    assert [row.question for row in record.rows[7:9]] == ["control/7", "query/0"]
    assert [answer.label for answer in record.answers.values()] == [0, 1, 2, 3] * 8


def test_a_record_without_an_answer_reads_back() -> None:
    draft = interrupted(fixed_draft(audited_contents(), copy_rule), num_rows=0)
    assert parse_record(signed(draft), TRUST).rows == ()


def test_the_golden_record_is_read_and_signed_again_to_the_same_bytes() -> None:
    data = GOLDEN_RECORD.read_bytes()
    assert len(parse_record(data, TRUST).rows) == 32
    assert forged(data, lambda lines: None, AUDITOR_KEY) == data


@pytest.mark.parametrize("every", [13, pytest.param(1, marks=pytest.mark.whole)])
def test_any_changed_byte_of_a_small_record_is_refused(every: int) -> None:
    data = signed(fixed_draft(small_contents(), copy_rule))
    for position in range(0, len(data), every):
        _refuses(data, position, data[position] ^ 1)


@pytest.mark.parametrize("num_changes", [300, pytest.param(5000, marks=pytest.mark.whole)])
def test_random_changes_of_a_larger_record_are_refused(num_changes: int) -> None:
    data = GOLDEN_RECORD.read_bytes()
    rng = random.Random(5)
    for _ in range(num_changes):
        position = rng.randrange(len(data))
        _refuses(data, position, (data[position] + rng.randrange(1, 256)) % 256)


@pytest.mark.parametrize("size", [0, 1, 100, -1, -300])
def test_a_record_that_is_cut_short_is_refused(size: int) -> None:
    with pytest.raises(AuditError):
        parse_record(GOLDEN_RECORD.read_bytes()[:size], TRUST)


def test_a_record_with_something_behind_its_signature_is_refused() -> None:
    with pytest.raises(RecordError, match="something follows its signature"):
        parse_record(GOLDEN_RECORD.read_bytes() + b"x", TRUST)


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(RecordError, match="a file of another kind"):
        parse_record(b"PK\x03\x04 a bundle", TRUST)


def _edit(lines: Lines) -> None:
    lines[12]["label"] = 1


def _swap(lines: Lines) -> None:
    lines[12], lines[13] = lines[13], lines[12]


def _drop(lines: Lines) -> None:
    del lines[12]


def _double(lines: Lines) -> None:
    lines.insert(12, dict(lines[12]))


@pytest.mark.parametrize("change", [_edit, _swap, _drop, _double])
def test_rows_changed_and_chained_anew_without_the_key_are_refused(
    change: Callable[[Lines], None],
) -> None:
    with pytest.raises(SignatureInvalidError, match="expected subject digest"):
        parse_record(rechained(GOLDEN_RECORD.read_bytes(), change), TRUST)


def test_a_changed_row_is_named_by_its_line() -> None:
    lines = GOLDEN_RECORD.read_bytes().split(b"\n")
    lines[12] = lines[12].replace(b'"label":3', b'"label":2')
    with pytest.raises(SignatureInvalidError, match=r"^line 13: expected SHA-256 .* was changed"):
        parse_record(b"\n".join(lines), TRUST)


def test_a_record_of_an_unknown_key_is_told_from_a_wrong_one() -> None:
    data = signed(fixed_draft(audited_contents(), copy_rule), STRANGER_KEY)
    with pytest.raises(UntrustedKeyError, match="is not trusted"):
        parse_record(data, TRUST)


def test_a_signature_over_a_bundle_is_none_over_a_record() -> None:
    data = GOLDEN_RECORD.read_bytes()
    envelope = json.loads(data.split(b"\n")[-2])
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    with pytest.raises(UntrustedKeyError):
        parse_record(data, Trust(keys=(OWNER_KEY.public_key,)))


@pytest.mark.parametrize(("version", "which"), [(2, "the older"), (4, "a newer")])
def test_another_version_of_the_format_says_which_kinprint_to_use(version: int, which: str) -> None:
    def change(lines: Lines) -> None:
        lines[0]["format_version"] = version

    with pytest.raises(RecordError, match=rf"format_version: expected 3.*use {which} Kinprint"):
        parse_record(forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY), TRUST)


@pytest.mark.parametrize(
    ("line", "field", "value", "named"),
    [
        (0, "color", "red", "line 1: color"),
        (1, "note", "", "line 2: note"),
        (5, "label", -2, "line 6: label"),
        (5, "run", 0, "line 6: run"),
        (5, "request", 0, "line 6: request"),
        (5, "sequence", 0, "line 6: sequence"),
        (5, "attempts", 0, "line 6: attempts"),
        (5, "latency_s", -0.125, "line 6: latency_s"),
        (5, "log_probabilities", "A*==", "line 6: log_probabilities"),
        (5, "asked", "now", "line 6: asked"),
        (5, "asked", "2025-01-01T12:00:01.250000", "line 6: asked"),
        (5, "asked", "2025-01-01T12:00:01.250000+00:00", "line 6: asked"),
        # 32 answers between the opening and the closing line
        (-1, "extra", 1, "line 34: extra"),
    ],
)
def test_a_field_that_the_format_does_not_have_is_refused_by_line_and_name(
    line: int, field: str, value: object, named: str
) -> None:
    def change(lines: Lines) -> None:
        lines[line][field] = value

    with pytest.raises(RecordError, match=f"record: {named}"):
        parse_record(forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY), TRUST)


def test_a_wrong_count_of_answers_is_refused() -> None:
    def change(lines: Lines) -> None:
        lines[-1]["num_answers"] = 31

    with pytest.raises(RecordError, match="num_answers: expected 32, got 31"):
        parse_record(forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY), TRUST)


def test_log_probabilities_keep_every_bit() -> None:
    values = np.array([-np.inf, -0.0, -1e-320, -0.1])

    def change(lines: Lines) -> None:
        lines[9]["log_probabilities"] = encode_log_probabilities(values)

    record = parse_record(forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY), TRUST)
    kept = record.answers["query/0"].log_probabilities
    assert kept is not None
    assert kept.tobytes() == values.tobytes()


def test_a_time_survives_writing_and_reading() -> None:
    assert utc(seconds("2026-09-21T14:13:20.250000Z")) == "2026-09-21T14:13:20.250000Z"


def test_the_last_line_of_a_chain_vouches_for_the_first() -> None:
    lines = link([{"a": 1}, {"b": 2}, {"c": 3}])
    # SHA-256 of '{"a":1}', by sha256sum
    first = "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert json.loads(lines[1]) == {"b": 2, "previous": first}


def test_a_chain_is_read_back_in_the_order_of_its_lines() -> None:
    lines = link([{"a": 1}, {"b": 2}, {"c": 3}])
    first, second, third = follow_back(lines, hashlib.sha256(lines[-1]).hexdigest())
    assert (first["a"], second["b"], third["c"]) == (1, 2, 3)


def test_a_chain_without_its_beginning_is_refused() -> None:
    lines = link([{"a": 1}, {"b": 2}])[1:]
    with pytest.raises(SignatureInvalidError, match="lines were removed"):
        follow_back(lines, hashlib.sha256(lines[-1]).hexdigest())


def test_a_full_disk_leaves_no_half_record_and_the_old_one_untouched(tmp_path: Path) -> None:
    path = tmp_path / "out.kinrecord"
    path.write_text("the record before")
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from audit.errors import AuditError\n"
        "from audit.records.record import write_record\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    write_record(Path(sys.argv[1]), bytes(100_000))\n"
        "except AuditError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert "record: cannot write" in result.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.kinrecord"]
    assert path.read_text() == "the record before"


def test_a_record_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.kinrecord"
    write_record(path, GOLDEN_RECORD.read_bytes())
    assert read_record(path, TRUST).digest == parse_record(GOLDEN_RECORD.read_bytes(), TRUST).digest


def test_a_missing_record_says_so(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"cannot read .*none\.kinrecord"):
        read_record(tmp_path / "none.kinrecord", TRUST)


def _refuses(data: bytes, position: int, value: int) -> None:
    changed = data[:position] + bytes([value]) + data[position + 1 :]
    with pytest.raises((RecordError, SignatureInvalidError, UntrustedKeyError), match=r"\w"):
        parse_record(changed, TRUST)
