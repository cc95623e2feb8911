"""Whom of a line-up do innocent models pick? The source no more often than a sibling.

Innocents of one kind lean to the same member of a line-up: which one, the draw of the members
decides, and all picks share it. So the picks of one line-up are not independent, and to count them
against 1 / T refutes fair line-ups. What exchangeable members leave is the rank of the source's
count among the siblings'. It is told and refutes nothing: in one of T fair line-ups the source is
the member that is picked most. Whether innocents are accused by it is counted elsewhere. How
surprising the most picked member were if each model picked by itself is told beside it (exact
multinomial test on the largest count).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

from audit.verdict.line_up_outcome import LineUpOutcome


@dataclass(frozen=True, kw_only=True)
class LineUpPicks:
    """How often innocents picked each member."""

    counts: tuple[int, ...]
    """By member, in the bundle's order."""
    source: int
    p_source: float
    """That a fair line-up's source is picked at least as often as this one's, by rank among the
    siblings' counts: (1 + those picked as often) / T."""
    p_most: float
    """Of a member picked so often as the most picked one is, if each model picked by itself."""

    @property
    def num_source(self) -> int:
        """Return how many picked the source."""
        return self.counts[self.source]


def line_up_picks(outcomes: Sequence[LineUpOutcome]) -> LineUpPicks | None:
    """Count whom innocents pick; None without any.

    Args:
        outcomes: Of one line-up, one for each innocent.
    """
    if not outcomes:
        return None
    num_members, source = len(outcomes[0].leads), outcomes[0].source
    counts = [0] * num_members
    for outcome in outcomes:
        best = max(outcome.leads)
        # Of several that lead alike the source, if it is among them: ties count against it.
        is_source = outcome.leads[source] == best
        counts[source if is_source else outcome.leads.index(best)] += 1
    return LineUpPicks(
        counts=tuple(counts),
        source=source,
        p_source=sum(count >= counts[source] for count in counts) / num_members,
        p_most=largest_count_p_value(max(counts), len(outcomes), num_members),
    )


def largest_count_p_value(largest: int, num_picks: int, num_members: int) -> float:
    """Return the chance that some member is picked at least so often, all being as likely.

    With c ways to give i picks to some members, none of them ``largest`` or more, one member more
    has ``sum_k C(i, k) c(i - k)`` ways over k below ``largest``: integers, so that it is exact.

    Args:
        largest: At least 1.
        num_picks: n.
        num_members: T.

    Example:
        Two picks of two members: the same one with probability 1/2.

        >>> largest_count_p_value(2, 2, 2)
        0.5
    """
    ways = [1] + [0] * num_picks
    for _ in range(num_members):
        ways = [
            sum(
                comb(total, picks) * ways[total - picks] for picks in range(min(largest, total + 1))
            )
            for total in range(num_picks + 1)
        ]
    all_ways: int = num_members**num_picks
    # Integers of hundreds of digits divide exactly rounded; as floats they would overflow.
    return (all_ways - ways[num_picks]) / all_ways
