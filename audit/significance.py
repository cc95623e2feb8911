"""How surprising a score is if the suspect is innocent: ranks among innocents, exact intervals.

The only randomness a fixed suspect and fixed queries leave is the draw of an innocent model, so the
p-value is a rank among innocents that neither shaped the queries nor the score (conformal p-value,
Vovk et al., 2005). It is valid if the suspect, were it innocent, is exchangeable with them.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv


def rank_p_value(score: float, innocent_scores: NDArray[np.float64]) -> float:
    """Return ``(1 + #{innocent >= score}) / (n + 1)``.

    Args:
        score: The suspect's; larger speaks for derivation.
        innocent_scores: ``[n]``.

    Returns:
        In (0, 1]; 1 if there are no innocents.

    Example:
        >>> rank_p_value(2.0, np.array([1.0, 2.0, 3.0]))
        0.75
    """
    return float((1 + np.count_nonzero(innocent_scores >= score)) / (len(innocent_scores) + 1))


def smallest_p_value(num_innocents: int) -> float:
    """Return the smallest p-value that so many innocents can give, ``1 / (n + 1)``."""
    return 1.0 / (num_innocents + 1)


def innocents_needed(alpha: float) -> int:
    """Return how many innocents it takes before a p-value can reach ``alpha``.

    Example:
        >>> innocents_needed(0.1), innocents_needed(0.01)
        (9, 99)
    """
    return int(np.ceil(1.0 / alpha - 1e-9)) - 1


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a proportion (Clopper and Pearson, 1934).

    Args:
        successes: 0..trials.
        trials: At least 1.
        confidence: Coverage, 0..1.

    Returns:
        Lower and upper end.

    Raises:
        ValueError: There are no trials.

    Example:
        >>> [round(end, 4) for end in clopper_pearson(0, 60)]
        [0.0, 0.0596]
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials >= 1, got {successes} of {trials}")
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else betaincinv(successes, trials - successes + 1, tail)
    high = 1.0 if successes == trials else betaincinv(successes + 1, trials - successes, 1 - tail)
    # Six digits are more than the count supports, and the same on every machine.
    return round(float(low), 6), round(float(high), 6)
