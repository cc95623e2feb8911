"""From a vendor's labels and scores to the bundle's classes.

A label that is not in the map stops the audit: guessing would turn into a verdict.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.endpoint.wire_format import Label, Scores
from adapters.suspect import REFUSED, OtherTaskError, SuspectConfigError, SuspectError

MIN_PROBABILITY = 1e-12
"""Stands for a probability that the vendor rounded to 0, so that its logarithm is finite."""

SUM_TOLERANCE = 0.05
"""How far from 1 the K probabilities of an image may add up to (vendors round to 2-4 digits)."""


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """The bundle's class of each of the vendor's labels."""

    classes: Mapping[str, int]
    """Vendor's label -> class 0..K-1, each class once."""
    accepts_index: bool
    """Whether an integer is the class itself; otherwise it is looked up as text."""

    def class_of(self, label: Label) -> int:
        """Return the class, or `REFUSED` where the vendor gave none.

        Raises:
            SuspectError: The label is not in the map.
        """
        if label is None or label == "":
            return REFUSED
        if isinstance(label, int) and self.accepts_index:
            if 0 <= label < len(self.classes):
                return label
            raise SuspectError(
                f"label: expected a class from 0 to {len(self.classes) - 1}, got {label}; "
                "check class_names"
            )
        try:
            return self.classes[str(label)]
        except KeyError:
            raise SuspectError(
                f"label: expected one of {_shortened(list(self.classes))}, got {label!r}; "
                "add it to class_names or correct answer.label"
            ) from None

    def in_order(self, order: Sequence[int], *, by_index: bool) -> dict[str, int]:
        """Return the class of each of the vendor's labels if the vendor has another order.

        Args:
            order: The class that this map gives now to what is really class 0, 1, ...
            by_index: The vendor answers with integers.
        """
        if by_index and self.accepts_index:
            return {str(given): actual for actual, given in enumerate(order)}
        # Each class has one label (the file's reader sees to that), so that this can be turned
        # round.
        labels = {index: label for label, index in self.classes.items()}
        return {labels[given]: actual for actual, given in enumerate(order)}

    def told_log_probabilities(self, scores: Scores) -> NDArray[np.float64]:
        """Return the natural logarithms of those probabilities that an answer names, ``[K]``.

        Labels that are not in the map are left out: an endpoint may list more than the bundle has.
        Scores that cannot be probabilities, such as percentages or independent ones, tell nothing
        but the best label.

        Args:
            scores: By the vendor's label.

        Returns:
            NaN for classes that are not named.
        """
        told = np.full(len(self.classes), np.nan)
        named = scores if isinstance(scores, Mapping) else {}
        for label, score in named.items():
            by_index = isinstance(label, int) and self.accepts_index
            index = label if by_index else self.classes.get(str(label), -1)
            if 0 <= int(index) < len(told):
                told[int(index)] = score
        values = list(named.values())
        if not values or min(values) < 0 or sum(values) > 1 + SUM_TOLERANCE:
            return np.full(len(self.classes), np.nan)
        return np.asarray(np.log(np.maximum(told, MIN_PROBABILITY)))

    def log_probabilities(
        self, scores: Scores, kind: Literal["probabilities", "logits"] = "probabilities"
    ) -> NDArray[np.float64]:
        """Return the natural logarithms of one image's probabilities ``[K]``.

        Args:
            scores: One number per class.
            kind: What they are; logits ``z`` give ``z - logsumexp(z)``.

        Raises:
            SuspectError: Not K probabilities that add up to 1, or not K finite logits.
        """
        num_classes = len(self.classes)
        if len(scores) != num_classes:
            raise SuspectError(
                f"scores: expected {num_classes} {kind}, got {len(scores)}; an audit "
                "needs all classes or labels only (leave answer.scores or answer.kind out)"
            )
        # A class that is named twice leaves another one NaN, and with that the sum below.
        probabilities = np.full(num_classes, np.nan)
        if isinstance(scores, Mapping):
            for label, score in scores.items():
                probabilities[self.class_of(label)] = score
        else:
            for index, score in enumerate(scores):
                probabilities[self.class_of(index)] = score
        if kind == "logits":
            if not np.isfinite(probabilities).all():
                raise SuspectError("scores: expected finite logits, got nan or infinity")
            shifted = probabilities - probabilities.max()  # keeps exp from overflowing
            return np.asarray(shifted - np.log(np.exp(shifted).sum()))
        total = float(probabilities.sum())
        if not math.isfinite(total) or probabilities.min() < 0 or abs(total - 1) > SUM_TOLERANCE:
            raise SuspectError(
                f"scores: expected probabilities that add up to 1, got a sum of {total:.4g}; "
                "correct answer.scores or leave it out"
            )
        return np.asarray(np.log(np.maximum(probabilities, MIN_PROBABILITY)))


def class_map(
    class_names: Sequence[str] | Mapping[str, int | str] | None,
    bundle_classes: Sequence[str] | None,
) -> ClassMap:
    """Join what the endpoint file says with the bundle's class names.

    Args:
        class_names: The file's field, without duplicates and gaps.
        bundle_classes: The bundle's class names in its order, where a bundle is at hand.

    Raises:
        OtherTaskError: There are more of one than of the other.
        SuspectConfigError: They do not fit, or classes are named and there is no bundle.
    """
    if class_names is None:
        if bundle_classes is None:
            raise SuspectConfigError(
                "class_names: expected the vendor's labels in the bundle's order, got nothing"
            )
        class_names = bundle_classes
    if bundle_classes is not None and len(class_names) != len(bundle_classes):
        raise OtherTaskError(
            f"class_names: expected the bundle's {len(bundle_classes)} classes, "
            f"got {len(class_names)}"
        )
    if not isinstance(class_names, Mapping):
        _refuse_reordered(class_names, bundle_classes)
        return ClassMap(
            classes={name: index for index, name in enumerate(class_names)}, accepts_index=True
        )
    classes = {label: _index(target, bundle_classes) for label, target in class_names.items()}
    return ClassMap(classes=classes, accepts_index=False)


def _refuse_reordered(names: Sequence[str], bundle_classes: Sequence[str] | None) -> None:
    if bundle_classes is None or list(names) == list(bundle_classes):
        return
    # A slip, or really the vendor's order: either reading may be wrong, and would be a verdict.
    if set(names) == set(bundle_classes):
        raise SuspectConfigError(
            f"class_names: expected the bundle's order ({_shortened(bundle_classes)}), got the "
            "same names in another one; write a table of vendor's label = bundle's name instead"
        )


def _index(target: int | str, bundle_classes: Sequence[str] | None) -> int:
    if isinstance(target, int):
        return target
    if bundle_classes is None:
        raise SuspectConfigError(
            "class_names: expected class indices, got names and no bundle to look them up in"
        )
    if target not in bundle_classes:
        raise SuspectConfigError(
            f"class_names: expected one of the bundle's {_shortened(bundle_classes)}, "
            f"got {target!r}"
        )
    return list(bundle_classes).index(target)


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown}, ... ({len(names)} in all)"
