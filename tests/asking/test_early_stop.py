"""Audits that stop when the verdict is certain enough: asked, resumed, recorded, recomputed."""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from worlds.audit_world import (
    CONTROL,
    NUM_CONTROLS,
    NUM_QUERIES,
    QUERY,
    K,
    KnownSuspect,
    known_bundle,
)
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import AUDITOR_KEY, TRUST, draft_id, forged

from audit.answer import Answer
from audit.asking.events import Finished
from audit.asking.options import AuditOptions
from audit.asking.second_questions import NUM_FIRST
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.bundle.manifest import BundleContents
from audit.journal.journal import Journal
from audit.records.check import Status
from audit.records.from_journal import export_record
from audit.records.verify import Result, Verification, verify_record
from audit.verdict.judge import judge
from audit.verdict.outcome import Verdict
from audit.verdict.rule import DecisionRule

Lines = list[dict[str, object]]


def wide_bundle() -> BundleContents:
    """`known_bundle` with models that take after the other kind for a while.

    One innocent answers the first 7 of 40 queries like derived models and two derived ones do the
    opposite, so that it takes 8 to be derived; alpha = 0.1, beta = 0.2.
    """
    known = known_bundle()
    labels = known.arrays.model_query_labels.copy()
    labels[0, :7], labels[-2:, :7] = 0, 1
    return replace(known, arrays=replace(known.arrays, model_query_labels=labels))


@pytest.fixture
def bundle_path(tmp_path: Path) -> Path:
    known, path = wide_bundle(), tmp_path / "known.kinprint"
    write_bundle(path, known.manifest, known.arrays, OWNER_KEY)
    return path


def stopping_session(
    bundle: BundleContents, suspect: KnownSuspect, journal: Journal, *, resume: bool = False
) -> AuditSession:
    options = AuditOptions(beta=0.2, stop_early=True, resume=resume)
    return AuditSession(bundle, suspect, journal, options)


def record_of(tmp_path: Path, bundle_path: Path, suspect: KnownSuspect) -> Path:
    bundle, journal = read_bundle(bundle_path, TRUST), Journal(tmp_path / "journal.sqlite")
    list(stopping_session(bundle, suspect, journal).run())
    out = tmp_path / "out.kinrecord"
    export_record(journal, draft_id(journal), out, AUDITOR_KEY)
    journal.close()
    return out


def failure(verification: Verification) -> tuple[str, str]:
    assert verification.result is Result.REFUSED
    (found,) = [check for check in verification.checks if check.status is Status.FAILED]
    return found.name, found.text


@pytest.mark.parametrize(
    ("label", "verdict"),
    [(0, Verdict.DERIVED), (1, Verdict.INDEPENDENT)],
)
def test_nothing_is_asked_that_the_verdict_does_not_need(
    tmp_path: Path, label: int, verdict: Verdict
) -> None:
    suspect = KnownSuspect(lambda kind, index: label)
    journal = Journal(tmp_path / "journal.sqlite")
    *_, last = stopping_session(wide_bundle(), suspect, journal).run()
    assert isinstance(last, Finished)
    assert (last.outcome.verdict, last.is_complete) == (verdict, True)
    num_queries = last.outcome.scores[0].num_queries
    assert num_queries < NUM_QUERIES
    num_controls = last.outcome.control.num_images
    assert suspect.asked == [
        *((CONTROL, index) for index in range(num_controls)),
        *((QUERY, index) for index in range(num_queries)),
        *((QUERY, index) for index in range(NUM_FIRST) if verdict is Verdict.INDEPENDENT),
    ]


@pytest.mark.parametrize(
    ("label", "num", "p_value", "p_derived"),
    # Class 2 says nothing either way: a path at 0, which one innocent passes and no derived model.
    [(0, 8, 0.1, 1.0), (1, 22, 1.0, 0.1), (2, 40, 0.2, 0.1)],
)
def test_the_p_values_of_an_early_stop_are_ranks_of_extremes_and_nothing_more(
    label: int, num: int, p_value: float, p_derived: float
) -> None:
    rule = DecisionRule(alpha=0.1, beta=0.2, stopping_error=0.01)
    labels = {f"control/{index}": index % K for index in range(NUM_CONTROLS)}
    labels |= {f"query/{index}": label for index in range(NUM_QUERIES)}
    answers = {name: Answer(label=one, log_probabilities=None) for name, one in labels.items()}
    (score,) = judge(wide_bundle(), answers, ("likelihood-ratio",), rule).scores
    assert (score.num_queries, score.stopped_early) == (num, label != 2)
    assert score.p_value == pytest.approx(p_value)
    assert score.p_derived == pytest.approx(p_derived)


