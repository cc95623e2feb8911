"""A line-up from the first question to a verified record and its report."""

import json
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.audit_world import KnownSuspect
from worlds.bundle_builder import OWNER_KEY, OWNER_TRUST, STRANGER_KEY
from worlds.line_up_world import LINE_UP_TAG, LineUpWorld

from audit.asking.events import AuditEvent, Started
from audit.asking.options import AuditOptions
from audit.asking.run import run_audit
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.bundle.inspection import inspect_bundle
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.records.check import Status
from audit.records.from_journal import draft_record
from audit.records.record import record_bytes, utc, write_record
from audit.records.verify import Result, verify_record
from audit.report.data import report_data
from audit.report.write import render_html
from audit.signing.keys import Trust
from audit.verdict.outcome import Outcome, Verdict

TRUST = Trust(keys=(OWNER_KEY.public_key, STRANGER_KEY.public_key))
EARLY = AuditOptions(scores=("line-up",), stop_early=True)


@pytest.fixture(scope="module")
def world() -> LineUpWorld:
    return LineUpWorld(num_questions=200)


@pytest.fixture
def bundle_path(world: LineUpWorld, tmp_path: Path) -> Path:
    bundle, path = world.bundle, tmp_path / "b.kinprint"
    write_bundle(path, bundle.manifest, bundle.arrays, OWNER_KEY, bundle.line_up)
    return path


def suspect_of(log_probabilities: NDArray[np.float64], **options: int) -> KnownSuspect:
    labels = log_probabilities.argmax(axis=-1)
    return KnownSuspect(
        lambda kind, index: int(labels[index]) if kind == LINE_UP_TAG else 0, **options
    )


def audited(
    bundle: BundleContents, suspect: KnownSuspect, folder: Path, options: AuditOptions = EARLY
) -> tuple[Outcome, str]:
    names: list[str] = []

    def hear(event: AuditEvent) -> None:
        if isinstance(event, Started):
            names.append(event.audit)

    with closing(Journal(folder / "journal.sqlite")) as journal:
        outcome = run_audit(journal, bundle, suspect, options, on_event=hear)
    return outcome, names[0]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_no_question_is_asked_after_somebody_leads(
    world: LineUpWorld, bundle_path: Path, tmp_path: Path, concurrency: int
) -> None:
    bundle = read_bundle(bundle_path, OWNER_TRUST)
    suspect = suspect_of(world.derived(0), concurrency=concurrency)
    outcome, _ = audited(bundle, suspect, tmp_path)
    assert outcome.verdict is Verdict.DERIVED
    stop = outcome.scores[0].stopped_after
    assert stop is not None
    num_asked = sum(kind == LINE_UP_TAG for kind, _ in suspect.asked)
    assert stop <= num_asked < stop + concurrency


def test_the_race_of_a_record_is_run_again(
    world: LineUpWorld, bundle_path: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(bundle_path, OWNER_TRUST)
    outcome, audit = audited(bundle, suspect_of(world.derived(0)), tmp_path)
    record = tmp_path / "r.kinrecord"
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        write_record(
            record,
            record_bytes(draft_record(journal, audit), STRANGER_KEY, written=utc(time.time())),
        )
    verification = verify_record(record, bundle_path, TRUST)
    assert verification.result is Result.HOLDS, [
        check.text for check in verification.checks if check.status is Status.FAILED
    ]
    data = report_data(record, bundle_path, TRUST)
    assert data.outcome == outcome
    page = render_html(data)
    assert "learnt from this model" in page
    assert 'id="race-alt"' in page
    assert "siblings that were made like the source but for the chance in it" in page
    assert "a kind that is missing there" not in page
    assert "Line-up of the source among its siblings" in page


def test_an_audit_that_is_cut_goes_on_where_it_was(
    world: LineUpWorld, bundle_path: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(bundle_path, OWNER_TRUST)
    whole = world.derived(0)
    expected, _ = audited(bundle, suspect_of(whole), tmp_path)
    (tmp_path / "cut").mkdir()
    cut = AuditOptions(scores=("line-up",), stop_early=True, budget=20)
    first, _ = audited(bundle, suspect_of(whole), tmp_path / "cut", cut)
    assert first.verdict is Verdict.INCONCLUSIVE
    again = AuditOptions(scores=("line-up",), stop_early=True, resume=True)
    second, _ = audited(bundle, suspect_of(whole), tmp_path / "cut", again)
    assert second == expected


def test_the_score_of_the_line_up_needs_one(tmp_path: Path) -> None:
    world = LineUpWorld(num_questions=30)
    bare = BundleContents(
        manifest=world.bundle.manifest.model_copy(update={"line_up": None}),
        arrays=world.bundle.arrays,
        manifest_sha256="0" * 64,
        signer_key_id="0" * 64,
    )
    with pytest.raises(AuditError, match="this bundle has no line-up; its owner makes one with"):
        audited(bare, suspect_of(world.innocent()), tmp_path)


def test_inspect_says_who_stands_in_the_line_up_and_whether_it_is_fair(bundle_path: Path) -> None:
    found = inspect_bundle(bundle_path, OWNER_TRUST)
    rows = dict(found.rows())
    assert rows["line-up"] == "the source among 19 siblings, smallest p 0.05; 200 questions"
    assert rows["siblings by"].startswith("the owner's own training command")
    assert rows["fair"].startswith("nothing speaks against it")
    document = json.loads(found.to_json())
    assert document["line_up"]["is_fair"] is True
    assert set(document["line_up"]["figures"]) == {"accuracy", "loss", "confidence", "agreement"}
    assert document["line_up"]["questions"] == 200


def test_inspect_says_that_a_line_up_is_not_fair(tmp_path: Path) -> None:
    bundle = LineUpWorld(num_questions=30, better_source=-8.0).bundle
    path = tmp_path / "b.kinprint"
    write_bundle(path, bundle.manifest, bundle.arrays, OWNER_KEY, bundle.line_up)
    rows = dict(inspect_bundle(path, OWNER_TRUST).rows())
    assert rows["fair"].startswith(
        "the line-up is not fair: the source is worse trained than its siblings"
    )
