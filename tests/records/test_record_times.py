"""Times of a record and dates that others vouch for: the last moment that holds, and the next."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_RECORD,
    STARTED,
    TRUST,
    audited_contents,
    forged,
)
from worlds.servers.timestamp_authority import TimestampAuthority

from audit.bundle.commitment import commitment_bytes
from audit.records.against_bundle import check_times
from audit.records.check import Check, Status
from audit.records.dates import check_bundle_timestamp, check_chain_timestamp, check_commitment
from audit.records.record import Record, parse_record, seconds, utc
from audit.signing.canonical import canonical_bytes
from audit.signing.timestamps import encode_token, load_certificates, timestamp_request

Lines = list[dict[str, object]]
MICROSECOND = 1e-6
"""The grain of a record's times."""
LATER = STARTED + 3600


def golden(change: Callable[[Lines], None] = lambda lines: None) -> Record:
    return parse_record(forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY), TRUST)


def asked_from(first: float, step: float = 0.25) -> Callable[[Lines], None]:
    """Move the questions: one every ``step`` seconds from ``first`` on."""

    def change(lines: Lines) -> None:
        for number, line in enumerate(lines[1:-1]):
            line["asked"] = utc(first + step * number)

    return change


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
def test_times_are_told_in_utc_wherever_the_machine_stands() -> None:
    assert utc(0.25) == "1970-01-01T00:00:00.250000Z"
    assert seconds("1970-01-01T00:00:00.250000Z") == 0.25
    text = check_times(golden(), now=STARTED - 3600).text
    assert "expected a time not after 2025-01-01T11:00:00Z, got 2025-01-01T12:01:01Z" in text


def test_the_times_of_asking_are_told() -> None:
    # 32 questions, 0.25 s apart, the first one 0.25 s after the start
    assert check_times(golden(), now=LATER).text == (
        "Asked from 2025-01-01T12:00:00.250000Z to 2025-01-01T12:00:08.000000Z by the auditor's "
        "own clock."
    )


@pytest.mark.parametrize(("ahead_s", "status"), [(300, Status.HELD), (300.001, Status.FAILED)])
def test_an_auditors_clock_may_be_five_minutes_ahead(ahead_s: float, status: Status) -> None:
    # the golden record was written 61 s after its start
    assert check_times(golden(), now=STARTED + 61 - ahead_s).status is status


@pytest.mark.parametrize(("early_s", "status"), [(1.0, Status.HELD), (1.001, Status.FAILED)])
def test_questions_of_one_moment_may_begin_in_any_order(early_s: float, status: Status) -> None:
    def change(lines: Lines) -> None:
        lines[13]["asked"] = utc(seconds(str(lines[12]["asked"])) - early_s)

    assert check_times(golden(change), now=LATER).status is status


@pytest.mark.parametrize(("early_s", "status"), [(1.0, Status.HELD), (1.001, Status.FAILED)])
def test_no_question_is_older_than_its_run(early_s: float, status: Status) -> None:
    assert check_times(golden(asked_from(STARTED - early_s)), now=LATER).status is status


def test_a_question_that_is_older_than_any_before_it_is_refused() -> None:
    def change(lines: Lines) -> None:
        # 0.7 s before the one that precedes it, 1.4 s before the one before that
        begun = seconds(str(lines[11]["asked"]))
        lines[12]["asked"], lines[13]["asked"] = utc(begun - 0.7), utc(begun - 1.4)

    check = check_times(golden(change), now=LATER)
    assert check.status is Status.FAILED
    assert check.text.startswith("query/4: asked at ")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TimestampAuthority:
    return TimestampAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stamp(authority: TimestampAuthority) -> tuple[str, float]:
    """A stamp over the golden bundle's manifest, and its time in whole seconds."""
    manifest = canonical_bytes(audited_contents().manifest.model_dump(mode="json"))
    token = encode_token(authority.stamp(timestamp_request(manifest)))
    assert token is not None
    record = stamped_bundle(token, first=LATER)
    text = check_bundle_timestamp(record, load_certificates([authority.root])).text
    return token, seconds(text.partition("made at ")[2].partition(",")[0])


def stamped_bundle(token: str, *, first: float) -> Record:
    """The golden record with a stamp of its bundle and a first question at that time."""

    def change(lines: Lines) -> None:
        bundle = lines[0]["bundle"]
        assert isinstance(bundle, dict)
        bundle["timestamp"] = token
        asked_from(first)(lines)

    return golden(change)


