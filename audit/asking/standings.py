"""What an audit would say if it ended now, told now and then while it asks."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from audit.answer import Answer
from audit.asking.events import Standing
from audit.bundle.manifest import BundleContents
from audit.scores.evidence import query_evidence
from audit.verdict.early_stop import path_boundaries
from audit.verdict.judge import judge
from audit.verdict.line_up import race_of
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.rule import DecisionRule

_SHARE = 0.05
"""Largest share of the time that may go into computing standings."""


class Standings:
    """Says when the next one is due, and computes it.

    Args:
        bundle: What is asked.
        rule: When a score decides.
        scores: The one that decides first, or the scores of both steps.
        every_s: Seconds between two standings, at least; None tells none.
    """

    def __init__(
        self,
        bundle: BundleContents,
        rule: DecisionRule,
        scores: Sequence[str],
        *,
        every_s: float | None,
    ) -> None:
        self._bundle, self._rule = bundle, rule
        self._steps = tuple(scores[: 1 if rule.steps is None else 2])
        self._every_s, self._next = every_s, 0.0
        self._boundaries = cache(lambda: path_boundaries(bundle, rule, scores[0]))

    def due(self, answers: Mapping[str, Answer]) -> Iterator[Standing]:
        """Yield how the deciding score stands, if it is time to; most often nothing.

        Args:
            answers: So far, by question id; others are coming in meanwhile.
        """
        start = time.monotonic()
        if self._every_s is None or start < self._next:
            return
        given = dict(answers)
        # The step that is asked just now, judged by itself.
        score = next(
            step for step in reversed(self._steps) if step != LINE_UP or f"{LINE_UP}/0" in given
        )
        outcome = judge(self._bundle, given, (score,), self._rule.for_score(score))
        evidence = query_evidence(self._bundle, given, score)
        race = race_of(self._bundle, given, score, self._rule)
        end = time.monotonic()
        # Where judging is slow, telling it often would keep answers waiting.
        self._next = end + max(self._every_s, (end - start) / _SHARE)
        yield from (
            Standing(score=one, evidence=evidence, boundaries=self._boundaries(), race=race)
            for one in outcome.scores
        )
