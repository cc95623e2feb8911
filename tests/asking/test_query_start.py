"""Where an audit begins in the signed order: anywhere, and wherever it began for good."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from worlds.audit_world import NUM_CONTROLS, NUM_QUERIES, QUERY, K, KnownSuspect, known_bundle
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    GOLDEN_RECORD,
    TRUST,
    FakeSuspect,
    audited_contents,
    copy_rule,
    draft_id,
    finish_audit,
    forged,
)

from audit.answer import Answer
from audit.asking.events import Finished
from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.bundle.manifest import BundleContents
from audit.bundle.query_order import draw_start, query_order, started
from audit.errors import AuditError
from audit.journal.audits import audit_entry
from audit.journal.journal import Journal
from audit.records.check import Status
from audit.records.from_journal import export_record
from audit.records.verify import Result, verify_record
from audit.scores.evidence import query_evidence
from audit.verdict.early_stop import path_boundaries
from audit.verdict.judge import judge
from audit.verdict.outcome import Outcome
from audit.verdict.rule import DecisionRule

START = 37
LAST = [*range(START, NUM_QUERIES), *range(START)]
"""All queries in the order of an audit that begins with number 37."""
RULE = DecisionRule(alpha=0.1, beta=0.2, stopping_error=0.01)


def noisy_bundle() -> BundleContents:
    """`known_bundle` whose models take after the other kind at queries of their own."""
    known = known_bundle()
    labels = known.arrays.model_query_labels.copy()
    rows, columns = np.indices(labels.shape)
    is_odd = (rows * 7 + columns * columns * 3) % 11 < 2
    return replace(
        known, arrays=replace(known.arrays, model_query_labels=np.where(is_odd, 1 - labels, labels))
    )


def rolled(bundle: BundleContents) -> BundleContents:
    """Return the bundle that an owner would have signed with query 37 first."""
    arrays = bundle.arrays
    return replace(
        bundle,
        arrays=replace(
            arrays,
            queries=np.roll(arrays.queries, -START, axis=0),
            source_query_labels=np.roll(arrays.source_query_labels, -START),
            query_groups=np.roll(arrays.query_groups, -START),
            derived_probabilities=np.roll(arrays.derived_probabilities, -START, axis=0),
            innocent_probabilities=np.roll(arrays.innocent_probabilities, -START, axis=0),
            selection_rankings=np.roll(arrays.selection_rankings, -START, axis=1),
            model_query_labels=np.roll(arrays.model_query_labels, -START, axis=1),
            model_rankings=np.roll(arrays.model_rankings, -START, axis=1),
        ),
    )


def answers(labels: Mapping[int, int]) -> dict[str, Answer]:
    given = {f"control/{index}": index % K for index in range(NUM_CONTROLS)}
    given |= {f"query/{index}": label for index, label in labels.items()}
    return {name: Answer(label=one, log_probabilities=None) for name, one in given.items()}


def suspect_label(index: int) -> int:
    return 1 if index % 4 else 0


@pytest.fixture
def begun_late(monkeypatch: pytest.MonkeyPatch, begun_at_the_first_query: None) -> None:
    monkeypatch.setattr("audit.asking.session.draw_start", lambda num_queries: START)


def recorded(tmp_path: Path, suspect: KnownSuspect) -> Path:
    known, path = noisy_bundle(), tmp_path / "known.kinprint"
    write_bundle(path, known.manifest, known.arrays, OWNER_KEY)
    bundle, journal = read_bundle(path, TRUST), Journal(tmp_path / "journal.sqlite")
    options = AuditOptions(beta=0.2, stop_early=True)
    list(AuditSession(bundle, suspect, journal, options).run())
    out = tmp_path / "out.kinrecord"
    export_record(journal, draft_id(journal), out, AUDITOR_KEY)
    journal.close()
    return out


def test_every_query_is_as_likely_to_come_first() -> None:
    starts = [draw_start(4) for _ in range(400)]
    assert set(starts) == {0, 1, 2, 3}
    # Binomial(400, 1/4) has mean 100 and standard deviation 8.7: six of them are never left.
    assert all(48 < starts.count(start) < 152 for start in range(4))


@pytest.mark.usefixtures("begun_late")
def test_queries_are_asked_round_from_the_start_that_was_drawn(tmp_path: Path) -> None:
    suspect = KnownSuspect(lambda kind, index: 0)
    *_, last = AuditSession(known_bundle(), suspect, Journal(None)).run()
    assert isinstance(last, Finished)
    assert [index for kind, index in suspect.asked if kind == QUERY] == LAST


@pytest.mark.usefixtures("begun_late")
def test_a_resumed_audit_goes_on_from_where_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    journal, suspect = Journal(None), KnownSuspect(lambda kind, index: 0)
    session = AuditSession(known_bundle(), suspect, journal)
    list(islice(session.run(), NUM_CONTROLS + 8))
    monkeypatch.setattr("audit.asking.session.draw_start", lambda num_queries: 5)
    list(AuditSession(known_bundle(), suspect, journal, AuditOptions(resume=True)).run())
    assert [index for kind, index in suspect.asked if kind == QUERY] == LAST


def judged(bundle: BundleContents, labels: Mapping[int, int]) -> Outcome:
    return judge(bundle, answers(labels), ("likelihood-ratio",), RULE)


@pytest.mark.parametrize("num", [NUM_QUERIES, 26, 9])
def test_a_verdict_is_that_of_a_bundle_signed_in_this_order(num: int) -> None:
    bundle = noisy_bundle()
    begun = started(bundle, {"start": str(START)})
    asked = {index: suspect_label(index) for index in LAST[:num]}
    moved = {place: suspect_label(index) for place, index in enumerate(LAST[:num])}
    assert judged(begun, asked) == judged(rolled(bundle), moved)
    assert judged(begun, asked) != judged(bundle, asked)


def test_what_is_drawn_runs_in_the_order_of_asking() -> None:
    bundle = noisy_bundle()
    begun, other = started(bundle, {"start": str(START)}), rolled(bundle)
    mine, theirs = (path_boundaries(one, RULE, "likelihood-ratio") for one in (begun, other))
    assert mine is not None
    assert theirs is not None
    assert mine.derived.tolist() == theirs.derived.tolist()
    assert mine.independent.tolist() == theirs.independent.tolist()
    evidence = query_evidence(
        begun, answers({index: 0 for index in LAST[:5]}), "likelihood-ratio", num_first=4
    )
    assert evidence is not None
    assert evidence.queries.tolist() == LAST[:4]


@pytest.mark.usefixtures("begun_late")
def test_a_record_says_where_its_audit_began_and_verify_goes_the_same_way(tmp_path: Path) -> None:
    out = recorded(tmp_path, KnownSuspect(lambda kind, index: suspect_label(index)))
    verification = verify_record(out, tmp_path / "known.kinprint", TRUST)
    assert verification.result is Result.HOLDS, verification.checks[-1]
    assert verification.record is not None
    assert verification.record.opening.settings["start"] == str(START)
    (told,) = [check.text for check in verification.checks if check.name == "order of asking"]
    assert told == (
        "The questions were asked in the bundle's order, control images first, queries from number "
        "37 on."
    )


@pytest.mark.usefixtures("begun_late")
@pytest.mark.parametrize(
    ("start", "name", "message"),
    [
        ("38", "order of asking", "query/38: asked after query/37, against the bundle's order"),
        ("36", "completeness", "expected an answer, got none"),
        ("40", "questions", "start: expected the number of one of 40 queries, from 0 on, got '40'"),
        ("037", "questions", "got '037'"),
        (None, "order of asking", "query/0: asked after query/39"),
    ],
)
def test_a_record_with_another_start_is_refused(
    tmp_path: Path, start: str | None, name: str, message: str
) -> None:
    def change(lines: list[dict[str, object]]) -> None:
        settings = lines[0]["settings"]
        assert isinstance(settings, dict)
        settings.pop("start")
        if start is not None:
            settings["start"] = start

    out = recorded(tmp_path, KnownSuspect(lambda kind, index: 0))
    out.write_bytes(forged(out.read_bytes(), change, AUDITOR_KEY))
    verification = verify_record(out, tmp_path / "known.kinprint", TRUST)
    (failed,) = [check for check in verification.checks if check.status is Status.FAILED]
    assert failed.name == name
    assert message in failed.text


def test_an_audit_of_before_begins_at_the_first_query() -> None:
    assert query_order(started(known_bundle(), {})).tolist() == list(range(NUM_QUERIES))
    with pytest.raises(AuditError, match="start: expected the number of one of 40 queries"):
        started(known_bundle(), {"start": "-1"})


@pytest.mark.usefixtures("begun_late")
def test_a_file_is_asked_from_the_first_query_on(tmp_path: Path) -> None:
    bundle, journal = audited_contents(), Journal(None)
    audit = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
    entry = audit_entry(journal, audit)
    assert entry is not None
    assert "start" not in entry.settings


def test_a_record_of_a_file_that_begins_elsewhere_is_refused(tmp_path: Path) -> None:
    def change(lines: list[dict[str, object]]) -> None:
        settings = lines[0]["settings"]
        assert isinstance(settings, dict)
        settings["start"] = "3"

    path = tmp_path / "moved.kinrecord"
    path.write_bytes(forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY))
    verification = verify_record(path, GOLDEN_BUNDLE, TRUST)
    (failed,) = [check for check in verification.checks if check.status is Status.FAILED]
    assert failed.text == (
        "settings: start: expected none, because a file is asked from the first query on"
    )