@pytest.mark.parametrize(
    ("late_s", "status"), [(1.0, Status.HELD), (1.0 + MICROSECOND, Status.FAILED)]
)
def test_a_bundle_is_stamped_no_later_than_in_the_second_of_the_first_question(
    authority: TimestampAuthority, stamp: tuple[str, float], late_s: float, status: Status
) -> None:
    token, made = stamp
    record = stamped_bundle(token, first=made - late_s)
    check = check_bundle_timestamp(record, load_certificates([authority.root]))
    assert check.status is status


def stamped_answers(stamp: tuple[str, float], *, last: float) -> Record:
    """The golden record with a stamp over its last answer, which came at that time.

    What is stamped is the manifest: the check asks only for the digest that the record names.
    """
    token, _ = stamp
    record = golden(asked_from(last - 31, step=1.0))
    closing = record.closing.model_copy(
        update={"timestamp": token, "previous": audited_contents().manifest_sha256}
    )
    return replace(record, closing=closing)


@pytest.mark.parametrize(
    ("early_s", "status"), [(300.0, Status.HELD), (300.0 + MICROSECOND, Status.FAILED)]
)
def test_answers_are_stamped_at_most_five_minutes_before_the_last_of_them(
    authority: TimestampAuthority, stamp: tuple[str, float], early_s: float, status: Status
) -> None:
    record = stamped_answers(stamp, last=stamp[1] + early_s)
    certificates = load_certificates([authority.root])
    assert check_chain_timestamp(record, certificates, now=stamp[1]).status is status


@pytest.mark.parametrize(("ahead_s", "status"), [(300.0, Status.HELD), (300.001, Status.FAILED)])
def test_a_stamp_may_be_five_minutes_ahead_of_the_readers_clock(
    authority: TimestampAuthority, stamp: tuple[str, float], ahead_s: float, status: Status
) -> None:
    record = stamped_answers(stamp, last=stamp[1])
    certificates = load_certificates([authority.root])
    assert check_chain_timestamp(record, certificates, now=stamp[1] - ahead_s).status is status


def committed(tmp_path: Path, text: str, record: Record, token: str | None = None) -> Check:
    path = tmp_path / "test.kincommit"
    bundle = audited_contents()
    path.write_bytes(
        commitment_bytes(bundle.manifest_sha256, OWNER_KEY, committed=text, timestamp=token)
    )
    return check_commitment(path, record, bundle, TRUST, ())


@pytest.mark.parametrize(
    ("before_s", "told"),
    [
        (0, "0 minutes"),
        (7199, "120 minutes"),
        (7200, "2 hours"),
        (2 * 86400 - 1, "48 hours"),
        (2 * 86400, "2 days"),
    ],
)
def test_a_commitment_says_how_long_before_the_first_question_it_was_made(
    tmp_path: Path, before_s: float, told: str
) -> None:
    record = golden(asked_from(STARTED))
    check = committed(tmp_path, utc(STARTED - before_s), record)
    assert check.status is Status.OPEN
    assert f"{utc(STARTED - before_s)}, {told} before the first question." in check.text


def test_a_commitment_a_microsecond_after_the_first_question_is_refused(tmp_path: Path) -> None:
    record = golden(asked_from(STARTED))
    assert committed(tmp_path, utc(STARTED + MICROSECOND), record).status is Status.FAILED


def test_a_commitment_between_the_start_and_the_first_question_is_early_enough(
    tmp_path: Path,
) -> None:
    record = golden(asked_from(STARTED + 60))
    assert committed(tmp_path, utc(STARTED + 30), record).status is Status.OPEN


def test_a_commitment_is_compared_with_the_start_where_nothing_was_asked(tmp_path: Path) -> None:
    record = replace(golden(), rows=())
    assert committed(tmp_path, utc(STARTED), record).status is Status.OPEN
    assert committed(tmp_path, utc(STARTED + 1), record).status is Status.FAILED


@pytest.mark.parametrize(("late_s", "status"), [(0.0, Status.HELD), (MICROSECOND, Status.FAILED)])
def test_the_stamp_of_a_commitment_counts_and_not_the_owners_word(
    tmp_path: Path,
    authority: TimestampAuthority,
    stamp: tuple[str, float],
    late_s: float,
    status: Status,
) -> None:
    token, made = stamp
    bundle, path = audited_contents(), tmp_path / "test.kincommit"
    path.write_bytes(
        commitment_bytes(bundle.manifest_sha256, OWNER_KEY, committed=utc(0), timestamp=token)
    )
    record = golden(asked_from(made - late_s))
    certificates = load_certificates([authority.root])
    assert check_commitment(path, record, bundle, TRUST, certificates).status is status
