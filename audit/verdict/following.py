"""Which rule follows the answers to a score's questions, and ends asking."""

from collections.abc import Mapping
from typing import Protocol

from audit.answer import Answer
from audit.bundle.manifest import BundleContents
from audit.verdict.early_stop import follow_queries
from audit.verdict.line_up_race import LINE_UP, LineUpFollower
from audit.verdict.rule import DecisionRule


class Follows(Protocol):
    """Looks at answers in the bundle's order."""

    @property
    def kind(self) -> str:
        """Return the kind of question that it follows."""
        ...

    @property
    def num_followed(self) -> int:
        """Return how many answers were taken, up to the first that is missing."""
        ...

    def follow(self, answers: Mapping[str, Answer]) -> bool:
        """Take what is new up to the first unanswered question, and say whether that is enough."""
        ...


def follow_score(bundle: BundleContents, rule: DecisionRule, score: str) -> Follows | None:
    """Return what ends the asking for a score; None if nothing may, or it needs all answers."""
    if score == LINE_UP:
        return LineUpFollower(bundle) if rule.stopping_error else None
    return follow_queries(bundle, rule, score)
