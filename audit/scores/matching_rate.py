"""The score of most fingerprints: how often a suspect gives the source's own answer.

    score = (1 / Q) #{q : g(x_q) = f(x_q)}

with f the source and g the suspect. Used by IPGuard (Cao, Jia, Gong; AsiaCCS 2021), CAE (there
called CAEAcc), MetaFinger, AnaFP, Characteristic Examples and AKH. It needs labels only, and it is
a mean of a table of zeros and ones over the queries, so that an audit may stop early on it.
"""

import numpy as np
from numpy.typing import NDArray


def match_table(source_labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Return what each possible answer is worth: 1 for the source's own class, 0 for the others.

    `audit.scores.likelihood_ratio.mean_evidence` of this table is the matching rate. A refusal
    counts as the answer that speaks most against derivation, a mismatch, and stays in the mean.

    Args:
        source_labels: The source's class of each query, ``[Q]``.
        num_classes: K.

    Returns:
        ``[Q, K]``.

    Example:
        >>> match_table(np.array([1, 0]), 3)
        array([[0., 1., 0.],
               [1., 0., 0.]])
    """
    # [Q, 1] against [K] -> [Q, K]
    return np.asarray(source_labels[:, None] == np.arange(num_classes), dtype=np.float64)
