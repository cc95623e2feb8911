"""Verdict, report and screen compare a suspect with the same models on the same questions."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worlds.audit_world import (
    NUM_CONTROLS,
    NUM_MODELS,
    NUM_QUERIES,
    QUERY,
    K,
    KnownSuspect,
    known_bundle,
)
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import AUDITOR_KEY, TRUST, draft_id

from audit.answer import Answer
from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.bundle.manifest import BundleContents
from audit.journal.journal import Journal
from audit.records.from_journal import export_record
from audit.report.data import report_data
from audit.report.write import render_json
from audit.scores.comparison import compare, whole_scores
from audit.scores.evidence import query_evidence
from audit.tui.result_data import result_data
from audit.verdict.judge import judge
from audit.verdict.outcome import Verdict
from audit.verdict.rule import choose_rule

NUM_ALIKE = 20
"""Queries, the first ones, to which one innocent answers like the derived models."""
LIKE_DERIVED = np.log(0.75 / 0.20)


def late_bundle() -> BundleContents:
    """`known_bundle` whose first innocent gives itself away only after half of the queries.

    Its path gets as high as 20 L, as a derived model's does after 20 queries, and then falls.
    """
    known = known_bundle()
    labels = known.arrays.model_query_labels.copy()
    labels[0, :NUM_ALIKE] = 0
    return replace(known, arrays=replace(known.arrays, model_query_labels=labels))


def answers_like_derived(num: int) -> Mapping[str, Answer]:
    given = {f"control/{index}": index % K for index in range(NUM_CONTROLS)}
    given |= {f"query/{index}": 0 for index in range(num)}
    return {name: Answer(label=label, log_probabilities=None) for name, label in given.items()}


def test_innocents_count_by_the_highest_point_of_their_whole_path() -> None:
    bundle = late_bundle()
    rule = choose_rule(bundle.manifest, alpha=None, beta=None, stop_early=True)
    outcome = judge(bundle, answers_like_derived(NUM_QUERIES), ("likelihood-ratio",), rule)
    (score,) = outcome.scores
    assert outcome.verdict is Verdict.DERIVED
    # Up to the 20th query one innocent gave the same answers: the 21st tells.
    assert score.stopped_after == NUM_ALIKE + 1
    assert score.num_as_high == 0
    assert "none ever got as high: p = 0.100" in outcome.text
    found = compare(
        bundle,
        answers_like_derived(NUM_QUERIES),
        "likelihood-ratio",
        num_first=score.stopped_after,
    )
    assert found.value == pytest.approx(LIKE_DERIVED, abs=1e-3)
    assert found.models[0] == pytest.approx(LIKE_DERIVED * 19 / 21, abs=1e-3)


def test_thresholds_after_an_early_stop_are_those_of_the_queries_that_were_asked() -> None:
    bundle = late_bundle()
    rule = choose_rule(bundle.manifest, alpha=None, beta=None, stop_early=True)
    (score,) = judge(bundle, answers_like_derived(30), ("likelihood-ratio",), rule).scores
    # half-way from the highest innocent, 19/21 L, to the median derived model, L
    assert score.derived_above == pytest.approx(LIKE_DERIVED * 20 / 21, abs=1e-3)
    whole = whole_scores(bundle, "likelihood-ratio")
    assert whole[0] == pytest.approx(0, abs=1e-12)


def test_answers_that_came_after_the_stop_count_nowhere() -> None:
    bundle, given = late_bundle(), answers_like_derived(NUM_QUERIES)
    assert len(compare(bundle, given, "likelihood-ratio", num_first=7).asked) == 7
    evidence = query_evidence(bundle, given, "likelihood-ratio", num_first=7)
    assert evidence is not None
    assert evidence.queries.tolist() == list(range(7))


def test_report_and_screen_show_what_the_verdict_counted(tmp_path: Path) -> None:
    path = tmp_path / "late.kinprint"
    late = late_bundle()
    write_bundle(path, late.manifest, late.arrays, OWNER_KEY)
    bundle, journal = read_bundle(path, TRUST), Journal(tmp_path / "journal.sqlite")
    # 16 at once, so that answers beyond the stop are in the record, too
    suspect = KnownSuspect(lambda kind, index: 0 if kind == QUERY else 1, batch_size=16)
    list(AuditSession(bundle, suspect, journal, AuditOptions(stop_early=True)).run())
    audit = draft_id(journal)
    export_record(journal, audit, tmp_path / "out.kinrecord", AUDITOR_KEY)
    journal.close()
    data = report_data(tmp_path / "out.kinrecord", path, TRUST)
    assert data.outcome is not None
    (score,) = data.outcome.scores
    shown = result_data(tmp_path / "journal.sqlite", audit, bundle=bundle)
    (strip,) = shown.strips
    values = [value for row in strip.rows if not row.is_derived for value in row.values]
    assert len(values) == NUM_MODELS
    assert sum(value >= score.value for value in values) == score.num_as_high == 0
    assert data.evidence is not None
    num_answered = sum(row.question.startswith("query/") for row in data.record.rows)
    assert len(data.evidence.queries) == score.num_queries < num_answered
    assert float(data.evidence.suspect.mean()) == pytest.approx(score.value)
    assert render_json(data)