def test_requests_in_flight_are_all_that_is_asked_beyond(tmp_path: Path) -> None:
    suspect = KnownSuspect(lambda kind, index: 0, concurrency=4)
    journal = Journal(tmp_path / "journal.sqlite")
    *_, last = stopping_session(wide_bundle(), suspect, journal).run()
    assert isinstance(last, Finished)
    (score,) = last.outcome.scores
    num_queries = sum(kind == QUERY for kind, _ in suspect.asked)
    assert score.num_queries <= num_queries <= score.num_queries + 4


def test_a_late_answer_keeps_the_others_from_running_ahead(tmp_path: Path) -> None:
    class Late(KnownSuspect):
        def predict(self, images):  # type: ignore[no-untyped-def]
            if tuple(images[0, 0, 0, :2]) == (QUERY, 10):
                while self.furthest() < 13:
                    time.sleep(0.001)
                time.sleep(0.1)  # to go on, if anybody does
                self.ahead = self.furthest()
            return super().predict(images)

        def furthest(self) -> int:
            return max(index for kind, index in self.asked if kind == QUERY)

    suspect = Late(lambda kind, index: 1, concurrency=4)
    journal = Journal(tmp_path / "journal.sqlite")
    *_, last = stopping_session(wide_bundle(), suspect, journal).run()
    assert isinstance(last, Finished)
    assert suspect.ahead == 13


def test_a_suspect_that_fails_the_controls_is_found_out_early(tmp_path: Path) -> None:
    class Wrong(KnownSuspect):
        def predict(self, images):  # type: ignore[no-untyped-def]
            answer = super().predict(images)
            answer.labels[:] = (answer.labels + 1) % 3
            return answer

    suspect = Wrong(lambda kind, index: 0)
    journal = Journal(tmp_path / "journal.sqlite")
    *_, last = stopping_session(wide_bundle(), suspect, journal).run()
    assert isinstance(last, Finished)
    assert last.outcome.verdict is Verdict.NOT_COMPARABLE
    # ten controls and a floor of 6: five wrong ones rule it out
    assert len(suspect.asked) == last.outcome.control.num_images <= 5


def test_an_interrupted_audit_goes_on_to_the_same_stop(tmp_path: Path) -> None:
    bundle, journal = wide_bundle(), Journal(tmp_path / "journal.sqlite")
    events = stopping_session(bundle, KnownSuspect(lambda kind, index: 0), journal).run()
    interrupted = list(islice(events, NUM_CONTROLS + 4))
    del events
    assert not any(isinstance(event, Finished) for event in interrupted)
    suspect = KnownSuspect(lambda kind, index: 0)
    *_, last = stopping_session(bundle, suspect, journal, resume=True).run()
    whole = KnownSuspect(lambda kind, index: 0)
    other = Journal(tmp_path / "other.sqlite")
    *_, expected = stopping_session(bundle, whole, other).run()
    assert isinstance(last, Finished)
    assert isinstance(expected, Finished)
    assert last.outcome.scores == expected.outcome.scores
    assert 0 < len(suspect.asked) < len(whole.asked)


@pytest.mark.parametrize("label", [0, 1])
def test_a_record_of_an_early_stop_is_recomputed(
    tmp_path: Path, bundle_path: Path, label: int
) -> None:
    out = record_of(tmp_path, bundle_path, KnownSuspect(lambda kind, index: label, concurrency=3))
    verification = verify_record(out, bundle_path, TRUST)
    assert verification.result is Result.HOLDS
    assert verification.outcome is not None
    assert verification.outcome.scores[0].stopped_early
    told = {check.name: check for check in verification.checks}
    assert "were not needed" in told["completeness"].text
    # beta was the auditor's choice, and a reader is told
    assert told["error rates"].status is Status.OPEN
    assert "chosen by the auditor; the bundle names 0.1 and 0.1" in told["error rates"].text


def drop_last(lines: Lines) -> None:
    del lines[-2]
    lines[-1]["num_answers"] = len(lines) - 2


def allow_more_error(lines: Lines) -> None:
    settings = lines[0]["settings"]
    assert isinstance(settings, dict)
    settings["stopping_error"] = "0.05"


def no_rate(lines: Lines) -> None:
    settings = lines[0]["settings"]
    assert isinstance(settings, dict)
    settings["alpha"] = "often"


@pytest.mark.parametrize(
    ("change", "check", "told"),
    [
        (drop_last, "completeness", "expected an answer, got none"),
        (allow_more_error, "recomputation", "does not follow from the answers"),
        (no_rate, "completeness", "settings: alpha: expected a rate, got 'often'"),
    ],
)
def test_a_record_that_stopped_where_it_should_not_is_refused(
    tmp_path: Path,
    bundle_path: Path,
    change: Callable[[Lines], None],
    check: str,
    told: str,
) -> None:
    out = record_of(tmp_path, bundle_path, KnownSuspect(lambda kind, index: 0))
    out.write_bytes(forged(out.read_bytes(), change, AUDITOR_KEY))
    name, text = failure(verify_record(out, bundle_path, TRUST))
    assert name == check
    assert told in text
