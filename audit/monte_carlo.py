"""The loss of a suspect that tells labels only, estimated from probes (MFUE-b, Eq. 8-9).

Around each trigger lie M probes (`audit.bundle.probes`); the share that the suspect gives the
trigger's class estimates ``p_y``, as in randomised smoothing (Cohen et al., ICML 2019).
"""

import numpy as np
from numpy.typing import NDArray


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
