"""What an audit would say if it ended now, told now and then while it asks."""

import time
from collections.abc import Iterator, Mapping
from functools import cache

from audit.answer import Answer
from audit.asking.events import Standing
from audit.bundle.manifest import BundleContents
from audit.scores.evidence import query_evidence
from audit.verdict.early_stop import path_boundaries
from audit.verdict.judge import judge
from audit.verdict.line_up import race_of
from audit.verdict.rule import DecisionRule

_SHARE = 0.05
"""Largest share of the time that may go into computing standings."""


class Standings:
    """Says when the next one is due, and computes it.

    Args:
        bundle: What is asked.
        rule: When a score decides.
        score: The one that decides.
        every_s: Seconds between two standings, at least; None tells none.
    """

    def __init__(
        self, bundle: BundleContents, rule: DecisionRule, score: str, *, every_s: float | None
    ) -> None:
        self._bundle, self._rule, self._score = bundle, rule, score
        self._every_s, self._next = every_s, 0.0
        self._boundaries = cache(lambda: path_boundaries(bundle, rule, score))

    def due(self, answers: Mapping[str, Answer]) -> Iterator[Standing]:
        """Yield how the deciding score stands, if it is time to; most often nothing.

        Args:
            answers: So far, by question id; others are coming in meanwhile.
        """
        start = time.monotonic()
        if self._every_s is None or start < self._next:
            return
        given = dict(answers)
        outcome = judge(self._bundle, given, (self._score,), self._rule)
        evidence = query_evidence(self._bundle, given, self._score)
        race = race_of(self._bundle, given, self._score, self._rule)
        end = time.monotonic()
        # Where judging is slow, telling it often would keep answers waiting.
        self._next = end + max(self._every_s, (end - start) / _SHARE)
        yield from (
            Standing(score=score, evidence=evidence, boundaries=self._boundaries(), race=race)
            for score in outcome.scores
        )
