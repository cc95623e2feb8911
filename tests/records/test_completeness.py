"""Order and completeness of a record: what had to be asked, and what had not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from worlds.audit_world import NUM_CONTROLS, NUM_QUERIES, NUM_TRIGGERS, KnownSuspect, known_bundle
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    GOLDEN_RECORD,
    STARTED,
    TRUST,
    audited_contents,
    draft_id,
    fixed_draft,
    forged,
    signed,
)

from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.journal.journal import Journal
from audit.records.against_bundle import check_order
from audit.records.check import Check, Status
from audit.records.completeness import check_completeness
from audit.records.from_journal import export_record
from audit.records.record import parse_record
from audit.records.verify import Result, Verification, verify_record
from audit.verdict.outcome import Verdict

Lines = list[dict[str, object]]
LATER = STARTED + 3600


def order_of(change: Callable[[Lines], None]) -> Check:
    record = parse_record(forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY), TRUST)
    return check_order(record, audited_contents())


def test_two_answers_with_one_place_in_the_order_of_asking_are_refused() -> None:
    def change(lines: Lines) -> None:
        lines[13]["sequence"] = lines[12]["sequence"]

    check = order_of(change)
    assert check.status is Status.FAILED
    assert check.text == "query/4: sequence: expected the rows in the order of asking"


def test_a_question_that_follows_itself_in_one_run_is_against_the_bundles_order() -> None:
    def change(lines: Lines) -> None:
        lines[13]["question"] = lines[12]["question"]

    check = order_of(change)
    assert check.status is Status.FAILED
    assert check.text == "query/3: asked after query/3, against the bundle's order"


def checked(tmp_path: Path, data: bytes, bundle: Path = GOLDEN_BUNDLE) -> Verification:
    path = tmp_path / "checked.kinrecord"
    path.write_bytes(data)
    return verify_record(path, bundle, TRUST, now=LATER)


def completeness(verification: Verification) -> tuple[Status, str]:
    (found,) = [check for check in verification.checks if check.name == "completeness"]
    return found.status, found.text


def test_a_suspect_that_cannot_be_compared_need_be_asked_the_control_images_only(
    tmp_path: Path,
) -> None:
    def wrong(kind: str, index: int, label: int) -> int:
        return (label + 1) % 4

    verification = checked(tmp_path, signed(fixed_draft(audited_contents(), wrong)))
    assert verification.result is Result.HOLDS
    assert verification.outcome is not None
    assert verification.outcome.verdict is Verdict.NOT_COMPARABLE
    assert completeness(verification) == (
        Status.HELD,
        "Every question that the verdict needed has an answer; 24 others were not needed.",
    )


def audited(
    tmp_path: Path, suspect: KnownSuspect, options: AuditOptions, **changes: object
) -> tuple[bytes, Path]:
    """Audit the known bundle and return the record and the bundle's path."""
    known, path = known_bundle(**changes), tmp_path / "known.kinprint"
    write_bundle(path, known.manifest, known.arrays, OWNER_KEY)
    journal = Journal(tmp_path / "journal.sqlite")
    list(AuditSession(read_bundle(path, TRUST), suspect, journal, options).run())
    export_record(journal, draft_id(journal), tmp_path / "out.kinrecord", AUDITOR_KEY)
    journal.close()
    return (tmp_path / "out.kinrecord").read_bytes(), path


def without(kind: str) -> Callable[[Lines], None]:
    """Leave out the answers to one kind of question."""

    def change(lines: Lines) -> None:
        lines[:] = [one for one in lines if not str(one.get("question")).startswith(f"{kind}/")]
        lines[-1]["num_answers"] = len(lines) - 2

    return change


def test_a_record_of_a_comparable_suspect_that_was_asked_no_query_is_refused(
    tmp_path: Path,
) -> None:
    data = forged(GOLDEN_RECORD.read_bytes(), without("query"), AUDITOR_KEY)
    verification = checked(tmp_path, data)
    assert verification.result is Result.REFUSED
    assert completeness(verification) == (
        Status.FAILED,
        "query/0: expected an answer, got none; 24 answers are missing",
    )


def test_a_budget_that_reaches_no_query_leaves_out_the_score_of_queries(tmp_path: Path) -> None:
    # 10 control images and 25 of the 30 triggers
    suspect = KnownSuspect(lambda kind, index: 0, probability=0.8)
    options = AuditOptions(scores=("mfue-w", "likelihood-ratio"), budget=35)
    data, bundle = audited(tmp_path, suspect, options)
    record = parse_record(data, TRUST)
    assert record.closing.outcome is not None
    assert [score.name for score in record.closing.outcome.scores] == ["mfue-w"]
    assert check_completeness(record, read_bundle(bundle, TRUST)).status is Status.HELD


@pytest.mark.parametrize(
    ("stop_early", "expected"),
    [
        # The deciding score stopped early: nothing is due beside it.
        (True, Status.HELD),
        (False, Status.FAILED),
    ],
)
def test_a_score_beside_the_deciding_one_is_due_unless_that_one_stopped_early(
    tmp_path: Path, *, stop_early: bool, expected: Status
) -> None:
    suspect = KnownSuspect(lambda kind, index: 0, probability=0.8)
    options = AuditOptions(scores=("likelihood-ratio", "mfue-w"), stop_early=stop_early)
    data, bundle = audited(tmp_path, suspect, options)
    record = parse_record(forged(data, without("trigger"), AUDITOR_KEY), TRUST)
    num_asked = NUM_CONTROLS + NUM_QUERIES + NUM_TRIGGERS
    assert (len(parse_record(data, TRUST).rows) < num_asked) is stop_early
    check = check_completeness(record, read_bundle(bundle, TRUST))
    assert check.status is expected
    if expected is Status.FAILED:
        assert check.text == "trigger/0: expected an answer, got none; 30 answers are missing"


def test_what_a_budget_left_no_room_for_need_not_be_asked_again(tmp_path: Path) -> None:
    # Asked class 2 by nobody's model: 10 control images and 20 queries would be asked again, and
    # the 50 questions before them leave 29 of the budget.
    data, bundle = audited(tmp_path, KnownSuspect(lambda kind, index: 2), AuditOptions(budget=79))
    record = parse_record(data, TRUST)
    assert len(record.rows) == NUM_CONTROLS + NUM_QUERIES
    assert check_completeness(record, read_bundle(bundle, TRUST)).status is Status.HELD


def test_what_a_budget_left_room_for_has_to_be_asked_again(tmp_path: Path) -> None:
    data, bundle = audited(tmp_path, KnownSuspect(lambda kind, index: 2), AuditOptions(budget=80))
    assert len(parse_record(data, TRUST).rows) == NUM_CONTROLS + NUM_QUERIES + 30
    record = parse_record(forged(data, without("again"), AUDITOR_KEY), TRUST)
    check = check_completeness(record, read_bundle(bundle, TRUST))
    assert check.status is Status.FAILED
    assert check.text.startswith("again/control/0: expected an answer, got none; 30 answers")
