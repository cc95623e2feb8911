import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from worlds.audit_world import NUM_CONTROLS, NUM_QUERIES, QUERY, KnownSuspect, known_bundle

from adapters.suspect import Predictions, SuspectError, SuspectIdentity
from audit.asking.events import Answered, ControlsChecked, Finished, Started
from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.errors import AuditError, JournalError, MismatchError
from audit.journal.journal import AskedBundle, Asking, Journal
from audit.verdict.outcome import Verdict

ALL = NUM_CONTROLS + NUM_QUERIES


def finished(session: AuditSession) -> Finished:
    *_, last = session.run()
    assert isinstance(last, Finished)
    return last


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def test_controls_are_asked_and_checked_before_the_first_query(journal: Journal) -> None:
    suspect = KnownSuspect(lambda kind, index: 0)
    events = list(AuditSession(known_bundle(), suspect, journal).run())
    checked = next(i for i, event in enumerate(events) if isinstance(event, ControlsChecked))
    before = [event for event in events[:checked] if isinstance(event, Answered)]
    assert isinstance(events[0], Started)
    assert [q for event in before for q in event.questions] == [
        f"control/{index}" for index in range(NUM_CONTROLS)
    ]
    assert isinstance(events[-1], Finished)
    assert events[-1].outcome.verdict is Verdict.DERIVED


