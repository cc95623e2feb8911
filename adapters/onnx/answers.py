"""From a model's outputs to labels and log-probabilities.

Pure functions on arrays: which values are one score per class, whether scores are logits or
probabilities, and the logarithm of the probabilities in float64. ``1 - p`` is formed only where
nothing else is there: it has no digits left where p is close to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import SuspectError

OutputKind = Literal["logits", "probabilities", "log_probabilities", "sigmoids", "labels"]

SUM_TOLERANCE = 5e-3
"""How far the sum of a row of probabilities may be from 1; half precision needs 1e-3."""

KIND_OF_OPERATOR: dict[str, OutputKind] = {
    "Softmax": "probabilities",
    "QLinearSoftmax": "probabilities",
    "Sigmoid": "sigmoids",
    "QLinearSigmoid": "sigmoids",
    "LogSoftmax": "log_probabilities",
    "Gemm": "logits",
    "MatMul": "logits",
    "Conv": "logits",
}
"""Operators after which there is nothing to guess."""

Scores = NDArray[np.float64]

SMALLEST = 2.0**-126
"""Stands for a probability of 0, so that its logarithm is finite: the smallest normal float32."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """One output of the model on some images."""

    name: str
    dtype: str
    """Type before the conversion to float64; ``text`` or ``map`` where these are no numbers."""
    operator: str
    """Operator that makes the values, if known."""
    values: Scores
    """``[N, ...]``."""
    names: tuple[str, ...] = ()
    """Of ``text``: what the values are indices of; of ``map``: the labels of the columns."""


def concatenated(parts: Sequence[Output]) -> Output:
    """Return what one output said about several batches as if they had been one."""
    first = parts[0]
    if first.dtype == "text":
        names = tuple(dict.fromkeys(name for part in parts for name in part.names))
        values = [
            np.array([names.index(name) for name in part.names])[part.values.astype(np.int64)]
            for part in parts
        ]
        return replace(first, names=names, values=np.concatenate(values).astype(np.float64))
    if first.dtype == "map":
        names = tuple(dict.fromkeys(name for part in parts for name in part.names))
        values = []
        for part in parts:
            rows = np.full((len(part.values), len(names)), np.nan)
            rows[:, [names.index(name) for name in part.names]] = part.values
            values.append(rows)
        return replace(first, names=names, values=np.concatenate(values))
    return replace(first, values=np.concatenate([part.values for part in parts]))


def class_scores(values: Scores) -> Scores | None:
    """Return values with one axis per image and one per class.

    Args:
        values: ``[N, ...]``; axes of size 1 do not count: ``[N, K, 1, 1]``, ``[N, 1, 1, K]``.

    Returns:
        ``[N, K]`` with K at least 2; None if that is not what the values are.
    """
    sizes = [size for size in values.shape[1:] if size != 1]
    return values.reshape(len(values), -1) if len(sizes) == 1 and sizes[0] > 1 else None


def class_labels(output: Output) -> NDArray[np.int64] | None:
    """Return the class per image ``[N]`` of an output that holds only that, None otherwise."""
    if output.dtype not in ("int64", "int32") or output.values.size != len(output.values):
        return None
    return output.values.reshape(-1).astype(np.int64)


def detect_kind(scores: Scores, operator: str) -> OutputKind:
    """Tell logits from probabilities, by the operator that makes them or else by their values.

    Args:
        scores: ``[N, K]`` for images that are not alike.
        operator: Operator behind the output, empty if unknown.
    """
    known = KIND_OF_OPERATOR.get(operator)
    if known is not None:
        return known
    if scores.min() >= 0 and scores.max() <= 1 + SUM_TOLERANCE:
        return "probabilities" if _close_to_one(scores.sum(axis=1)) else "logits"
    if scores.max() <= SUM_TOLERANCE and _close_to_one(np.exp(scores).sum(axis=1)):
        return "log_probabilities"
    # What looks like neither is taken for logits: a softmax keeps its order, and so the class.
    return "logits"


def log_probabilities(scores: Scores, kind: OutputKind, dtype: str) -> Scores:
    """Return the natural logarithm of the probabilities, in float64.

    For logits z: ``z_k - max z - log sum_j exp(z_j - max z)``. For probabilities p:
    ``log max(p_k, floor) - log sum_j max(p_j, floor)``, where floor is the smallest positive number
    of the model's own type (2^-24 for half precision, else 2^-126), below which it answers 0.
    Log-probabilities are clipped at the same floor and normalised as logits are. Sigmoids, one per
    class, go back to their logits first.

    Args:
        scores: Finite ``[N, K]``; log-probabilities may hold minus infinity.
        kind: What the scores are.
        dtype: The model's type, numpy name.

    Returns:
        ``[N, K]``; the exponentials of each row sum to 1.

    Example:
        >>> log_probabilities(np.array([[0.0, 1000.0]]), "logits", "float32").tolist()
        [[-1000.0, 0.0]]
    """
    floor = 2.0**-24 if dtype == "float16" else 2.0**-126
    if kind == "sigmoids":
        scores = sigmoid_logits(scores, dtype)
    elif kind == "probabilities":
        scores = np.log(np.maximum(scores, floor))
    elif kind == "log_probabilities":
        scores = np.maximum(scores, np.log(floor))
    # The largest becomes 0: no exponential overflows, and their sum is at least 1.
    shifted: Scores = scores - scores.max(axis=1, keepdims=True)
    result: Scores = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def sigmoid_logits(values: Scores, dtype: str) -> Scores:
    """Return what sigmoids were made of, ``log s - log(1 - s)``.

    A file that ends in a sigmoid for each class has the logits of a softmax, or of as many yes-no
    questions; either way the same numbers come before it. Near 1 the digits are gone, so that
    values are clipped by the last step of the model's type below 1.

    Args:
        values: In [0, 1], ``[...]``.
        dtype: The model's type, numpy name.

    Example:
        >>> sigmoid_logits(np.array([0.5, 0.75]), "float32").round(4).tolist()
        [0.0, 1.0986]
    """
    floor, step = (2.0**-24, 2.0**-11) if dtype == "float16" else (2.0**-126, 2.0**-24)
    clipped = np.clip(values, floor, 1 - step)
    result: Scores = np.log(clipped) - np.log1p(-clipped)
    return result


def check_finite(scores: Scores, kind: OutputKind) -> None:
    """Refuse answers that are no numbers.

    Raises:
        SuspectError: NaN or infinity among the scores (minus infinity is the logarithm of 0).
    """
    is_usable = np.isfinite(scores)
    if kind == "log_probabilities":
        is_usable |= np.isneginf(scores)
    if not is_usable.all():
        num_bad = int((~is_usable.all(axis=1)).sum())
        raise SuspectError(
            f"answers: expected finite scores, got NaN or infinity for {num_bad} of {len(scores)} "
            "images; look at the preprocessing, or the model is broken"
        )


def _close_to_one(sums: NDArray[np.float64]) -> bool:
    return bool((np.abs(sums - 1) <= SUM_TOLERANCE).all())
