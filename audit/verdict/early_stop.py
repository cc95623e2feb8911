"""When an audit has asked enough: its answers, in the bundle's order, against a sequential test.

One follows the control images (is the suspect good enough to be compared?), by betting on their
mean; one the queries of a score that is a mean over them, by conformal paths. Both look at answers
in the order that the owner signed, never in the order in which they came back, so that a record
stops where the audit did.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.manifest import BundleContents, min_control_accuracy
from audit.bundle.query_order import control_order, query_order
from audit.scores.likelihood_ratio import answer_evidence
from audit.scores.query_scores import (
    MEAN_SCORES,
    answer_values,
    calibration_answers,
    can_score,
    query_table,
)
from audit.verdict.betting import SequentialTest
from audit.verdict.conformal_path import Boundaries, PathTest
from audit.verdict.populations import populations
from audit.verdict.rule import DecisionRule

TILTS = {"likelihood-ratio": 0.0, "matching-rate": 0.5}
"""What is taken off each value before its path is followed. Evidence in nats has its zero where
neither side is favoured; a match is worth one, a miss nothing, and half of that lies between."""
NOTHING: Mapping[str, Answer] = MappingProxyType({})


class Follower:
    """Feeds a test with the answers to one kind of question, each one once.

    Args:
        kind: ``control`` or ``query``.
        value: What an answer is worth, by the question's number and the label.
        test: Takes the values; whoever made it reads from it what it found.
        order: Numbers of the questions in the order of asking, ``[N]``.
    """

    def __init__(
        self,
        kind: str,
        value: Callable[[int, int], float],
        test: SequentialTest | PathTest,
        order: NDArray[np.int64],
    ) -> None:
        self.kind = kind
        self._value, self._test, self._order = value, test, order
        self._next = 0

    @property
    def num_followed(self) -> int:
        """Return how many answers were taken, up to the first that is missing."""
        return self._next

    def follow(self, answers: Mapping[str, Answer]) -> bool:
        """Take what is new up to the first unanswered question, and say whether that is enough."""
        # An answer that overtook another one waits here for it: the same answers stop at the same
        # question in whatever order they came, on a screen, in a resumed audit and in `verify`.
        while self._test.stop is None:
            if self._next == len(self._order):
                return False
            index = int(self._order[self._next])
            answer = answers.get(f"{self.kind}/{index}")
            if answer is None:
                return False
            self._test.add(self._value(index, answer.label), is_refused=answer.label == REFUSED)
            self._next += 1
        return True


def follow_controls(bundle: BundleContents, rule: DecisionRule) -> Follower | None:
    """Return what decides early whether the suspect can be compared; None if nothing may."""
    test = control_test(bundle, rule)
    return None if test is None else _control_follower(bundle, test)


def follow_queries(bundle: BundleContents, rule: DecisionRule, score: str) -> Follower | None:
    """Return what decides a score early; None if nothing may, or the score is no mean."""
    test = path_test(bundle, rule, score)
    return None if test is None else _query_follower(bundle, score, test)


def control_test(
    bundle: BundleContents, rule: DecisionRule, answers: Mapping[str, Answer] = NOTHING
) -> SequentialTest | None:
    """Return the test of the control images after some answers; None if nothing may stop early."""
    if not rule.stopping_error:
        return None
    test = SequentialTest(
        min_control_accuracy(bundle),
        num_values=len(control_order(bundle)),
        error=rule.stopping_error,
    )
    _control_follower(bundle, test).follow(answers)
    return test


def path_test(
    bundle: BundleContents,
    rule: DecisionRule,
    score: str,
    answers: Mapping[str, Answer] = NOTHING,
) -> PathTest | None:
    """Return the test of a score after some answers; None if it may not stop, or is no mean."""
    if not rule.stopping_error or score not in MEAN_SCORES or not can_score(bundle, score):
        return None
    # Models go the same way round as the suspect.
    models = calibration_answers(bundle, query_order(bundle), with_probabilities=False)
    test = PathTest(
        answer_values(bundle, score, models),
        tilt=TILTS[score],
        compared=populations(bundle.manifest),
        rule=rule.for_score(score),
    )
    _query_follower(bundle, score, test).follow(answers)
    return test


def path_boundaries(bundle: BundleContents, rule: DecisionRule, score: str) -> Boundaries | None:
    """Return what a score is followed between; None if it may not stop early."""
    test = path_test(bundle, rule, score)
    return None if test is None else test.boundaries()


def _control_follower(bundle: BundleContents, test: SequentialTest) -> Follower:
    labels = bundle.arrays.control_labels
    return Follower(
        "control",
        lambda index, label: float(label == labels[index]),
        test,
        control_order(bundle),
    )


def _query_follower(bundle: BundleContents, score: str, test: PathTest) -> Follower:
    table = query_table(bundle, score)

    def value(index: int, label: int) -> float:
        # By the score's own function, so that a refusal is worth the same here and there.
        return float(answer_evidence(table[index : index + 1], np.array([label]))[0])

    return Follower("query", value, test, query_order(bundle))
