"""How two steps share the false-positive rate of one verdict (ADR 20).

An innocent is accused by the first step or by the second, so that the levels add up, whatever the
two steps have in common. Each level must be one that its own models can give: a crafted score with
n innocent lineages gives no p below 1 / (n + 1), a line-up of T members only multiples of 1 / T.
"""

from math import floor

from audit.bundle.manifest import MAX_RATE, Manifest, Steps
from audit.verdict.populations import num_lineages as count_lineages

_ROUNDING = 1e-9
"""0.05 * 20 is one rank, whatever a product says."""


def share_alpha(alpha: float, *, num_lineages: int, num_members: int) -> Steps | None:
    """Share one level between both steps: halves, as far as the models can give them.

    The line-up gets whole ranks, at least one and as many as half of alpha holds; less where the
    innocent lineages need more than the other half. The crafted queries get what is left.

    Args:
        alpha: Of the verdict, (0, 1).
        num_lineages: Innocents of the crafted queries, n.
        num_members: Source and siblings, T.

    Returns:
        The levels; None where no two are possible.

    Example:
        >>> share_alpha(0.1, num_lineages=19, num_members=20)
        Steps(crafted_alpha=0.05, line_up_alpha=0.05)
        >>> share_alpha(0.05, num_lineages=49, num_members=20) is None
        True
    """
    least = 1 / (num_lineages + 1)
    ranks = max(1, floor((alpha - max(alpha / 2, least)) * num_members + _ROUNDING))
    rest = round(alpha - ranks / num_members, 12)
    if rest + _ROUNDING < least or alpha > MAX_RATE:
        return None
    return Steps(crafted_alpha=rest, line_up_alpha=ranks / num_members)


def usual_steps(manifest: Manifest, *, num_members: int) -> Steps | None:
    """Return how a bundle's two steps decide if its owner says nothing else.

    Its alpha is shared where its models can give both levels. Otherwise each step keeps it, and
    the verdict's rate is twice that, which every verdict says: 19 siblings alone take 0.05.

    Args:
        manifest: The bundle's, its line-up not looked at.
        num_members: Source and siblings, T.

    Returns:
        The levels; None where even that would be wrong too often for any verdict.
    """
    shared = share_alpha(
        manifest.alpha, num_lineages=count_lineages(manifest), num_members=num_members
    )
    if shared is not None or 2 * manifest.alpha > MAX_RATE:
        return shared
    return Steps(crafted_alpha=manifest.alpha, line_up_alpha=manifest.alpha)
