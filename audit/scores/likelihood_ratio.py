"""The default score: likelihood ratio of the suspect's labels, derived models against innocents.

For query q let ``P_qc`` be the mean softmax of derived selection models and ``Q_qc`` that of the
innocent selection models. A suspect that answers class c adds

    E_qc = log(P_qc + epsilon) - log(Q_qc + epsilon)

and the score is the mean over the queries asked. It needs labels only, uses every answer and not
just "same as the source", and no transform that keeps the label (temperature, rounding) moves it. A
log-likelihood ratio of a mixture over models per query; the queries of one suspect are dependent,
so its scale means nothing by itself: `audit.verdict.thresholds` compares it with models that were
asked the same queries.
"""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED

GRID = 2.0**-24
"""Evidence is rounded to multiples of this many nats, far below what any answer says.

Logarithms of two machines may differ in the last bit; rounded they agree, and sums of such
multiples are exact in whatever order they are added: everybody computes the same score.
"""
_TIE = 1e-6
"""Steps of the grid around the middle between two multiples. There a logarithm's last bit (1e-8
steps) could decide, so that it is computed with more digits."""


def evidence_table(
    derived_probabilities: NDArray[np.float64],
    innocent_probabilities: NDArray[np.float64],
    epsilon: float,
) -> NDArray[np.float64]:
    """Return the evidence of each possible answer.

    Args:
        derived_probabilities: P, ``[Q, K]``.
        innocent_probabilities: Q, ``[Q, K]``.
        epsilon: Added to both, so that one answer weighs at most ``log((1 + e) / e)``.

    Returns:
        Evidence in nats, ``[Q, K]``, multiples of `GRID`; positive speaks for derivation.

    Example:
        >>> evidence_table(np.array([[0.9, 0.1]]), np.array([[0.4, 0.6]]), 0.1).round(3)
        array([[ 0.693, -1.253]])
    """
    derived, innocent = derived_probabilities + epsilon, innocent_probabilities + epsilon
    # Dividing by a power of two is exact: nothing has been rounded yet but the logarithms and their
    # difference.
    steps = (np.log(derived) - np.log(innocent)) / GRID
    # Halves go to the even neighbour, as docs/bundle-format.md says and `_nearest_multiple`
    # repeats.
    multiples = np.rint(steps)
    for tie in zip(*np.nonzero(np.abs(steps - np.floor(steps) - 0.5) < _TIE), strict=True):
        multiples[tie] = _nearest_multiple(float(derived[tie]), float(innocent[tie]))
    return np.asarray(multiples * GRID)


def expected_evidence(
    derived_probabilities: NDArray[np.float64],
    innocent_probabilities: NDArray[np.float64],
    epsilon: float,
) -> NDArray[np.float64]:
    """Return how much a derived model's answer is expected to say, ``sum_c P_qc E_qc``.

    Args:
        derived_probabilities: P, ``[Q, K]``.
        innocent_probabilities: Q, ``[Q, K]``.
        epsilon: As in `evidence_table`.

    Returns:
        Nats per query, ``[Q]``: what a query is worth before it is asked.
    """
    table = evidence_table(derived_probabilities, innocent_probabilities, epsilon)
    return np.asarray((derived_probabilities * table).sum(axis=1))


def answer_evidence(table: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the evidence of each answer.

    A refusal counts as the answer that speaks most against derivation: refusing can never make a
    suspect look guilty, and it does not shorten the mean.

    Args:
        table: ``[Q, K]`` of `evidence_table`.
        labels: Answers ``[..., Q]``, `REFUSED` where there is none.

    Returns:
        Nats, ``[..., Q]``.
    """
    # [Q, K] picked by [..., Q]: the query index broadcasts over the leading axes.
    # `REFUSED` would pick the last class; what stands here for it is replaced below.
    picked = table[np.arange(len(table)), np.maximum(labels, 0)]
    return np.where(labels == REFUSED, table.min(axis=1), picked)


def mean_evidence(table: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the score of each model.

    Args:
        table: ``[Q, K]`` of `evidence_table`.
        labels: Answers ``[..., Q]``.

    Returns:
        Nats per query, ``[...]``; 0 where there are no queries.
    """
    # Sums of multiples of the grid are exact below 2^29 nats, so the division is the only rounding.
    return np.asarray(answer_evidence(table, labels).sum(axis=-1) / max(1, len(table)))


def _nearest_multiple(derived: float, innocent: float) -> int:
    """Return ``log(derived / innocent)`` in steps of the grid, from 40 digits."""
    with localcontext(prec=40):
        # A Decimal of a float is exact: these are the logarithms of the same two numbers, to 40
        # digits.
        steps = (Decimal(derived).ln() - Decimal(innocent).ln()) / Decimal(GRID)
        return int(steps.to_integral_value(ROUND_HALF_EVEN))
