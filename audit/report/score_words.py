"""What each score is called in a report, and what it makes of the answers.

A score that an audit can compute has its entry here; nothing else in the reports knows scores by
name but the page's chapter on methods.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ScoreWords:
    """One score in words."""

    title: str
    unit: str
    """Along the axis of a figure of scores."""
    weighed: str = ""
    """What the test makes of the answers, as a sentence after the share of those that match; empty
    for scores that ask no queries."""
    settling: str = ""
    """What settles as queries are answered; empty for scores that are no mean of single answers."""


SCORE_WORDS: Mapping[str, ScoreWords] = {
    "likelihood-ratio": ScoreWords(
        title="Likelihood ratio of the labels",
        unit="mean evidence per query, nats",
        weighed="The test weighs every answer, not only these.",
        settling="mean evidence, nats",
    ),
    "matching-rate": ScoreWords(
        title="Matching rate of the labels",
        unit="matching rate",
        weighed="This share is what the test compares.",
        settling="matching rate",
    ),
    "trajectory-rate": ScoreWords(
        title="Share of trajectories followed",
        unit="share of trajectories followed",
        weighed="The test counts the series of images that it so follows for the most part.",
    ),
    "sample-correlation": ScoreWords(
        title="Sample correlation",
        unit="similarity of the correlations",
        weighed="The test compares which images are answered alike, not only this.",
    ),
    "rank-correlation": ScoreWords(
        title="Rank correlation with the nearest models",
        unit="correlation with derived less with innocent models",
        weighed="The test compares the order of all classes, not only the first.",
    ),
    "mfue-w": ScoreWords(
        title="MFUE matching rate, from probabilities",
        unit="matching rate",
    ),
    "mfue-b": ScoreWords(
        title="MFUE matching rate, from labels of probes",
        unit="matching rate",
    ),
    "line-up": ScoreWords(
        title="Line-up of the source among its siblings",
        unit="lead of the source over its best sibling, nats",
    ),
}
