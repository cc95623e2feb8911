"""Asking a suspect again what a record says it answered."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worlds.audit_world import NUM_CONTROLS, QUERY, KnownSuspect, known_bundle, tagged
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_RECORD,
    TRUST,
    FakeSuspect,
    audited_contents,
    copy_rule,
    draft_id,
)

from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.bundle.manifest import BundleContents
from audit.journal.journal import Journal
from audit.records.ask_again import ask_again
from audit.records.check import Status
from audit.records.from_journal import export_record
from audit.records.record import Record, parse_record, read_record
from audit.verdict.outcome import Verdict
from audit.verdict.rule import MIN_QUERIES


def test_asking_again_lists_the_answers_that_differ() -> None:
    bundle = audited_contents()
    record = parse_record(GOLDEN_RECORD.read_bytes(), TRUST)

    def rule(kind: str, index: int, label: int) -> int:
        return 3 if (kind, index) == ("query", 1) else label

    reasked = ask_again(record, bundle, FakeSuspect(bundle, rule))
    (difference,) = reasked.differences
    assert (difference.question, difference.recorded, difference.given) == ("query/1", 1, 3)
    # 1 of 32 labels is more than 1 %
    assert reasked.check.status is Status.FAILED


def test_asking_the_same_suspect_again_changes_nothing() -> None:
    bundle = audited_contents()
    record = parse_record(GOLDEN_RECORD.read_bytes(), TRUST)
    suspect = FakeSuspect(bundle, copy_rule)
    reasked = ask_again(record, bundle, suspect)
    assert reasked.differences == ()
    assert reasked.check.status is Status.HELD
    assert sum(suspect.asked) == 32


def test_asking_another_file_again_is_refused_by_its_digest() -> None:
    bundle = audited_contents()
    record = parse_record(GOLDEN_RECORD.read_bytes(), TRUST)
    reasked = ask_again(record, bundle, FakeSuspect(bundle, copy_rule, digest="0" * 64))
    assert reasked.check.status is Status.FAILED
    assert "expected the file with SHA-256" in reasked.check.text


def recorded(
    tmp_path: Path, bundle: BundleContents, suspect: KnownSuspect, options: AuditOptions
) -> tuple[Record, BundleContents]:
    path = tmp_path / "asked.kinprint"
    write_bundle(path, bundle.manifest, bundle.arrays, OWNER_KEY)
    contents, journal = read_bundle(path, TRUST), Journal(tmp_path / "journal.sqlite")
    list(AuditSession(contents, suspect, journal, options).run())
    export_record(journal, draft_id(journal), tmp_path / "out.kinrecord", AUDITOR_KEY)
    journal.close()
    return read_record(tmp_path / "out.kinrecord", TRUST), contents


def bundle_of_a_hundred_questions() -> BundleContents:
    """`known_bundle` with 90 queries instead of 40, beside its 10 control images."""
    known, num = known_bundle(), 100 - NUM_CONTROLS
    arrays, num_models = known.arrays, len(known.manifest.models)
    return replace(
        known,
        arrays=replace(
            arrays,
            queries=tagged(QUERY, num),
            source_query_labels=np.zeros(num, np.int64),
            query_groups=np.arange(num),
            derived_probabilities=np.tile(arrays.derived_probabilities[:1], (num, 1)),
            innocent_probabilities=np.tile(arrays.innocent_probabilities[:1], (num, 1)),
            selection_rankings=np.empty((0, num, 0), np.int64),
            model_query_labels=np.tile(arrays.model_query_labels[:, :1], num),
            model_rankings=np.empty((num_models, num, 0), np.int64),
        ),
    )


@pytest.mark.parametrize(("num_changed", "status"), [(1, Status.HELD), (2, Status.FAILED)])
def test_one_label_in_a_hundred_may_be_another_machines_rounding(
    tmp_path: Path, num_changed: int, status: Status
) -> None:
    honest = KnownSuspect(lambda kind, index: 0)
    record, bundle = recorded(tmp_path, bundle_of_a_hundred_questions(), honest, AuditOptions())
    assert len(record.rows) == 100
    other = KnownSuspect(lambda kind, index: 2 if index < num_changed else 0)
    reasked = ask_again(record, bundle, other)
    assert len(reasked.differences) == num_changed
    assert reasked.check.status is status


def test_what_is_asked_again_is_judged_by_the_auditors_rule(tmp_path: Path) -> None:
    suspect = KnownSuspect(lambda kind, index: 0)
    record, bundle = recorded(tmp_path, known_bundle(), suspect, AuditOptions(stop_early=True))
    # Without the rule that let it stop early, so few queries would decide nothing.
    assert len(record.rows) < NUM_CONTROLS + MIN_QUERIES
    check = ask_again(record, bundle, suspect).check
    assert check.status is Status.HELD
    assert check.text == (
        f"0 of {len(record.rows)} labels differ; they give the same verdict, 'derived'."
    )


def test_probabilities_are_compared_again_where_the_verdict_rests_on_them(tmp_path: Path) -> None:
    options = AuditOptions(scores=("mfue-w",))
    near, far = (KnownSuspect(lambda kind, index: 0, probability=p) for p in (0.8, 0.99))
    record, bundle = recorded(tmp_path, known_bundle(), near, options)
    assert record.closing.outcome is not None
    assert record.closing.outcome.verdict is Verdict.DERIVED
    assert ask_again(record, bundle, near).check.status is Status.HELD
    # The same labels with a loss of 0.01, which is far from the source's 0.22.
    reasked = ask_again(record, bundle, far)
    assert reasked.differences == ()
    assert reasked.check.status is Status.FAILED
    assert "they give 'independent', the record says 'derived'" in reasked.check.text
