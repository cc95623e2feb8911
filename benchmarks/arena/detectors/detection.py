"""What every query detector can do, and how often it catches a fingerprint's queries."""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from benchmarks.arena.metrics import Scores, Separation, auc, bootstrap, true_positive_rate


class Detector(Protocol):
    """A deployer's watch over the queries; the deployer knows the model and its training images."""

    def fit(self, model: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Learn what is normal.

        Args:
            model: The deployed classifier, pixels in [0, 1] to logits, in evaluation mode, on the
                device that computes.
            images: Clean training images ``[M, H, W, C]``.
            labels: Their true classes ``[M]``.

        Raises:
            ValueError: The detector cannot watch this model or learn from these images.
        """
        ...

    def scores(self, images: NDArray[np.uint8]) -> Scores:
        """Score the queries of one client, in the order of arrival.

        Args:
            images: ``[N, H, W, C]``.

        Returns:
            ``[N]``; larger is more suspicious.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How often a detector catches queries; each with its 95 % interval."""

    recall_at_1: Separation
    """Share of queries above the threshold that 1 % of clean images pass."""
    recall_at_5: Separation
    """The same at 5 %."""
    auroc: Separation
    """Area under the ROC curve; one half is chance."""


def evaluate(
    detector: Detector,
    clean: NDArray[np.uint8],
    queries: NDArray[np.uint8],
    groups: NDArray[np.int64] | None = None,
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> Detection:
    """Measure a fitted detector.

    Args:
        detector: Fitted.
        clean: Images of honest clients that it was not fitted on, ``[N, H, W, C]``; best as many
            as there are queries.
        queries: A fingerprint's queries in the order of asking, ``[Q, H, W, C]``.
        groups: Queries that stand or fall together, such as one trajectory, ``[Q]``; the bootstrap
            draws whole groups. By default each is its own.
        num_draws: Of the bootstrap.
        seed: Of the draws.

    Raises:
        ValueError: There are too few clean images for a threshold that 1 % of them pass.
    """
    if len(clean) < 100:
        raise ValueError(
            "clean: expected at least 100 images for a false-positive rate of 1 %, got "
            f"{len(clean)}"
        )
    members = np.arange(len(queries)) if groups is None else groups
    found, normal = detector.scores(queries), detector.scores(clean)
    suspicious = {str(group): found[members == group] for group in np.unique(members)}
    ordinary = {str(number): normal[number : number + 1] for number in range(len(normal))}
    at_1, at_5, area = (
        bootstrap(measure, suspicious, ordinary, num_draws=num_draws, seed=seed)
        for measure in (
            partial(true_positive_rate, false_positive_rate=0.01),
            partial(true_positive_rate, false_positive_rate=0.05),
            auc,
        )
    )
    return Detection(recall_at_1=at_1, recall_at_5=at_5, auroc=area)
