"""Records of every score and of suspects that answer several requests at once."""

from pathlib import Path

import numpy as np
import pytest
from worlds.audit_world import KnownSuspect, known_bundle
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import AUDITOR_KEY, TRUST, draft_id

from adapters.suspect import REFUSED
from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.journal.journal import Journal
from audit.records.check import Status
from audit.records.from_journal import export_record
from audit.records.verify import Result, Verification, verify_record
from audit.report.data import report_data
from audit.report.write import render_html
from audit.verdict.outcome import Verdict

ALL_SCORES = ("likelihood-ratio", "mfue-w", "mfue-b")


def recorded(
    tmp_path: Path, suspect: KnownSuspect, scores: tuple[str, ...]
) -> tuple[Verification, str]:
    """Audit, export, verify and report."""
    known, path = known_bundle(), tmp_path / "known.kinprint"
    write_bundle(path, known.manifest, known.arrays, OWNER_KEY)
    bundle, journal = read_bundle(path, TRUST), Journal(tmp_path / "journal.sqlite")
    list(AuditSession(bundle, suspect, journal, AuditOptions(scores=scores)).run())
    out = tmp_path / "out.kinrecord"
    export_record(journal, draft_id(journal), out, AUDITOR_KEY)
    journal.close()
    return verify_record(out, path, TRUST), render_html(report_data(out, path, TRUST))


@pytest.mark.parametrize("first", ALL_SCORES)
def test_every_score_is_recomputed_and_reported(tmp_path: Path, first: str) -> None:
    scores = (first, *(score for score in ALL_SCORES if score != first))
    suspect = KnownSuspect(lambda kind, index: 0, batch_size=7, probability=0.8)
    verification, page = recorded(tmp_path, suspect, scores)
    assert verification.result is Result.HOLDS
    assert all(check.status is not Status.FAILED for check in verification.checks)
    assert verification.outcome is not None
    assert tuple(score.name for score in verification.outcome.scores) == scores
    assert page.count("<svg") == (3 if first == "likelihood-ratio" else 2)


def test_probabilities_come_back_bit_for_bit(tmp_path: Path) -> None:
    suspect = KnownSuspect(lambda kind, index: 0, probability=0.8)
    verification, _ = recorded(tmp_path, suspect, ("mfue-w",))
    assert verification.record is not None
    given = verification.record.answers["trigger/0"].log_probabilities
    assert given is not None
    # probability 0.8 on class 0, the rest shared by two
    assert given.tobytes() == np.log([0.8, (1 - 0.8) / 2, (1 - 0.8) / 2]).tobytes()


def test_answers_of_requests_in_flight_together_keep_the_order_of_asking(tmp_path: Path) -> None:
    suspect = KnownSuspect(lambda kind, index: 0, batch_size=3, concurrency=4)
    verification, _ = recorded(tmp_path, suspect, ("likelihood-ratio",))
    assert verification.result is Result.HOLDS
    assert verification.record is not None
    rows = verification.record.rows
    assert [row.sequence for row in rows] == list(range(1, 51))
    assert [row.question for row in rows[9:12]] == ["control/9", "query/0", "query/1"]


def test_refusals_are_recorded_and_counted(tmp_path: Path) -> None:
    suspect = KnownSuspect(lambda kind, index: REFUSED if index % 2 else 0)
    verification, page = recorded(tmp_path, suspect, ("likelihood-ratio",))
    assert verification.outcome is not None
    assert verification.outcome.scores[0].num_refused == 20
    assert verification.outcome.verdict is not Verdict.INDEPENDENT
    assert "no answer" in page