def test_a_suspect_with_wrong_controls_never_sees_a_query(journal: Journal) -> None:
    class Wrong(KnownSuspect):
        def predict(self, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Predictions:
            right = super().predict(images).labels
            return Predictions(labels=(right + 1) % 3)

    suspect = Wrong(lambda kind, index: 0)
    assert finished(AuditSession(known_bundle(), suspect, journal)).outcome.verdict is (
        Verdict.NOT_COMPARABLE
    )
    assert len(suspect.asked) == NUM_CONTROLS


@pytest.mark.parametrize(("batch_size", "concurrency"), [(1, 1), (7, 1), (1, 4), (3, 3), (500, 1)])
def test_every_question_is_asked_once_whatever_the_batches(
    journal: Journal, batch_size: int, concurrency: int
) -> None:
    suspect = KnownSuspect(lambda kind, index: 1, batch_size=batch_size, concurrency=concurrency)
    last = finished(AuditSession(known_bundle(), suspect, journal))
    assert last.outcome.verdict is Verdict.INDEPENDENT
    *asked, one, two, three = suspect.asked
    assert len(asked) == len(set(asked)) == ALL
    # before anybody is cleared, the first queries come once more
    assert {one, two, three} == {(QUERY, 0), (QUERY, 1), (QUERY, 2)}


def test_several_questions_are_on_their_way_at_once(journal: Journal) -> None:
    barrier = threading.Barrier(4, timeout=100)

    class Waiting(KnownSuspect):
        def predict(self, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Predictions:
            if images[0, 0, 0, 0] == QUERY:
                barrier.wait()  # breaks unless four calls are inside
            return super().predict(images)

    suspect = Waiting(lambda kind, index: 0, concurrency=4)
    finished(AuditSession(known_bundle(), suspect, journal))


def test_a_file_is_asked_one_batch_after_the_other_while_another_waits(journal: Journal) -> None:
    inside, threads = threading.Lock(), set[int]()

    class File(KnownSuspect):
        @property
        def identity(self) -> SuspectIdentity:
            return SuspectIdentity(kind="onnx", name="known", digest="0" * 64)

        def predict(self, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Predictions:
            assert inside.acquire(blocking=False)
            threads.add(threading.get_ident())
            time.sleep(0.002)  # the other one comes meanwhile
            inside.release()
            return super().predict(images)

    suspect = File(lambda kind, index: 0)
    finished(AuditSession(known_bundle(), suspect, journal))
    assert len(suspect.asked) == ALL
    assert len(threads) > 1


def test_an_answer_is_on_disk_before_its_event_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    session = AuditSession(known_bundle(), KnownSuspect(lambda kind, index: 0), Journal(path))
    for event in session.run():
        if isinstance(event, Answered):
            with sqlite3.connect(path) as other:
                stored = {row[0] for row in other.execute("SELECT question FROM answers")}
            other.close()
            assert set(event.questions) <= stored


def test_an_interrupted_audit_goes_on_and_asks_nothing_twice(journal: Journal) -> None:
    whole = finished(
        AuditSession(known_bundle(), KnownSuspect(lambda kind, index: int(index % 3 > 0)), journal)
    )
    for cut in (1, NUM_CONTROLS, NUM_CONTROLS + 1, ALL - 1):
        first = KnownSuspect(lambda kind, index: int(index % 3 > 0))
        events = AuditSession(known_bundle(), first, journal).run()
        num = 0
        for event in events:
            num += len(event.questions) if isinstance(event, Answered) else 0
            if num >= cut:
                break
        events.close()  # type: ignore[attr-defined]  # a generator
        second = KnownSuspect(lambda kind, index: int(index % 3 > 0))
        resumed = finished(AuditSession(known_bundle(), second, journal, AuditOptions(resume=True)))
        assert not set(first.asked) & set(second.asked)
        assert len(first.asked) + len(second.asked) == ALL
        assert resumed.outcome == whole.outcome


def test_answers_under_way_when_the_suspect_fails_are_kept(journal: Journal) -> None:
    class Failing(KnownSuspect):
        def predict(self, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Predictions:
            if tuple(images[0, 0, 0, :2]) == (QUERY, 5):
                raise SuspectError("gone")
            time.sleep(0.01)
            return super().predict(images)

    first = Failing(lambda kind, index: 0, concurrency=4)
    with pytest.raises(SuspectError, match="gone"):
        finished(AuditSession(known_bundle(), first, journal))
    second = KnownSuspect(lambda kind, index: 0)
    finished(AuditSession(known_bundle(), second, journal, AuditOptions(resume=True)))
    assert not set(first.asked) & set(second.asked)
    assert len(first.asked) + len(second.asked) == ALL


def test_resume_without_anything_to_resume_says_so(journal: Journal) -> None:
    with pytest.raises(AuditError, match="no unfinished audit of known"):
        AuditSession(
            known_bundle(), KnownSuspect(lambda kind, index: 0), journal, AuditOptions(resume=True)
        )


def test_an_audit_is_not_resumed_with_another_preprocessing(journal: Journal) -> None:
    class Read(KnownSuspect):
        preprocessing = "RGB"

        @property
        def identity(self) -> SuspectIdentity:
            details = {"preprocessing": self.preprocessing}
            return SuspectIdentity(kind="test", name="known", digest="0" * 64, details=details)

    suspect = Read(lambda kind, index: 0)
    finished(AuditSession(known_bundle(), suspect, journal, AuditOptions(budget=NUM_CONTROLS + 5)))
    suspect.preprocessing = "BGR"
    with pytest.raises(AuditError, match="no unfinished audit"):
        AuditSession(known_bundle(), suspect, journal, AuditOptions(resume=True))
    suspect.preprocessing = "RGB"
    AuditSession(known_bundle(), suspect, journal, AuditOptions(resume=True))


def test_a_finished_audit_is_not_resumed(journal: Journal) -> None:
    finished(AuditSession(known_bundle(), KnownSuspect(lambda kind, index: 0), journal))
    with pytest.raises(AuditError, match="no unfinished audit"):
        AuditSession(
            known_bundle(), KnownSuspect(lambda kind, index: 0), journal, AuditOptions(resume=True)
        )


@pytest.mark.parametrize(
    ("stop_early", "verdict"), [(True, Verdict.DERIVED), (False, Verdict.INCONCLUSIVE)]
)
def test_a_budget_ends_in_a_verdict_only_where_the_audit_may_stop_anywhere(
    journal: Journal, verdict: Verdict, *, stop_early: bool
) -> None:
    # Whoever chooses the budget chooses the prefix: of a test over all queries it is no test.
    suspect = KnownSuspect(lambda kind, index: 0)
    options = AuditOptions(budget=NUM_CONTROLS + 25, stop_early=stop_early)
    last = finished(AuditSession(known_bundle(), suspect, journal, options))
    assert (last.is_complete, last.outcome.verdict) == (stop_early, verdict)
    assert "Asking ended after 25 of 40 queries" in last.outcome.text or stop_early


def test_a_budget_that_is_too_small_can_be_resumed_with_a_larger_one(journal: Journal) -> None:
    first = KnownSuspect(lambda kind, index: 0)
    last = finished(
        AuditSession(known_bundle(), first, journal, AuditOptions(budget=NUM_CONTROLS + 5))
    )
    assert (last.is_complete, last.outcome.verdict) == (False, Verdict.INCONCLUSIVE)
    second = KnownSuspect(lambda kind, index: 0)
    last = finished(AuditSession(known_bundle(), second, journal, AuditOptions(resume=True)))
    assert (last.is_complete, last.outcome.verdict) == (True, Verdict.DERIVED)
    assert not set(first.asked) & set(second.asked)


def test_a_budget_within_the_controls_is_refused(journal: Journal) -> None:
    with pytest.raises(AuditError, match="budget: expected more than the 10 control images"):
        AuditSession(
            known_bundle(), KnownSuspect(lambda kind, index: 0), journal, AuditOptions(budget=10)
        )


def test_a_class_outside_the_bundle_stops_the_audit(journal: Journal) -> None:
    session = AuditSession(known_bundle(), KnownSuspect(lambda kind, index: 7), journal)
    with pytest.raises(MismatchError, match="expected classes 0 to 2, got 7"):
        finished(session)


def test_an_unknown_score_names_the_known_ones(journal: Journal) -> None:
    suspect = KnownSuspect(lambda kind, index: 0)
    with pytest.raises(AuditError, match=r"likelihood-ratio, matching-rate, .*line-up, got .auc."):
        AuditSession(known_bundle(), suspect, journal, AuditOptions(scores=("auc",)))


def test_a_score_that_needs_probabilities_is_refused_for_labels(journal: Journal) -> None:
    suspect = KnownSuspect(lambda kind, index: 0)
    with pytest.raises(AuditError, match="mfue-w needs probabilities"):
        AuditSession(known_bundle(), suspect, journal, AuditOptions(scores=("mfue-w",)))


def test_all_scores_are_computed_side_by_side_from_one_audit(journal: Journal) -> None:
    suspect = KnownSuspect(lambda kind, index: 0, batch_size=16, probability=0.8)
    scores = ("likelihood-ratio", "mfue-w")
    outcome = finished(
        AuditSession(known_bundle(), suspect, journal, AuditOptions(scores=scores))
    ).outcome
    assert [score.name for score in outcome.scores] == list(scores)
    assert outcome.scores[1].value == 1.0  # the same loss as the source on every trigger


def test_the_same_question_cannot_be_journaled_twice(journal: Journal) -> None:
    identity = SuspectIdentity(kind="test", name="x", digest="0" * 64)
    bundle = AskedBundle(sha256="0" * 64, signer_key_id="0" * 64, manifest=b"{}")
    audit = journal.begin(bundle, identity, {})
    answer = Predictions(labels=np.array([1]))
    asking = Asking(
        run=1, request=1, sequence=1, asked=0.0, latency_s=0.1, image_sha256=("0" * 64,)
    )
    journal.write(audit, ["query/0"], answer, asking)
    with pytest.raises(JournalError, match="already holds an answer"):
        journal.write(audit, ["query/0"], answer, asking)


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look like one " * 10)
    with pytest.raises(JournalError, match=r"expected a journal of Kinprint, got .*notes\.txt"):
        Journal(path)


class SlowSuspect(KnownSuspect):
    """Writes down what it was asked, then takes its time to answer."""

    def __init__(self, log: Path) -> None:
        super().__init__(lambda kind, index: int(index % 3 > 0), concurrency=2)
        self._log = log

    def predict(self, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Predictions:
        with self._log.open("a") as log:
            log.write(f"{images[0, 0, 0, 0]}/{images[0, 0, 0, 1]}\n")
        time.sleep(0.005)
        return super().predict(images)


def _run_slowly(path: Path, log: Path, resume: bool) -> None:
    session = AuditSession(
        known_bundle(), SlowSuspect(log), Journal(path), AuditOptions(resume=resume)
    )
    for _ in session.run():
        pass


def _num_answers(path: Path) -> int:
    database = sqlite3.connect(path)
    try:
        return int(database.execute("SELECT count(*) FROM answers").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # not made yet
    finally:
        database.close()


def test_kill_9_at_any_moment_loses_no_answer_and_repeats_only_what_was_in_flight(
    tmp_path: Path,
) -> None:
    path, log = tmp_path / "journal.sqlite", tmp_path / "asked.txt"
    fork = multiprocessing.get_context("fork")
    kills = 0
    for target in (1, 3, 8, 11, 15, 22, 30, 41):
        process = fork.Process(target=_run_slowly, args=(path, log, kills > 0))
        process.start()
        while process.is_alive() and _num_answers(path) < target:
            time.sleep(0.001)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += 1
    _run_slowly(path, log, resume=True)
    asked = log.read_text().split()
    with sqlite3.connect(path) as database:
        (answered,) = database.execute("SELECT count(*) FROM answers").fetchone()
        (outcome,) = database.execute("SELECT outcome_json FROM audits").fetchone()
    database.close()
    undisturbed = finished(
        AuditSession(
            known_bundle(),
            KnownSuspect(lambda k, i: int(i % 3 > 0)),
            Journal(tmp_path / "other.sqlite"),
        )
    )
    assert answered == ALL
    assert outcome == undisturbed.outcome.model_dump_json()
    # Two workers: at most two questions were in flight at each kill.
    assert len(asked) <= ALL + 2 * kills
