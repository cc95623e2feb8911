"""Which one of several sources did a suspect learn from? One line-up for each of them.

The sources are versions of one owner, each among siblings of its own. They are no line-up together:
one may be better trained, or descend from another, so that who of them a suspect resembles most has
no p-value. Each stands before its own siblings instead. A suspect that has nothing of version k was
made without knowing which seed became version k, *whatever it has of the other versions*, so that
it picks version k from that line-up with probability at most 1 / (J_k + 1) and p_k is valid.

Each line-up is a test of its own. Somebody that learnt from none of M versions is led to some
version with probability at most the sum of the M levels; Holm's p-values are adjusted for the
same. That two versions are named says of neither that the other is wrong: a copy of a version that
was fine-tuned from an earlier one has learnt from both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.verdict.outcome import Verdict


@dataclass(frozen=True, kw_only=True)
class SourceFinding:
    """What one source's line-up says of a suspect."""

    model_name: str
    verdict: Verdict
    p_value: float
    level: float
    """Alpha of this line-up alone."""


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """What all line-ups together say."""

    named: tuple[str, ...]
    """Models that the suspect has learnt from, in the order given."""
    adjusted_p_values: tuple[float, ...]
    """For as many sources as were tried, by source."""
    level: float
    """How often somebody that learnt from none of them is led to one, at most."""
    text: str


def attribute(findings: Sequence[SourceFinding]) -> Attribution:
    """Put the line-ups of several sources together.

    Args:
        findings: One of each source, at least one.
    """
    adjusted = holm(np.array([one.p_value for one in findings]))
    named = tuple(one.model_name for one in findings if one.verdict is Verdict.DERIVED)
    # A record or a document repeats this number.
    level = round(sum(one.level for one in findings), 12)
    return Attribution(
        named=named,
        adjusted_p_values=tuple(adjusted.tolist()),
        level=level,
        text=_words(findings, named, adjusted, level),
    )


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values adjusted for M tests, however they depend on each other (Holm, 1979).

    With the sorted p-values p_(1) <= ... <= p_(M), the k-th becomes
    ``max_{j <= k} (M - j + 1) p_(j)``, at most 1: calling everything at or below a derived errs
    at all with probability at most a.

    Args:
        p_values: ``[M]``.

    Returns:
        Adjusted, ``[M]``, in the same order.

    Example:
        >>> holm(np.array([0.5, 0.01, 0.04])).round(3)
        array([0.5 , 0.03, 0.08])
    """
    num = len(p_values)
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * (num - np.arange(num))
    adjusted = np.empty(num)
    # From the smallest up: none may be below one that ranks before it.
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def _words(
    findings: Sequence[SourceFinding],
    named: tuple[str, ...],
    adjusted: NDArray[np.float64],
    level: float,
) -> str:
    told = [
        f"'{one.model_name}' (p = {one.p_value:.3f}, {value:.3f} for having tried {len(findings)})"
        for one, value in zip(findings, adjusted, strict=True)
        if one.verdict is Verdict.DERIVED
    ]
    rate = (
        f"A model that learnt from none of the {len(findings)} sources is led to one of them with "
        f"probability at most {level:.3g}."
    )
    if not named:
        return f"No source is named, which does not clear the suspect of any. {rate}"
    found = f"It has learnt from the answers or weights of {' and of '.join(told)}."
    if len(named) > 1:
        return (
            f"{found} One of them may descend from another, or it learnt from several; their "
            f"p-values do not tell which. {rate}"
        )
    others = len(findings) - 1
    if not others:
        return f"{found} {rate}"
    rest = "the other source" if others == 1 else f"the {others} other sources"
    return (
        f"{found} Nothing was found of {rest}, which does not prove that there is nothing. {rate}"
    )
