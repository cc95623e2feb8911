"""Why asking ended: the record says it, and the rule and the answers must explain it."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.audit_world import NUM_CONTROLS, KnownSuspect, known_bundle
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import AUDITOR_KEY, TRUST, draft_id, forged

from adapters.suspect import Predictions, SuspectUnreachableError
from audit.asking.events import Stopped
from audit.asking.options import AuditOptions
from audit.asking.pause_and_stop import AuditControl
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.bundle.manifest import BundleContents
from audit.journal.journal import Journal
from audit.records.check import Status
from audit.records.from_journal import export_record
from audit.records.record import State, read_record
from audit.records.verify import Result, Verification, verify_record

Lines = list[dict[str, Any]]


class Desk:
    """One journal and one bundle on disk, and the records that are made of them."""

    def __init__(self, folder: Path) -> None:
        known = known_bundle()
        self.bundle_path, self.out = folder / "known.kinprint", folder / "out.kinrecord"
        write_bundle(self.bundle_path, known.manifest, known.arrays, OWNER_KEY)
        self.journal = Journal(folder / "journal.sqlite")

    @property
    def bundle(self) -> BundleContents:
        return read_bundle(self.bundle_path, TRUST)

    def audit(self, suspect: KnownSuspect, **options: Any) -> None:
        list(AuditSession(self.bundle, suspect, self.journal, AuditOptions(**options)).run())

    def verified(self, change: Callable[[Lines], None] | None = None) -> Verification:
        export_record(self.journal, draft_id(self.journal), self.out, AUDITOR_KEY)
        if change is not None:
            self.out.write_bytes(forged(self.out.read_bytes(), change, AUDITOR_KEY))
        return verify_record(self.out, self.bundle_path, TRUST)

    def ended_by(self) -> tuple[State, str | None]:
        closing = read_record(self.out, TRUST).closing
        return closing.state, closing.ended_by


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.journal.close()


def text_of(verification: Verification, name: str) -> str:
    return next(check.text for check in verification.checks if check.name == name)


def failure(verification: Verification) -> tuple[str, str]:
    assert verification.result is Result.REFUSED
    (found,) = [check for check in verification.checks if check.status is Status.FAILED]
    return found.name, found.text


def answering(label: int) -> KnownSuspect:
    return KnownSuspect(lambda kind, index: label)


@pytest.mark.parametrize(
    ("label", "options", "state", "ended_by"),
    [
        (0, {}, State.COMPLETE, "all asked"),
        (1, {}, State.COMPLETE, "all asked"),
        (0, {"stop_early": True}, State.COMPLETE, "rule"),
        (1, {"stop_early": True}, State.COMPLETE, "rule"),
        (1, {"stop_early": True, "budget": 44}, State.COMPLETE, "rule"),
        (0, {"budget": 30}, State.BUDGET, "budget"),
        (2, {"stop_early": True, "budget": 30}, State.BUDGET, "budget"),
    ],
)
def test_a_record_says_what_ended_asking_and_verify_finds_the_same(
    desk: Desk, label: int, options: dict[str, Any], state: State, ended_by: str
) -> None:
    desk.audit(answering(label), **options)
    verification = desk.verified()
    held = Result.HOLDS if state is State.COMPLETE else Result.INCOMPLETE
    assert verification.result is held, verification.checks[-1]
    assert desk.ended_by() == (state, ended_by)


def test_a_suspect_that_fails_the_control_images_is_ended_by_the_rule(desk: Desk) -> None:
    class Wrong(KnownSuspect):
        def predict(self, images: NDArray[np.uint8]) -> Predictions:
            return Predictions(labels=(super().predict(images).labels + 1) % 3)

    desk.audit(Wrong(lambda kind, index: 0))
    verification = desk.verified()
    assert desk.ended_by() == (State.COMPLETE, "rule")
    assert verification.result is Result.HOLDS


def test_a_cut_audit_that_calls_itself_complete_is_refused(desk: Desk) -> None:
    # A budget of 30 of 50 questions, chosen because there the whole audit's verdict is not reached.
    def finish(lines: Lines) -> None:
        lines[-1]["state"] = "complete"

    desk.audit(answering(0), budget=30)
    assert failure(desk.verified(finish)) == (
        "end of asking",
        "state: expected 'stopped by its budget', because a budget of 30 questions ended the audit "
        "before it could decide, got 'complete'",
    )


@pytest.mark.parametrize("told", ["rule", "all asked", "user", "refusals", None])
def test_an_end_that_the_rule_does_not_explain_is_refused(desk: Desk, told: str | None) -> None:
    def claim(lines: Lines) -> None:
        lines[-1] |= {"state": "complete", "ended_by": told}

    desk.audit(answering(0), budget=30)
    name, text = failure(desk.verified(claim))
    assert name == "end of asking"
    assert text.startswith("ended_by: expected 'budget', which follows from the rule and the answ")


def test_a_whole_audit_that_says_a_budget_ended_it_is_refused(desk: Desk) -> None:
    def claim(lines: Lines) -> None:
        lines[-1]["ended_by"] = "budget"

    desk.audit(answering(2), stop_early=True)
    assert failure(desk.verified(claim))[0] == "end of asking"


def test_who_stopped_an_audit_stands_in_its_record(desk: Desk) -> None:
    control = AuditControl()
    session = AuditSession(desk.bundle, answering(0), desk.journal, control=control)
    events = session.run()
    list(islice(events, NUM_CONTROLS + 9))
    control.stop()
    assert isinstance(list(events)[-1], Stopped)
    verification = desk.verified()
    assert verification.result is Result.INCOMPLETE
    assert desk.ended_by() == (State.INTERRUPTED, "user")
    assert text_of(verification, "end of asking") == (
        "It was broken off by 'user', as the auditor says."
    )


def test_a_suspect_that_answers_no_more_ended_it(desk: Desk) -> None:
    class Gone(KnownSuspect):
        def predict(self, images: NDArray[np.uint8]) -> Predictions:
            if len(self.asked) >= NUM_CONTROLS + 4:
                raise SuspectUnreachableError("endpoint: expected an answer, got none")
            return super().predict(images)

    with pytest.raises(SuspectUnreachableError):
        desk.audit(Gone(lambda kind, index: 0))
    verification = desk.verified()
    assert verification.result is Result.INCOMPLETE
    assert desk.ended_by() == (State.INTERRUPTED, "refusals")


def test_an_audit_that_was_killed_says_nothing_and_goes_on(desk: Desk) -> None:
    events = AuditSession(desk.bundle, answering(0), desk.journal).run()
    list(islice(events, NUM_CONTROLS + 9))
    del events
    assert desk.verified().result is Result.INCOMPLETE
    assert desk.ended_by() == (State.INTERRUPTED, None)
    desk.audit(answering(0), resume=True)
    assert desk.verified().result is Result.HOLDS
    assert desk.ended_by() == (State.COMPLETE, "all asked")


def test_an_interruption_that_hides_a_decision_is_named(desk: Desk) -> None:
    def hide(lines: Lines) -> None:
        lines[-1] |= {"state": "interrupted", "ended_by": "user", "outcome": None, "finished": None}

    desk.audit(answering(0), stop_early=True)
    verification = desk.verified(hide)
    assert verification.result is Result.INCOMPLETE
    assert text_of(verification, "end of asking") == (
        "It was broken off by 'user', as the auditor says. Its answers had decided by then: "
        "'derived'. Ask why it was not finished."
    )


def test_an_interrupted_audit_cannot_have_ended_by_the_rule(desk: Desk) -> None:
    def hide(lines: Lines) -> None:
        lines[-1] |= {"state": "interrupted", "outcome": None, "finished": None}

    desk.audit(answering(0), stop_early=True)
    assert failure(desk.verified(hide))[0] == "end of asking"


def test_a_record_counts_the_audits_of_its_suspect(desk: Desk) -> None:
    events = AuditSession(desk.bundle, answering(0), desk.journal).run()
    list(islice(events, NUM_CONTROLS + 9))  # begun and not finished
    del events
    desk.audit(answering(0))
    desk.audit(answering(0))
    verification = desk.verified()
    assert verification.result is Result.HOLDS
    assert text_of(verification, "number of the audit") == (
        "This is audit 3 of 3 of this suspect in this journal, by this bundle, those included that "
        "were not finished. Ask for the others: of several audits, one may please by chance."
    )


def test_a_number_beyond_the_last_is_refused(desk: Desk) -> None:
    def count(lines: Lines) -> None:
        lines[0]["count"] = {"number": 3, "total": 2}

    desk.audit(answering(0))
    name, text = failure(desk.verified(count))
    assert (name, text) == (
        "hash chain",
        "record: line 1: count: expected a number of at most 2, got 3",
    )
