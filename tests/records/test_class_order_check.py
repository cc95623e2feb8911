"""Orders of classes in records: the control images must support them."""

from pathlib import Path
from typing import Any

import pytest
from worlds.audit_world import NUM_CONTROLS, K, KnownSuspect, known_bundle
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import AUDITOR_KEY, TRUST, draft_id, forged

from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.journal.journal import Journal
from audit.records.check import Check, Status
from audit.records.from_journal import export_record
from audit.records.verify import Verification, verify_record

Lines = list[dict[str, Any]]


def told(verification: Verification) -> Check | None:
    found = [check for check in verification.checks if check.name == "order of the classes"]
    return found[0] if found else None


def verified(tmp_path: Path, *, order: str | None, num_wrong: int) -> Verification:
    """Verify a record whose control answers are one class off for the first images."""

    def change(lines: Lines) -> None:
        for line in lines[1:-1]:
            kind, _, index = line["question"].rpartition("/")
            if kind == "control" and int(index) < num_wrong:
                line["label"] = (int(index) + 1) % K
        if order is not None:
            lines[0]["settings"]["class_order"] = order

    known, path = known_bundle(), tmp_path / "known.kinprint"
    write_bundle(path, known.manifest, known.arrays, OWNER_KEY)
    journal, out = Journal(None), tmp_path / "out.kinrecord"
    suspect = KnownSuspect(lambda kind, index: 0)
    list(AuditSession(read_bundle(path, TRUST), suspect, journal, AuditOptions()).run())
    export_record(journal, draft_id(journal), out, AUDITOR_KEY)
    out.write_bytes(forged(out.read_bytes(), change, AUDITOR_KEY))
    return verify_record(out, path, TRUST)


def test_an_order_that_nobody_can_have_found_is_refused(tmp_path: Path) -> None:
    # All answers one class off: 0 of 10 right, and 10 in the order that undoes it.
    check = told(verified(tmp_path, order="1,2,0", num_wrong=NUM_CONTROLS))
    assert check is not None
    assert check.status is Status.FAILED
    assert check.text == (
        "settings: class_order: 0 of 10 control images are right in it, 10 in another order; "
        "nobody can have found this one"
    )


def test_a_suspect_whose_classes_seem_to_stand_in_another_order_is_named(tmp_path: Path) -> None:
    check = told(verified(tmp_path, order=None, num_wrong=NUM_CONTROLS))
    assert check is not None
    assert check.status is Status.OPEN
    assert check.text == (
        "0 of 10 control images are right in it, 10 in another order. Ask how the suspect's "
        "classes were told apart."
    )


@pytest.mark.parametrize("num_wrong", [0, 3])
def test_an_order_that_the_control_images_support_holds(tmp_path: Path, num_wrong: int) -> None:
    # 7 of 10 right and 3 one class off: no other order does better.
    check = told(verified(tmp_path, order="0,1,2", num_wrong=num_wrong))
    assert check is not None
    assert (check.status, check.text) == (
        Status.HELD,
        f"The auditor names one; {10 - num_wrong} of 10 control images are right in it.",
    )


def test_without_an_order_nothing_is_said_where_the_bundles_own_is_right(tmp_path: Path) -> None:
    assert told(verified(tmp_path, order=None, num_wrong=3)) is None
