import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.audit_world import NUM_CONTROLS, NUM_QUERIES, KnownSuspect, known_bundle

from adapters.suspect import Predictions
from audit.asking.events import Answered, AuditEvent, Finished, Standing, Stopped
from audit.asking.options import AuditOptions
from audit.asking.pause_and_stop import AuditControl
from audit.asking.session import AuditSession
from audit.journal.journal import Journal

ALL = NUM_CONTROLS + NUM_QUERIES


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


class ActsWhenAsked(KnownSuspect):
    """Does something at its question number ``num``.

    Whoever hears of an answer may hear of it late, when all the other questions have left.
    """

    def __init__(self, num: int, act: Callable[[], None], *, concurrency: int = 1) -> None:
        super().__init__(lambda kind, index: 0, concurrency=concurrency)
        self._num, self._act = num, act

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        predictions = super().predict(images)
        if len(self.asked) >= self._num:
            act, self._act = self._act, lambda: None
            act()
        return predictions


def answered(events: list[AuditEvent]) -> int:
    return sum(len(event.questions) for event in events if isinstance(event, Answered))


@pytest.mark.parametrize("cut", [3, NUM_CONTROLS, NUM_CONTROLS + 7])
def test_a_stopped_audit_ends_with_stopped_and_asks_nothing_twice_when_resumed(
    journal: Journal, cut: int
) -> None:
    whole = list(AuditSession(known_bundle(), KnownSuspect(lambda kind, index: 0), journal).run())[
        -1
    ]
    control = AuditControl()
    first = ActsWhenAsked(cut, control.stop)
    events = list(AuditSession(known_bundle(), first, journal, control=control).run())
    assert events[-1] == Stopped(num_questions=ALL, num_answered=len(first.asked))
    second = KnownSuspect(lambda kind, index: 0)
    *_, last = AuditSession(known_bundle(), second, journal, AuditOptions(resume=True)).run()
    assert sorted(first.asked + second.asked) == sorted(set(first.asked) | set(second.asked))
    assert len(first.asked) + len(second.asked) == ALL
    assert isinstance(last, Finished)
    assert isinstance(whole, Finished)
    assert last.outcome == whole.outcome


def test_a_stop_after_the_last_answer_still_judges(journal: Journal) -> None:
    control, events = AuditControl(), list[AuditEvent]()
    suspect = KnownSuspect(lambda kind, index: 0)
    for event in AuditSession(known_bundle(), suspect, journal, control=control).run():
        events.append(event)
        if answered(events) == ALL:
            control.stop()
    assert isinstance(events[-1], Finished)


def test_a_paused_audit_asks_nothing_until_it_goes_on(tmp_path: Path) -> None:
    control = AuditControl()
    suspect = ActsWhenAsked(NUM_CONTROLS + 5, control.pause, concurrency=2)
    events: list[AuditEvent] = []

    def run() -> None:
        own = Journal(tmp_path / "journal.sqlite")
        events.extend(AuditSession(known_bundle(), suspect, own, control=control).run())
        own.close()

    thread = threading.Thread(target=run)
    thread.start()
    while not control.is_waiting:
        time.sleep(0.001)
    num_asked = len(suspect.asked)
    time.sleep(0.1)
    assert (len(suspect.asked), thread.is_alive()) == (num_asked, True)
    assert num_asked < ALL
    control.resume()
    thread.join()
    assert isinstance(events[-1], Finished)
    assert len(suspect.asked) == len(set(suspect.asked)) == ALL


def test_a_paused_audit_can_be_stopped(tmp_path: Path) -> None:
    control = AuditControl()
    control.pause()
    events: list[AuditEvent] = []

    def run() -> None:
        own = Journal(tmp_path / "journal.sqlite")
        suspect = KnownSuspect(lambda kind, index: 0)
        events.extend(AuditSession(known_bundle(), suspect, own, control=control).run())
        own.close()

    thread = threading.Thread(target=run)
    thread.start()
    control.stop()
    thread.join()
    assert events[-1] == Stopped(num_questions=ALL, num_answered=0)


def test_the_last_standing_is_the_outcome_and_none_comes_unasked(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspect = KnownSuspect(lambda kind, index: int(index % 4 == 0))
    quiet = list(AuditSession(known_bundle(), suspect, journal).run())
    assert not [event for event in quiet if isinstance(event, Standing)]

    # However long judging takes on a busy machine: the last answer is told of, too.
    monkeypatch.setattr("audit.asking.standings._SHARE", float("inf"))
    suspect = KnownSuspect(lambda kind, index: int(index % 4 == 0), batch_size=20)
    events = list(AuditSession(known_bundle(), suspect, journal, standing_every_s=0).run())
    standings = [event for event in events if isinstance(event, Standing)]
    last = events[-1]
    assert isinstance(last, Finished)
    assert standings[-1].score == last.outcome.scores[0]
    assert [standing.score.num_queries for standing in standings][-1] == NUM_QUERIES
    evidence = standings[-1].evidence
    assert evidence is not None
    assert float(evidence.suspect.mean()) == pytest.approx(last.outcome.scores[0].value)
