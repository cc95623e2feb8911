"""Copies that spoil the beginning of an audit, and what it takes to be cleared all the same."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.audit_world import CONTROL, QUERY, KnownSuspect, known_bundle

from adapters.suspect import Predictions
from audit.asking.events import Finished
from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.bundle.manifest import BundleContents
from audit.journal.journal import Journal
from audit.verdict.outcome import Outcome, Verdict

COPY, STRANGER = 0, 1


class Spoiler(KnownSuspect):
    """A copy that answers its first queries like a stranger, by the number of the request."""

    def __init__(self, num_spoiled: int) -> None:
        super().__init__(lambda kind, index: self.next_label())
        self._num_spoiled, self.num_answered = num_spoiled, 0

    def next_label(self) -> int:
        self.num_answered += 1
        return STRANGER if self.num_answered <= self._num_spoiled else COPY


def remembering(num_spoiled: int) -> KnownSuspect:
    """Likewise, but whoever asks an image again gets the same answer again."""
    return KnownSuspect(lambda kind, index: STRANGER if index < num_spoiled else COPY)


def wide_bundle() -> BundleContents:
    """`known_bundle` in which every model takes after the other kind at one query in ten."""
    known = known_bundle()
    labels = known.arrays.model_query_labels.copy()
    rows, columns = np.indices(labels.shape)
    is_odd = (rows + columns) % 10 == 0
    arrays = replace(known.arrays, model_query_labels=np.where(is_odd, 1 - labels, labels))
    return replace(known, arrays=arrays)


def audited(
    suspect: KnownSuspect, *, stop_early: bool = True, bundle: BundleContents | None = None
) -> Outcome:
    options = AuditOptions(stop_early=stop_early)
    session = AuditSession(bundle or known_bundle(), suspect, Journal(None), options)
    *_, last = session.run()
    assert isinstance(last, Finished)
    return last.outcome


@pytest.mark.parametrize("make", [Spoiler, remembering])
@pytest.mark.parametrize("num_spoiled", [5, 14, 16, 18, 20])
@pytest.mark.parametrize("stop_early", [True, False])
def test_a_copy_that_spoils_its_first_answers_is_not_cleared(
    make: Callable[[int], KnownSuspect], num_spoiled: int, stop_early: bool
) -> None:
    assert audited(make(num_spoiled), stop_early=stop_early).verdict is not Verdict.INDEPENDENT


def test_a_copy_that_spoils_eight_answers_is_still_found() -> None:
    # From query 17 on its 9 answers as a copy outweigh the 8 that it spoiled.
    outcome = audited(Spoiler(8))
    assert (outcome.verdict, outcome.scores[0].num_queries) == (Verdict.DERIVED, 17)


@pytest.mark.parametrize("num_spoiled", [22, 24])
def test_who_says_otherwise_when_the_first_queries_come_again_is_called_nothing(
    num_spoiled: int,
) -> None:
    # 22 look innocent; then the first 3 come again, then 20 and the control images.
    suspect = Spoiler(num_spoiled)
    outcome = audited(suspect)
    (score,) = outcome.scores
    assert (score.num_queries, score.is_evasive) == (22, True)
    assert score.repeats is not None
    num_changed = 20 - (num_spoiled - 22)  # the first of the second answers are spoiled, too
    assert score.repeats.num_queries_changed == num_changed
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert outcome.text == (
        f"Asked again, the suspect changed its answer to {num_changed} of 20 queries and to 0 of "
        "6 control images, and what it says the second time does not look like an innocent "
        "model. A service that changed its model meanwhile looks like that, and so does a suspect "
        "that treats the beginning of an audit otherwise; neither is called anything. Ask it "
        "again another day. That the bundle's innocents are what it says is the owner's word."
    )
    asked = [one for one in suspect.asked if one[0] == QUERY]
    assert asked[22:25] == [(QUERY, 0), (QUERY, 1), (QUERY, 2)]


def test_who_spoils_all_that_an_audit_asks_is_cleared() -> None:
    # The limit that is documented: 22 queries and 3 of them again.
    assert audited(Spoiler(25)).verdict is Verdict.INDEPENDENT


def test_a_suspect_that_changes_its_mind_in_a_whole_audit_is_told_so() -> None:
    outcome = audited(remembering(24), stop_early=False)
    (score,) = outcome.scores
    assert (outcome.verdict, score.is_evasive) == (Verdict.INCONCLUSIVE, True)
    assert score.parts is not None
    assert (score.parts.num_early, score.parts.num_late) == (26, 14)
    assert outcome.text.startswith(
        "The suspect answers its first 26 queries like one model and the last 14 like another "
        "(scores -1.118 and 1.322): where an answer depends on its image alone, so much happens in "
        "fewer than 1% of audits. A service that changed its model meanwhile looks like that"
    )


def test_who_was_a_copy_first_stays_derived_whatever_follows() -> None:
    suspect = KnownSuspect(lambda kind, index: COPY if index < 30 else STRANGER)
    outcome = audited(suspect, stop_early=False)
    (score,) = outcome.scores
    assert (outcome.verdict, score.is_evasive) == (Verdict.DERIVED, False)
    assert score.parts is not None
    assert score.parts.p_value < 0.01


def test_a_late_third_that_looks_like_a_copy_is_named() -> None:
    # Three of the last 14 answers are a copy's and none of the first 26: that happens by chance.
    spoken = {29, 33, 37}
    suspect = KnownSuspect(lambda kind, index: COPY if index in spoken else STRANGER)
    outcome = audited(suspect, stop_early=False, bundle=wide_bundle())
    (score,) = outcome.scores
    assert (outcome.verdict, score.is_evasive) == (Verdict.INCONCLUSIVE, False)
    assert "but that of the last 14 answers alone is " in outcome.text


class Unsteady(KnownSuspect):
    """An innocent whose answer to a query of its own choice is another one each time."""

    def __init__(self, unsteady: int) -> None:
        super().__init__(lambda kind, index: STRANGER)
        self._unsteady = unsteady

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        times = self.asked.count((QUERY, self._unsteady))
        labels = super().predict(images).labels.copy()
        for position, image in enumerate(images):
            if (int(image[0, 0, 0]), int(image[0, 0, 1])) == (QUERY, self._unsteady):
                labels[position] = COPY if times % 2 else STRANGER
        return Predictions(labels=labels)


def test_an_innocent_that_wavers_at_a_query_is_cleared_after_more_second_answers() -> None:
    suspect = Unsteady(1)
    outcome = audited(suspect, bundle=wide_bundle())
    (score,) = outcome.scores
    assert score.repeats is not None
    assert (score.repeats.num_queries, score.repeats.num_queries_changed) == (20, 1)
    assert score.repeats.num_controls == outcome.control.num_images
    assert (outcome.verdict, score.is_evasive) == (Verdict.INDEPENDENT, False)
    assert suspect.asked.count((CONTROL, 0)) == 2
