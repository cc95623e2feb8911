"""One form of a layer for all that compute the same up to scale.

A network with rectifiers computes the same when a filter is multiplied by ``a > 0`` and the inputs
that see it are divided by ``a``. Batch norms, quantisers and whoever wants to hide a copy do that.
Scaling rows and columns until both have unit mean square has one result, whatever the scales were
before (Sinkhorn and Knopp, "Concerning nonnegative matrices and doubly stochastic matrices", 1967,
applied to the squares).
"""

import numpy as np
from numpy.typing import NDArray

STEPS = 10
"""Rounds of scaling; what is left after them differs by less than a rounding to 8 bits."""


def balanced(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale input channels to equal mean squares over the filters, and filters to norm 1.

    ``w_oc -> r_o w_oc c_c`` with ``r, c > 0`` such that the mean square of each filter and of each
    input channel is the same. A filter or channel of zeros stays as it is.

    Args:
        kernel: ``[out, in, positions]``, finite.

    Returns:
        The same shape; each filter has norm 1, or 0.

    Example:
        >>> kernel = np.array([[[3.0], [4.0]], [[4.0], [3.0]]], np.float32)
        >>> scaled = kernel * np.array([[[2.0]], [[7.0]]]) / np.array([[[5.0], [3.0]]])
        >>> np.allclose(balanced(kernel), balanced(scaled.astype(np.float32)), atol=1e-4)
        True
    """
    largest = float(np.abs(kernel).max(initial=0.0))
    if not largest:
        return kernel
    # Squares of the largest numbers that a file can hold are infinite.
    kernel = kernel / np.float32(largest)
    energies = np.square(kernel).sum(axis=2)  # [out, in]
    columns = np.ones(energies.shape[1], np.float32)
    for _ in range(STEPS):
        rows = _inverse(energies @ columns)
        columns = _inverse(rows @ energies) * np.float32(len(energies) / len(columns))
    scaled = kernel * np.sqrt(columns)[None, :, None]
    norms = np.sqrt(np.square(scaled).sum(axis=(1, 2)))
    return np.asarray(scaled * _inverse(norms)[:, None, None], dtype=np.float32)


def _inverse(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``1 / x``, and 0 for what is 0 or too near to it."""
    tiny = np.finfo(np.float32).tiny
    return np.divide(1, values, out=np.zeros_like(values), where=values > tiny)
