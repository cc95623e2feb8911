"""When an audit has asked enough: its answers, in the bundle's order, against a sequential test.

One follows the control images (is the suspect good enough to be compared?), one the queries of a
score that is a mean over them. Both look at answers in the order that the owner signed, never in
the order in which they came back, so that a record stops where the audit did.
"""

from collections.abc import Callable, Mapping

import numpy as np

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.manifest import BundleContents, innocents, min_control_accuracy
from audit.scores.comparison import whole_scores
from audit.scores.likelihood_ratio import answer_evidence
from audit.scores.query_scores import MEAN_SCORES, query_table
from audit.verdict.betting import EarlyStop, SequentialTest
from audit.verdict.rule import MAX_REFUSED, MIN_QUERIES, DecisionRule
from audit.verdict.thresholds import Thresholds, conformal_thresholds


class Follower:
    """Feeds a test with the answers to one kind of question, each one once.

    Args:
        kind: ``control`` or ``query``.
        value: What an answer is worth, by the question's number and the label.
        test: Takes the values.
    """

    def __init__(self, kind: str, value: Callable[[int, int], float], test: SequentialTest) -> None:
        self.kind = kind
        self._value, self._test = value, test
        self._next = 0

    @property
    def num_followed(self) -> int:
        """Return how many answers were taken: the number of the first that is missing."""
        return self._next

    def follow(self, answers: Mapping[str, Answer]) -> EarlyStop | None:
        """Take what is new up to the first unanswered question, and say whether that is enough."""
        # An answer that overtook another one waits here for it: the same answers stop at the same
        # question in whatever order they came, on a screen, in a resumed audit and in `verify`.
        while self._test.stop is None:
            answer = answers.get(f"{self.kind}/{self._next}")
            if answer is None:
                return None
            self._test.add(
                self._value(self._next, answer.label), is_refused=answer.label == REFUSED
            )
            self._next += 1
        return self._test.stop


def follow_controls(bundle: BundleContents, rule: DecisionRule) -> Follower | None:
    """Return what decides early whether the suspect can be compared; None if nothing may."""
    if not rule.stopping_error:
        return None
    labels, floor = bundle.arrays.control_labels, min_control_accuracy(bundle)
    test = SequentialTest(
        # One bound for both sides, so that nothing lies between them: comparable or not.
        above=floor,
        below=floor,
        lowest=0,
        highest=1,
        num_values=len(labels),
        error=rule.stopping_error,
    )
    return Follower("control", lambda index, label: float(label == labels[index]), test)


def follow_queries(bundle: BundleContents, rule: DecisionRule, score: str) -> Follower | None:
    """Return what decides a score early; None if nothing may, or the score is no mean."""
    if not rule.stopping_error or score not in MEAN_SCORES:
        return None
    table = query_table(bundle, score)
    if not len(table):
        return None
    thresholds = whole_thresholds(bundle, rule, score)
    test = SequentialTest(
        above=thresholds.derived_above,
        below=thresholds.independent_below,
        lowest=float(table.min()),
        highest=float(table.max()),
        num_values=len(table),
        error=rule.stopping_error,
        max_refused=MAX_REFUSED,
        # from so many answers on they can be told from random ones
        min_below=min(MIN_QUERIES, len(table)),
    )

    def value(index: int, label: int) -> float:
        # By the score's own function, so that a refusal is worth the same here and there.
        return float(answer_evidence(table[index : index + 1], np.array([label]))[0])

    return Follower("query", value, test)


def whole_thresholds(
    bundle: BundleContents, rule: DecisionRule, score: str, *, with_probabilities: bool = False
) -> Thresholds:
    """Return the thresholds of a score over all queries."""
    scores = whole_scores(bundle, score, with_probabilities=with_probabilities)
    is_innocent = innocents(bundle)
    return conformal_thresholds(
        scores[is_innocent], scores[~is_innocent], alpha=rule.alpha, beta=rule.beta
    )
