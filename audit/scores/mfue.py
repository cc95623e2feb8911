"""MFUE's own score: how often the suspect's loss lies near the source's (Eq. 5-6).

Xu et al., "MFUE", KDD 2026. With probabilities (MFUE-w) the loss is ``-log p_y``; with labels only
(MFUE-b) it is estimated from the M probes around each trigger (`audit.bundle.probes`, Eq. 8-9):
the share that the suspect gives the trigger's class estimates ``p_y``, as in randomised smoothing
(Cohen et al., ICML 2019). Kept as the paper states it, for
comparison: it is not invariant to the suspect's output scale (docs/verdict.md).
"""

import numpy as np
from numpy.typing import NDArray

SIGNIFICANT_BITS = 32
"""Losses are compared with so many bits: more are another machine's logarithm, not the model's."""


def cross_entropy(
    log_probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return ``-log p_y``, exact also where ``p_y`` is nearly one.

    Below one half the other classes carry the digits: ``-log p_y = -log1p(-sum_{j != y} p_j)``.

    Args:
        log_probabilities: ``[..., N, K]``.
        labels: ``[N]``.

    Returns:
        Nats, ``[..., N]``, positive unless every other class underflows.
    """
    index = np.broadcast_to(labels[:, None], (*log_probabilities.shape[:-1], 1))
    own = np.take_along_axis(log_probabilities, index, axis=-1)[..., 0]  # [..., N]
    others = np.exp(log_probabilities)
    np.put_along_axis(others, index, 0.0, axis=-1)
    rest = np.minimum(others.sum(axis=-1), 1.0)
    confident = rest < 0.5
    # np.where computes both sides: the inner one keeps log1p from what it has no value for.
    return np.where(confident, -np.log1p(-np.where(confident, rest, 0.0)), -own)


def loss_bounds(
    log_probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return between what values ``-log p_y`` lies, where not all probabilities are told (top-k).

    An untold ``p_y`` is at most the smallest told one and at most what the told ones leave of 1;
    where it is the only untold one, it is what they leave. Otherwise it may be 0.

    Args:
        log_probabilities: ``[N, K]``, NaN for classes of which nothing is told.
        labels: ``[N]``.

    Returns:
        Lower and upper ends in nats, ``[N]`` each; the same where the loss is known. A row of which
        nothing is told gives 0 and infinity.

    Example:
        Of four classes two are told; y is the third one, then the first one:

        >>> rows = np.log([[0.7, 0.2, np.nan, np.nan]] * 2)
        >>> low, high = loss_bounds(rows, np.array([2, 0]))
        >>> low.round(3), high.round(3)
        (array([2.303, 0.357]), array([  inf, 0.357]))
    """
    is_partial = np.asarray(np.isnan(log_probabilities).any(axis=1))
    # Partial rows hold anything here, since the loop below replaces what comes of them.
    low = cross_entropy(np.where(is_partial[:, None], 0.0, log_probabilities), labels)
    high = low.copy()
    for row in map(int, np.flatnonzero(is_partial)):
        given, label = log_probabilities[row], labels[row]
        is_told = ~np.isnan(given)
        told = given[is_told]
        if is_told[label]:
            # Not by `cross_entropy`, which takes the digits from the other classes: some are
            # unknown.
            low[row] = high[row] = max(0.0, -given[label])
            continue
        # up to here rounding decides whether the told ones leave something
        left = max(0.0, 1.0 - float(np.exp(told).sum()))
        # A vendor lists the likeliest classes, so what is left out is no likelier than the last
        # one.
        largest = min(left, float(np.exp(told.min()))) if len(told) else 1.0
        # With nothing left the loss is infinite, which is an answer and no accident.
        with np.errstate(divide="ignore"):
            low[row] = -np.log(largest)
        high[row] = low[row] if len(told) == len(given) - 1 else np.inf
    return low, high


def loss_matches(
    suspect_losses: NDArray[np.float64], source_losses: NDArray[np.float64], tau: float
) -> NDArray[np.bool_]:
    """Say on which triggers the suspect's loss is near the source's (Eq. 5).

    ``(1 - tau) L_source < L_suspect < (1 + tau) L_source``

    Args:
        suspect_losses: ``[..., N]``.
        source_losses: ``[N]``.
        tau: Half-width of the interval, 0 < tau < 1; the paper uses 0.5.

    Returns:
        ``[..., N]``.
    """
    source, suspect = _rounded(source_losses), _rounded(suspect_losses)
    low, high = (1 - tau) * source, (1 + tau) * source
    return np.asarray((low < suspect) & (suspect < high))


def bounded_matches(
    low: NDArray[np.float64], high: NDArray[np.float64], source: NDArray[np.float64], tau: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say on which triggers the loss matches for certain, and on which it may or may not.

    Args:
        low: Least loss that is possible, ``[N]``.
        high: Largest one, ``[N]``.
        source: The source's loss, ``[N]``.
        tau: See `loss_matches`.

    Returns:
        Matches, where every loss within the bounds does, and undecided ones, where some do and
        some do not; ``[N]`` each.

    Example:
        Near 1 and tau 0.5, the losses 0.9 to 1.1, 1.4 to 1.6 and 1.6 to infinity:

        >>> low, high = np.array([0.9, 1.4, 1.6]), np.array([1.1, 1.6, np.inf])
        >>> [each.tolist() for each in bounded_matches(low, high, np.ones(3), 0.5)]
        [[True, False, False], [False, True, False]]
    """
    # The interval of Eq. 5 is convex: with both ends all that lies between them is inside.
    matches = loss_matches(low, source, tau) & loss_matches(high, source, tau)
    rounded = _rounded(source)
    can_match = (_rounded(low) < (1 + tau) * rounded) & (_rounded(high) > (1 - tau) * rounded)
    return matches, can_match & ~matches


def matching_rate(
    suspect_losses: NDArray[np.float64], source_losses: NDArray[np.float64], tau: float
) -> NDArray[np.float64]:
    """Return the share of triggers that match (Eq. 6).

    Args:
        suspect_losses: ``[..., N]``; NaN (not answered) never matches.
        source_losses: ``[N]``.
        tau: See `loss_matches`.

    Returns:
        ``[...]`` in [0, 1]; 0 where there are no triggers.
    """
    matches = loss_matches(suspect_losses, source_losses, tau)
    return np.asarray(matches.sum(axis=-1) / max(1, matches.shape[-1]))


def _rounded(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    # Digits of the number, not decimals: Eq. 5 compares ratios. Scaling by powers of two is exact.
    mantissas, exponents = np.frexp(losses)
    steps = np.rint(np.ldexp(mantissas, SIGNIFICANT_BITS))
    return np.asarray(np.ldexp(steps, exponents - SIGNIFICANT_BITS))


def probe_hits(
    probe_labels: NDArray[np.int64], trigger_labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Count the probes that got their trigger's class; a refusal is no hit.

    Args:
        probe_labels: ``[..., N, M]``.
        trigger_labels: ``[N]``.

    Returns:
        ``[..., N]``, 0..M.
    """
    return np.asarray((probe_labels == trigger_labels[:, None]).sum(axis=-1), dtype=np.int64)


def estimated_loss(hits: NDArray[np.int64], num_probes: int) -> NDArray[np.float64]:
    """Return ``-log(hits / M)`` (Eq. 9), finite also where all or no probes agree.

    At the two ends the estimate is moved by half a probe, to ``1 / 2M`` and ``1 - 1 / 2M``: zero
    and infinity cannot be compared by Eq. 5.

    Args:
        hits: ``[..., N]``, 0..M.
        num_probes: M.

    Returns:
        Nats, ``[..., N]``, in ``[-log(1 - 1/2M), log 2M]``.

    Example:
        >>> [round(float(loss), 3) for loss in estimated_loss(np.array([0, 50, 100]), 100)]
        [5.298, 0.693, 0.005]
    """
    share = hits / num_probes
    half_probe = 0.5 / num_probes
    return np.asarray(-np.log(np.clip(share, half_probe, 1 - half_probe)))
