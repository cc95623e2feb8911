"""Why control images go wrong: which classes a suspect confuses, and what that looks like.

Nothing here decides anything; it helps to find the mistake in an endpoint or suspect file.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from audit.answer import Answer
from audit.bundle.manifest import BundleContents

ONE_CLASS_SHARE = 0.6
"""From this share of answers on, one class stands for all."""
RELABELLED_GAIN = 0.25
"""Accuracy that another order of the classes must bring before it is suspected."""
REFUSED_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class ControlConfusion:
    """What a suspect made of the control images."""

    counts: NDArray[np.int64]
    """Answers by true class and answered class, ``[K, K]``."""
    num_refused: int
    likely_causes: tuple[str, ...]
    """What to look at, the likeliest first."""


def control_confusion(bundle: BundleContents, answers: Mapping[str, Answer]) -> ControlConfusion:
    """Count the answers to the control images by true class, and say what may be wrong.

    Args:
        bundle: Whose control images were asked.
        answers: By question id; others than the control images' are passed over.
    """
    num_classes = bundle.manifest.task.num_classes
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    num_refused = 0
    for index, truth in enumerate(bundle.arrays.control_labels):
        answer = answers.get(f"control/{index}")
        if answer is None:
            continue
        if answer.label < 0:
            num_refused += 1
        else:
            counts[truth, answer.label] += 1
    return ControlConfusion(
        counts=counts,
        num_refused=num_refused,
        likely_causes=_causes(counts, num_refused, bundle.manifest.task.class_names),
    )


def _causes(counts: NDArray[np.int64], num_refused: int, names: tuple[str, ...]) -> tuple[str, ...]:
    total = int(counts.sum()) + num_refused
    if not total:
        return ()
    causes: list[str] = []
    if num_refused / total >= REFUSED_SHARE:
        causes.append(
            f"{num_refused} of {total} images got no class: look at what the answer says, and at "
            "the path under [answer]."
        )
    others = "the normalisation (scale, mean, std), the colour order (RGB or BGR)"
    most = int(counts.sum(axis=0).argmax())
    if counts[:, most].sum() / total >= ONE_CLASS_SHARE:
        causes.append(
            f"Most images are called {names[most]!r}: pixels may arrive in another range, so look "
            "at the normalisation (scale, mean, std) and at the image encoding."
        )
        others = "the colour order (RGB or BGR)"
    # The order of classes that makes most answers right; negated, because costs are minimised.
    rows, columns = linear_sum_assignment(-counts)
    right, best = int(np.trace(counts)), int(counts[rows, columns].sum())
    moved = [
        f"{names[row]} -> {names[column]}"
        for row, column in zip(rows, columns, strict=True)
        if row != column and counts[row, column]
    ]
    if moved and (best - right) / total >= RELABELLED_GAIN:
        causes.append(
            f"With the classes in another order {best} of {total} would be right: look at the "
            f"class map ({', '.join(moved[:4])}{', ...' if len(moved) > 4 else ''})."
        )
    causes.append(
        f"Look at {others} and at how images are resized; kinprint probe tries the usual ways for "
        "an ONNX file."
    )
    return tuple(causes)
