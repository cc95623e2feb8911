"""The score of ADV-TRA: the share of adversarial trajectories that a suspect follows.

Xu et al., "United We Stand, Divided We Fall: Fingerprinting Deep Neural Networks via Adversarial
Trajectories", NeurIPS 2024. A trajectory is a chain of images that crosses the source's decision
boundary. Its mutation rate is the share of its points to which the suspect gives another class than
the source; below one half the trajectory is detected. Needs labels only.
"""

import numpy as np
from numpy.typing import NDArray

MAX_MUTATION_RATE = 0.5
"""A trajectory with a mutation rate below this is detected."""


def mutation_rates(
    labels: NDArray[np.int64], source_labels: NDArray[np.int64], groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the mutation rate of each trajectory.

    Args:
        labels: Answers ``[..., Q]``; a refusal is no class of the source's, so it mutates.
        source_labels: ``[Q]``.
        groups: The trajectory that each query belongs to, ``[Q]``, any numbers.

    Returns:
        ``[..., G]`` in [0, 1] for the G different groups in increasing order.

    Example:
        >>> mutation_rates(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))
        array([0.33333333, 1.        ])
    """
    _, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    is_member = members[:, None] == np.arange(len(sizes))  # [Q, G]
    # A product of 0 and 1 in integers: the counts are exact, for one model or many.
    mutations = (labels != source_labels).astype(np.int64) @ is_member  # [..., Q] -> [..., G]
    return np.asarray(mutations / np.maximum(sizes, 1))


def trajectory_rate(
    labels: NDArray[np.int64], source_labels: NDArray[np.int64], groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the share of trajectories that are detected.

    Args:
        labels: Answers ``[..., Q]``.
        source_labels: ``[Q]``.
        groups: ``[Q]``, as in `mutation_rates`.

    Returns:
        ``[...]`` in [0, 1]; 0 where there are no queries.
    """
    rates = mutation_rates(labels, source_labels, groups)
    detected = (rates < MAX_MUTATION_RATE).sum(axis=-1)
    return np.asarray(detected / max(1, rates.shape[-1]))
