"""A challenge in words: what refutes a claim, and what may be said after it."""

from collections.abc import Iterator, Sequence

from audit.calibrating.claim_tests import AS_THEY_ARE, SIGNIFICANCE, ClaimTest
from audit.calibrating.line_up_picks import LineUpPicks


def refuting_words(
    tests: Sequence[ClaimTest],
    alpha: float,
    *,
    num_first: int,
    num_later: int,
) -> Iterator[str]:
    """Yield a sentence about everything that refutes a claim.

    Args:
        tests: The models as they are first.
        alpha: The claim.
        num_first: p-values of the models as they are.
        num_later: Those of changed ones.
    """
    for test in tests:
        is_first = test.kind == AS_THEY_ARE
        level = SIGNIFICANCE / 2 / (num_first if is_first else num_later)
        what = f"{test.num_models} innocent models" + ("" if is_first else f" ({test.kind})")
        if test.p_accused < level:
            yield (
                f"Of {what} {test.num_accused} are called derived, and the bundle allows "
                f"{alpha:.1%}: so many would come about with probability {test.p_accused:.3g}."
            )
        if is_first and test.p_above is not None and test.p_above < level:
            yield (
                f"Of {what} {test.num_above} score above what at most {alpha:.1%} of the bundle's "
                "own innocents do: were both drawn alike, so many would with probability "
                f"{test.p_above:.3g}. The bundle's innocents are weaker than others, or were made "
                "to answer low."
            )


def told(is_open: bool, is_refuted: bool, num_models: int, num_needed: int) -> str:
    """Return the finding in a sentence or two."""
    if is_refuted:
        return "The bundle fails."
    models = "1 model" if num_models == 1 else f"{num_models} models"
    if is_open:
        return (
            f"With {models} nothing can be said: it takes {num_needed} networks to notice even a "
            "bundle that accuses every second innocent."
        )
    return f"The bundle stands against {models}."


def told_picks(picks: LineUpPicks) -> str:
    """Return whom of a line-up innocents pick, and how seldom that is."""
    return (
        f"Line-up: {picks.num_source} of {sum(picks.counts)} resemble the source most; in a fair "
        f"line-up of {len(picks.counts)} the source's rank among the picked is as high with "
        f"p = {picks.p_source:.3g}. {max(picks.counts)} pick the member that is picked most "
        f"(p = {picks.p_most:.3g} if each model picked by itself; models of one kind lean to one "
        "member)."
    )
