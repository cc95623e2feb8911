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

from adapters.class_map import ClassMap
from adapters.onnx.answers import Output, OutputKind, check_finite, class_labels, class_scores
from adapters.onnx.class_answers import ClassAnswers, read
from adapters.onnx.fewer_classes import fewest_classes, present_classes
from adapters.onnx.readings import Reading, reading_without, readings_of
from adapters.suspect import REFUSED, OtherTaskError, SuspectConfigError

_ORDER: dict[OutputKind, int] = {
    "logits": 0,
    "log_probabilities": 1,
    "sigmoids": 2,
    "probabilities": 3,
    "labels": 4,
}
"""Logits still have the digits that a softmax in the model's own type has rounded away; a class
alone tells least."""

MIN_RIGHT = 0.5
"""Share of control images that a guess of ours about the classes has to get right."""


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
    """What a reading of a file's outputs says about N images."""

    reading: Reading
    answers: ClassAnswers

    @property
    def name(self) -> str:
        """Return the output's name."""
        return self.reading.name


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the caller knows or insists on about a file's outputs."""

    num_classes: int | None = None
    """K where it is known."""
    output: str | None = None
    """Name of the output."""
    kind: OutputKind | None = None
    """What it holds."""
    classes: ClassMap | None = None
    """The bundle's class of each of the file's labels."""


def class_outputs(
    outputs: Sequence[Output], wanted: Wanted, truth: NDArray[np.int64] | None = None
) -> list[ClassOutput]:
    """Return those outputs that can hold a class, or a score per class, of each image.

    Args:
        outputs: What the model said.
        wanted: What is known; the name of an output is not looked at.
        truth: True classes ``[N]``, where they are known: whether one score too many belongs to a
            background is seen by what is right then.
    """
    by_name = {output.name: output for output in outputs}
    found: dict[str, ClassOutput] = {}
    for reading in readings_of(
        outputs,
        num_classes=wanted.num_classes,
        kind=wanted.kind,
        classes=wanted.classes,
        may_add_background=truth is not None,
    ):
        answers = read(reading, by_name)
        if answers is None or (truth is not None and (answers.labels == REFUSED).all()):
            continue
        one = ClassOutput(reading=reading, answers=answers)
        if reading.is_guess and (truth is None or _share_right(one, truth) < MIN_RIGHT):
            continue
        rival = found.get(one.name)
        if rival is None or (truth is not None and _is_better(one, rival, truth)):
            found[one.name] = one
    if not found and truth is not None:
        return _with_fewer_classes(outputs, wanted, truth)
    return list(found.values())


def _with_fewer_classes(
    outputs: Sequence[Output], wanted: Wanted, truth: NDArray[np.int64]
) -> list[ClassOutput]:
    """Return outputs that lack some of the bundle's classes, as the images show.

    Raises:
        OtherTaskError: They do not show which, if any.
    """
    num_classes = wanted.num_classes
    is_named = wanted.classes is not None and not wanted.classes.accepts_index
    if num_classes is None or is_named:
        return []
    found = []
    for output in outputs:
        scores = class_scores(output.values)
        width = 0 if scores is None else scores.shape[1]
        if scores is None or not fewest_classes(num_classes) <= width < num_classes:
            continue
        counts = np.zeros((num_classes, width), dtype=np.int64)
        np.add.at(counts, (truth, scores.argmax(axis=1)), 1)
        present, is_sure = present_classes(counts)
        reading = reading_without(output, present, num_classes, wanted.kind)
        answers = read(reading, {output.name: output})
        if answers is None:
            continue
        one = ClassOutput(reading=reading, answers=answers)
        there = np.isin(truth, present)
        if float((answers.labels == truth)[there].mean()) < MIN_RIGHT:
            continue
        if not is_sure:
            raise OtherTaskError(
                f"num_classes: expected {num_classes}, got {width} scores from {output.name}; "
                "bundle and suspect are about different tasks, or it lacks classes, and the "
                "control images do not show which: name them in absent_classes under [model] of a "
                "suspect file"
            )
        found.append(one)
    return found


def require_class_outputs(
    outputs: Sequence[Output], wanted: Wanted, truth: NDArray[np.int64] | None = None
) -> list[ClassOutput]:
    """Return the outputs that can hold classes, at least one of them of the kind that is wanted.

    Args:
        outputs: What the model said about some images.
        wanted: What the caller knows or insists on.
        truth: True classes of these images ``[N]``, where they are known.

    Raises:
        OtherTaskError: Outputs hold scores, but for another number of classes.
        SuspectConfigError: None fits; the message lists the outputs.
    """
    listed = ", ".join(map(_shown, outputs)) or "none"
    found = class_outputs(outputs, wanted, truth)
    if wanted.output is not None:
        if wanted.output not in {output.name for output in outputs}:
            raise SuspectConfigError(f"output: expected one of {listed}; got {wanted.output!r}")
        found = [one for one in found if wanted.output in one.reading.outputs]
    fitting = [one for one in found if _is_of_kind(one, wanted.kind)]
    if fitting:
        _require_known_classes(fitting, wanted)
        return found
    if found:
        raise SuspectConfigError(f"output_kind: expected what {listed} can hold, got {wanted.kind}")
    if wanted.num_classes is not None and any(
        class_scores(output.values) is not None or output.dtype == "map" for output in outputs
    ):
        raise OtherTaskError(
            f"num_classes: expected {wanted.num_classes}, got outputs {listed}; bundle and suspect "
            "are about different tasks, or a suspect file has to say which of the file's classes "
            "are the bundle's (class_names), or which of them it does not have (absent_classes)"
        )
    if wanted.classes is None and any(map(is_class_like, outputs)):
        raise SuspectConfigError(
            f"output: expected one score per class [N, K] without a bundle, got {listed}; "
            "texts, maps and single values are read with one (--bundle)"
        )
    if any(output.dtype in ("text", "map") for output in outputs):
        raise SuspectConfigError(
            f"output: expected the bundle's names of classes, by which texts and maps are read, "
            f"got {listed}; class_names under [model] of a suspect file says which is which"
        )
    raise SuspectConfigError(f"output: expected one score per class [N, K], got {listed}")


