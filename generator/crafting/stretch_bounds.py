"""AnaFP's bounds of the stretch factor tau (see `generator.methods.anafp` for the equations)."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_TINY = 1e-12


def lower_bounds(
    stretches: Values, margins: Values, shifts: Values, *, derived_share: float
) -> Values:
    """Return ``1 + 2 D / (s ||d||)`` with ``s = margin / ((tau - 1) ||d||)``.

    Args:
        stretches: tau > 1, ``[G, N]``.
        margins: The source's margin of t at x(tau), ``[G, N]``.
        shifts: D_P of each derived model at x(tau), ``[P, G, N]``.
        derived_share: Share of the derived models whose D_P is at most D.

    Returns:
        ``[G, N]``; infinite where the source does not answer t.
    """
    # The shift of a model that is there: at least that share of them shifts by no more.
    shift = np.quantile(shifts, derived_share, axis=0, method="inverted_cdf")
    with np.errstate(divide="ignore", invalid="ignore"):
        # s ||d|| = margin / (tau - 1), so that the length of d cancels.
        bounds = 1 + 2 * shift * (stretches - 1) / np.maximum(margins, 0)
    return np.where(margins > 0, bounds, np.inf)


def upper_bounds(
    margins: Values, slopes: Values, lengths: Values, *, innocent_share: float
) -> Values:
    """Return ``m_y^I(x) / (L_I ||d||)``, such that enough innocents have at least as much.

    Args:
        margins: Each innocent's margin of y at the anchor, ``[I, N]``.
        slopes: L_I, per unit of length, ``[I, N]``; an innocent whose margin only rises has one
            of at most 0, and a bound that is as good as infinite.
        lengths: ``||d||`` in [0, 1] pixel units, ``[N]``.
        innocent_share: Share of the innocents whose own bound is at least the one returned.

    Returns:
        ``[N]``
    """
    own = margins / np.maximum(slopes * lengths, _TINY)  # [I, N]
    # Mirrored: at least that share of the innocents has this bound or a larger one.
    return np.asarray(-np.quantile(-own, innocent_share, axis=0, method="inverted_cdf"))


def logit_shift(source: Values, derived: Values) -> Values:
    """Return the smallest largest difference of two logit vectors over constants added to one.

    Args:
        source: ``[..., K]``.
        derived: ``[..., K]``.

    Returns:
        ``(max_k delta_k - min_k delta_k) / 2`` of the differences delta, ``[...]``.
    """
    # Logits hold up to a constant, and the middle of the range is the one that takes off most.
    return np.asarray(np.ptp(derived - source, axis=-1) / 2)
