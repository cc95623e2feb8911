"""What a judge's innocents say against a bundle's claim: exact tests, and how many they take.

The claim has two halves. *At most a share alpha of innocents is called derived*: accusations are
counted (binomial). *The bundle's own innocents are like any others*: of the judge's, no more lie
above the bound that only a share alpha of the bundle's own exceeds than two draws of one
population would have (`audit.verdict.two_samples`). The second sees what verdicts do not show:
innocents that were chosen weak, or taught to answer low, leave a judge's models far above them
long before they are called derived.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.bundle.manifest import BundleContents
from audit.scores.comparison import whole_scores
from audit.verdict.p_values import binomial_tail
from audit.verdict.populations import populations
from audit.verdict.two_samples import exceedance_p_value, rank_sum_p_value

SIGNIFICANCE = 0.05
"""A claim counts as refuted when what was seen would be rarer than this were it true; half of it is
for the models as they are, and half for what they become."""
AS_THEY_ARE = "as they are"
NOTICED_RATE, NOTICED_WITH = 0.5, 0.95
"""A claim is said to stand where one that accuses every second innocent would have been refuted
with this probability."""
MIN_TESTED = 5
"""Of changed models; fewer that still can be compared tell nothing."""
_BY_LABELS = ("likelihood-ratio", "matching-rate", "trajectory-rate")
"""Scores that every model gets from its labels alone, so that all can be compared."""


@dataclass(frozen=True, kw_only=True)
class ClaimTest:
    """One kind of innocents against the claim."""

    kind: str
    """`AS_THEY_ARE`, or what was done to them."""
    num_models: int
    """Networks; of several files of one the first counts."""
    num_accused: int
    p_accused: float
    """Of so many accusations at a true rate of alpha."""
    num_above: int | None
    """Those that score above the bound of the bundle's own innocents; None where the deciding score
    cannot be compared, or the bundle's innocents are too few for a bound."""
    p_above: float | None
    """Of so many, or more, if both are draws of one population."""
    p_higher: float | None
    """Of so high a rank sum among the bundle's own innocents. That yours rank higher is no fault
    while they stay below the bound."""

    @property
    def p_values(self) -> tuple[float, ...]:
        """Return what can refute the claim."""
        # The bundle's own innocents were asked as they are: behind a server all scores shift, and
        # only who is accused counts.
        if self.p_above is None or self.kind != AS_THEY_ARE:
            return (self.p_accused,)
        return self.p_accused, self.p_above


def own_scores(bundle: BundleContents) -> NDArray[np.float64] | None:
    """Return what a bundle's own innocents score, ``[n]``; None where nobody can compare."""
    default = bundle.manifest.default_score
    if default not in _BY_LABELS:
        return None
    return populations(bundle.manifest).innocent(whole_scores(bundle, default))


def claim_test(
    kind: str,
    accused: NDArray[np.bool_],
    scores: NDArray[np.float64],
    own: NDArray[np.float64] | None,
    alpha: float,
) -> ClaimTest:
    """Test a claim by some models.

    Args:
        kind: What they are called.
        accused: Which of n networks the bundle calls derived, ``[n]``.
        scores: What they score, ``[n]``.
        own: What the bundle's own innocents score, one value a lineage, ``[m]``; None where they
            cannot be compared.
        alpha: The claim.
    """
    num, num_accused = len(accused), int(accused.sum())
    above = p_above = p_higher = None
    # 1e-9 as in `audit.verdict.thresholds.upper_bound`.
    rank = 0 if own is None else int(np.floor(alpha * (len(own) + 1) + 1e-9))
    if own is not None and rank and num:
        above = int((scores > np.sort(own)[::-1][rank - 1]).sum())
        p_above = exceedance_p_value(above, num, len(own), rank)
        p_higher = rank_sum_p_value(scores, own)
    return ClaimTest(
        kind=kind,
        num_models=num,
        num_accused=num_accused,
        p_accused=binomial_tail(num_accused, num, alpha),
        num_above=above,
        p_above=p_above,
        p_higher=p_higher,
    )


def models_needed(alpha: float, num_tests: int = 2) -> int:
    """Return how many networks it takes before a claim can be said to stand.

    Args:
        alpha: The claim.
        num_tests: p-values that the models as they are give.

    Returns:
        The smallest number by which a bundle that accuses every second innocent is refuted with
        probability 95 %.

    Example:
        >>> models_needed(0.1), models_needed(0.05)
        (18, 13)
    """
    num = 1
    while not _notices(num, alpha, SIGNIFICANCE / 2 / num_tests):
        num += 1
    return num


def _notices(num: int, alpha: float, level: float) -> bool:
    refuting = [count for count in range(num + 1) if binomial_tail(count, num, alpha) < level]
    return bool(refuting) and binomial_tail(refuting[0], num, NOTICED_RATE) >= NOTICED_WITH