def _require_known_classes(fitting: Sequence[ClassOutput], wanted: Wanted) -> None:
    """Refuse numbers of classes that the bundle does not have, where there is nothing else."""
    num_classes, first = wanted.num_classes, fitting[0]
    if num_classes is not None and all(
        one.answers.scores is None and one.answers.labels.max() >= num_classes for one in fitting
    ):
        numbers = first.answers.labels
        raise OtherTaskError(
            f"num_classes: expected classes below {num_classes}, got {numbers.min()} to "
            f"{numbers.max()} from {first.name}; bundle and suspect are about different tasks, or "
            "a suspect file has to say which number is which of the bundle's classes (class_names)"
        )


def _shown(output: Output) -> str:
    if output.dtype in ("text", "map"):
        names = ", ".join(map(repr, output.names[:3])) + (", ..." if len(output.names) > 3 else "")
        return f"{output.name}: {output.dtype} of {names}"
    return f"{output.name}: {output.dtype} {list(output.values.shape)}"


def _is_of_kind(one: ClassOutput, kind: OutputKind | None) -> bool:
    return kind is None or (kind == "labels") == (one.answers.scores is None)


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
    best = min(fitting, key=lambda one: _ORDER[one.reading.kind])
    scores = best.answers.scores
    # Before any comparison: a model that answers nonsense disagrees with everything. What a map or
    # a list of the best leaves out is no nonsense.
    if scores is not None and best.reading.form not in ("map", "best k"):
        is_told = ~np.isnan(scores).all(axis=0)
        check_finite(scores[:, is_told], best.reading.score_kind)
    differing = [int(_differs(*pair).sum()) for pair in combinations(found, 2)]
    if not any(differing):
        return best
    images = "control images" if truth is not None else "made-up images"
    listed = ", ".join(f"{one.name}{_told(one, truth)}" for one in found)
    raise OutputsDisagreeError(
        f"output: {len(found)} hold the class of an image and disagree about up to "
        f"{max(differing)} of {len(best.answers.labels)} {images}; choose one with --output NAME: "
        f"{listed}",
        tuple(one.name for one in found),
    )


def _differs(one: ClassOutput, other: ClassOutput) -> NDArray[np.bool_]:
    """Return on which images two outputs name different classes, ``[N]``.

    Where scores are equal, such as those that half precision has rounded, either class will do.
    Where the file has further classes, scores say the best of the bundle's, and a class beside them
    may be none of these.
    """
    same = _is_best(one, other.answers.labels) | _is_best(other, one.answers.labels)
    for scores, named in ((one, other), (other, one)):
        if REFUSED in (scores.reading.columns or ()) and scores.answers.scores is not None:
            same |= named.answers.labels == REFUSED
    return ~same


def _is_best(one: ClassOutput, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    scores = one.answers.scores
    if scores is None:
        return np.asarray(one.answers.labels == labels)
    is_class = (labels >= 0) & (labels < scores.shape[1])
    picked = scores[np.arange(len(labels)), np.where(is_class, labels, 0)]
    return np.asarray(is_class & (picked >= np.nanmax(scores, axis=1)))


def _share_right(one: ClassOutput, truth: NDArray[np.int64]) -> float:
    return float((one.answers.labels == truth).mean())


def _is_better(one: ClassOutput, rival: ClassOutput, truth: NDArray[np.int64]) -> bool:
    return _share_right(one, truth) > _share_right(rival, truth)


def _told(one: ClassOutput, truth: NDArray[np.int64] | None) -> str:
    return "" if truth is None else f" ({_share_right(one, truth):.0%} right)"


def is_class_like(output: Output) -> bool:
    """Return whether an output has the form of a class or of scores, whatever their number."""
    return (
        output.dtype in ("text", "map")
        or class_scores(output.values) is not None
        or class_labels(output) is not None
        or output.values.size == len(output.values)
    )


def has_one_more(output: Output, num_classes: int | None) -> bool:
    """Return whether an output has a score more than there are classes, as for a background."""
    scores = class_scores(output.values)
    return num_classes is not None and scores is not None and scores.shape[1] == num_classes + 1
