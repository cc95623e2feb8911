"""Which output of a file holds the classes, where there are several.

An auxiliary head, or a decoy that somebody puts there, looks like any other output; only on images
do they differ. So every output that can hold classes is compared with every other one, image by
image, and where two disagree somebody has to choose.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from adapters.onnx.answers import (
    Output,
    OutputKind,
    Scores,
    check_finite,
    class_labels,
    class_scores,
    detect_kind,
)
from adapters.suspect import OtherTaskError, SuspectConfigError

_ORDER: dict[OutputKind, int] = {
    "logits": 0,
    "log_probabilities": 1,
    "probabilities": 2,
    "labels": 3,
}
"""Logits still have the digits that a softmax in the model's own type has rounded away; a class
alone tells least."""


class OutputsDisagreeError(SuspectConfigError):
    """Several outputs hold classes, and not the same ones."""

    def __init__(self, message: str, names: tuple[str, ...]) -> None:
        """Say so.

        Args:
            message: What disagrees.
            names: The outputs to choose from.
        """
        super().__init__(message)
        self.names = names

    def __reduce__(self) -> tuple[type["OutputsDisagreeError"], tuple[str, tuple[str, ...]]]:
        """Travel between processes whole."""
        return type(self), (str(self), self.names)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassOutput:
    """What an output says about N images, if it holds classes."""

    output: Output
    kind: OutputKind
    scores: Scores | None
    """``[N, K]``; None for a class alone."""
    labels: NDArray[np.int64]
    """``[N]``; of equal scores the first."""

    @property
    def name(self) -> str:
        """Return the output's name."""
        return self.output.name


def class_outputs(
    outputs: Sequence[Output], *, num_classes: int | None, kind: OutputKind | None = None
) -> list[ClassOutput]:
    """Return those outputs that can hold a class, or a score per class, of each image.

    Args:
        outputs: What the model said.
        num_classes: K where it is known.
        kind: What scores are, where the caller insists.
    """
    found = []
    for output in outputs:
        scores = class_scores(output.values)
        if scores is not None and num_classes in (None, scores.shape[1]):
            insisted = kind if kind != "labels" else None
            told = insisted or detect_kind(scores, output.operator)
            labels = np.argmax(scores, axis=1)
            found.append(ClassOutput(output=output, kind=told, scores=scores, labels=labels))
            continue
        named = class_labels(output)
        if named is not None:
            found.append(ClassOutput(output=output, kind="labels", scores=None, labels=named))
    return found


def require_class_outputs(
    outputs: Sequence[Output],
    *,
    num_classes: int | None,
    wanted: str | None,
    kind: OutputKind | None,
) -> list[ClassOutput]:
    """Return the outputs that can hold classes, at least one of them of the kind that is wanted.

    Args:
        outputs: What the model said about some images.
        num_classes: K where it is known.
        wanted: Name of the output that the caller insists on.
        kind: What it holds, where the caller insists.

    Raises:
        OtherTaskError: Outputs hold scores, but for another number of classes.
        SuspectConfigError: None fits; the message lists the outputs.
    """
    listed = ", ".join(f"{o.name}: {o.dtype} {list(o.values.shape)}" for o in outputs) or "none"
    if wanted is not None:
        outputs = [output for output in outputs if output.name == wanted]
        if not outputs:
            raise SuspectConfigError(f"output: expected one of {listed}; got {wanted!r}")
    found = class_outputs(outputs, num_classes=num_classes, kind=kind)
    if found and any(_is_of_kind(one, kind) for one in found):
        return found
    if found:
        raise SuspectConfigError(f"output_kind: expected what {listed} can hold, got {kind}")
    if num_classes is not None and class_outputs(outputs, num_classes=None):
        raise OtherTaskError(
            f"num_classes: expected {num_classes}, got outputs {listed}; "
            "bundle and suspect are about different tasks"
        )
    raise SuspectConfigError(f"output: expected one score per class [N, K], got {listed}")


def _is_of_kind(one: ClassOutput, kind: OutputKind | None) -> bool:
    return kind is None or (kind == "labels") == (one.scores is None)


def choose_output(
    found: Sequence[ClassOutput],
    truth: NDArray[np.int64] | None,
    *,
    kind: OutputKind | None = None,
) -> ClassOutput:
    """Choose among outputs that say the same about every image.

    Args:
        found: From `require_class_outputs`, about the same N images.
        truth: True classes of these images ``[N]``, where they are known.
        kind: What the chosen one holds, where the caller insists.

    Raises:
        OutputsDisagreeError: Two of them do not; the message lists all, with what they get right.
        SuspectError: NaN or infinity among the scores.
    """
    fitting = [one for one in found if _is_of_kind(one, kind)]
    best = min(fitting, key=lambda one: _ORDER[one.kind])
    # Before any comparison: a model that answers nonsense disagrees with everything.
    if best.scores is not None:
        check_finite(best.scores, best.kind)
    differing = [int(_differs(*pair).sum()) for pair in combinations(found, 2)]
    if not any(differing):
        return best
    images = "control images" if truth is not None else "made-up images"
    listed = ", ".join(f"{one.name}{_told(one, truth)}" for one in found)
    raise OutputsDisagreeError(
        f"output: {len(found)} hold the class of an image and disagree about up to "
        f"{max(differing)} of {len(best.labels)} {images}; choose one with --output NAME: {listed}",
        tuple(one.name for one in found),
    )


def _differs(one: ClassOutput, other: ClassOutput) -> NDArray[np.bool_]:
    """Return on which images two outputs name different classes, ``[N]``.

    Where scores are equal, such as those that half precision has rounded, either class will do.
    """
    return ~(_is_best(one, other.labels) | _is_best(other, one.labels))


def _is_best(one: ClassOutput, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    if one.scores is None:
        return np.asarray(one.labels == labels)
    is_class = (labels >= 0) & (labels < one.scores.shape[1])
    picked = one.scores[np.arange(len(labels)), np.where(is_class, labels, 0)]
    return np.asarray(is_class & (picked >= one.scores.max(axis=1)))


def _told(one: ClassOutput, truth: NDArray[np.int64] | None) -> str:
    return "" if truth is None else f" ({(one.labels == truth).mean():.0%} right)"
