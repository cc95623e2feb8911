"""How a file's outputs say the class of an image, in whichever form its exporter writes it.

Scores ``[N, K]``; a class alone, as a number or a text; a map from class to score, or one output
for each class (scikit-learn's ZipMap, Custom Vision, WinML); one value for two classes; the best k
with their classes; more scores than the bundle has classes, where it is known or can be seen which
of them they are. A `Reading` says which; applying it to the outputs of a run gives classes, and
scores in the bundle's order where there are some.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from adapters.class_map import ClassMap, UnknownLabelError
from adapters.onnx.answers import (
    SUM_TOLERANCE,
    Output,
    OutputKind,
    Scores,
    class_labels,
    class_scores,
    detect_kind,
)
from adapters.suspect import REFUSED

Form = Literal["scores", "one value", "classes", "texts", "map", "columns", "best k"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Which outputs say the class, and how."""

    form: Form
    outputs: tuple[str, ...]
    """Those that it needs; of ``best k`` the scores, then the classes."""
    kind: OutputKind
    """What the scores are; ``labels`` where there are none."""
    dtype: str
    """Type of the scores, numpy name."""
    columns: tuple[int, ...] | None = None
    """Class of each of the file's scores or numbers, `REFUSED` for none; None where they are the
    bundle's."""
    classes: ClassMap | None = None
    """Class of each text or key; of a number, where somebody wrote down which of them count."""
    absent: tuple[int, ...] = ()
    """Classes of the bundle that the file does not have, rising."""
    is_guess: bool = False
    """Whether only what is right about labelled images can tell if it is so."""

    @property
    def name(self) -> str:
        """Return what the reading is called: its first output."""
        return self.outputs[0]

    @property
    def score_kind(self) -> OutputKind:
        """Return what `read` gives: of one value for two classes it makes the logits of both."""
        return "logits" if self.form == "one value" else self.kind


def readings_of(
    outputs: Sequence[Output],
    *,
    num_classes: int | None,
    kind: OutputKind | None = None,
    classes: ClassMap | None = None,
    may_add_background: bool = False,
) -> list[Reading]:
    """Return every way in which outputs can say a class.

    Args:
        outputs: What a model said about some images.
        num_classes: K where it is known.
        kind: What scores are, where the caller insists.
        classes: The bundle's class of each of the file's labels, where it is known.
        may_add_background: Whether one score more than K may be a class of its own.
    """
    insisted = None if kind == "labels" else kind
    found = [
        reading
        for output in outputs
        for reading in _readings(output, num_classes, insisted, classes, may_add_background)
    ]
    found += _columns(outputs, classes, insisted)
    best = _best_k(outputs, num_classes, insisted, classes)
    if best is not None:
        # The classes of the best k are no output of their own.
        found = [one for one in found if one.name not in best.outputs] + [best]
    if classes is not None and classes.absent:
        found = [replace(one, absent=classes.absent) for one in found]
    if not found and num_classes == 2:
        found += [
            Reading(
                form="one value",
                outputs=(output.name,),
                kind=insisted or _kind_of_one(output),
                dtype=output.dtype,
            )
            for output in outputs
            if output.values.size == len(output.values) and output.dtype.startswith("float")
        ]
    return found


def _readings(
    output: Output,
    num_classes: int | None,
    kind: OutputKind | None,
    classes: ClassMap | None,
    may_add_background: bool,
) -> list[Reading]:
    if output.dtype == "text":
        if classes is None or output.values.size != len(output.values):
            return []
        return [_reading("texts", output, "labels", classes=classes)]
    if output.dtype == "map":
        if classes is None or not _covers(classes_of(output.names, classes), classes):
            return []
        told = kind or detect_kind(np.nan_to_num(output.values), output.operator)
        return [_reading("map", output, told, classes=classes)]
    scores = class_scores(output.values)
    if scores is not None and output.dtype.startswith(("float", "uint8", "int8")):
        told = kind or detect_kind(scores, output.operator)
        width = scores.shape[1]
        if classes is not None and not classes.accepts_index:
            columns = classes_of([str(index) for index in range(width)], classes)
            return [_reading("scores", output, told, columns)] if _covers(columns, classes) else []
        if classes is not None and classes.absent:
            there = classes_at(width, classes)
            return [] if there is None else [_reading("scores", output, told, there)]
        if num_classes in (None, width):
            return [_reading("scores", output, told)]
        if num_classes is not None and width == num_classes + 1 and may_add_background:
            return _with_background("scores", output, told, num_classes)
        return []
    numbers = class_labels(output)
    if numbers is None:
        return []
    if classes is not None and not classes.accepts_index:
        columns = _numbered(classes)
        return [_reading("classes", output, "labels", columns, classes)] if columns else []
    if classes is not None and classes.absent:
        return [_reading("classes", output, "labels", classes.places or None)]
    found = [_reading("classes", output, "labels")]
    if may_add_background and num_classes is not None and numbers.max() == num_classes:
        found += _with_background("classes", output, "labels", num_classes)
    return found


def reading_without(
    output: Output, present: tuple[int, ...], num_classes: int, kind: OutputKind | None
) -> Reading:
    """Return the reading of scores that lack some of K classes; their order is the bundle's.

    Args:
        output: With scores.
        present: The class of each score.
        num_classes: K.
        kind: What they are, where the caller insists.
    """
    scores = class_scores(output.values)
    assert scores is not None, "only scores can be seen to lack a class"
    told = None if kind == "labels" else kind
    found = _reading("scores", output, told or detect_kind(scores, output.operator), present)
    return replace(found, absent=tuple(i for i in range(num_classes) if i not in present))


def _with_background(
    form: Form, output: Output, kind: OutputKind, num_classes: int
) -> list[Reading]:
    """Return the readings of one class more than K, which stands first or last."""
    own = tuple(range(num_classes))
    return [
        replace(_reading(form, output, kind, columns), is_guess=True)
        for columns in ((REFUSED, *own), (*own, REFUSED))
    ]


def _numbered(classes: ClassMap) -> tuple[int, ...]:
    """Return the class of each number that a map names, none of them if it names no number."""
    named = [int(label) for label in classes.classes if _is_number(label)]
    return classes_of([str(number) for number in range(max(named, default=-1) + 1)], classes)


def _reading(
    form: Form,
    output: Output,
    kind: OutputKind,
    columns: tuple[int, ...] | None = None,
    classes: ClassMap | None = None,
) -> Reading:
    return Reading(
        form=form,
        outputs=(output.name,),
        kind=kind,
        dtype="float32" if output.dtype == "map" else output.dtype,
        columns=columns,
        classes=classes,
    )


def _columns(
    outputs: Sequence[Output], classes: ClassMap | None, kind: OutputKind | None
) -> list[Reading]:
    """Return the reading of one output for each class, called by its name or its number."""
    if classes is None:
        return []
    single = [
        output
        for output in outputs
        if output.values.size == len(output.values) and output.dtype.startswith("float")
    ]
    labels = [output.name for output in single]
    # skl2onnx writes i0, i1, ... for classes that are numbers and sCAT for those that are texts.
    for prefix in ("", "i", "s"):
        stripped = [label.removeprefix(prefix) for label in labels]
        columns = tuple(classes.classes.get(label, class_at(label, classes)) for label in stripped)
        named = [(o, c) for o, c in zip(single, columns, strict=True) if c != REFUSED]
        if _covers(tuple(index for _, index in named), classes):
            values = np.hstack([output.values.reshape(-1, 1) for output, _ in named])
            return [
                Reading(
                    form="columns",
                    outputs=tuple(output.name for output, _ in named),
                    kind=kind or detect_kind(values, ""),
                    dtype=named[0][0].dtype,
                    columns=tuple(index for _, index in named),
                )
            ]
    return []


def _best_k(
    outputs: Sequence[Output],
    num_classes: int | None,
    kind: OutputKind | None,
    class_names: ClassMap | None,
) -> Reading | None:
    """Return the reading of a top-k inside of the file: k scores and their k classes."""
    if num_classes is None:
        return None
    names = None if class_names is None or class_names.accepts_index else class_names
    own = tuple(range(num_classes)) if class_names is None else class_names.places
    columns = (own or tuple(range(num_classes))) if names is None else _numbered(names)
    pairs = [
        (scores, classes)
        for scores in outputs
        for classes in outputs
        if scores.dtype.startswith("float")
        and classes.dtype in ("int64", "int32")
        and scores.values.shape == classes.values.shape
        and scores.values.ndim == 2
        and 2 <= scores.values.shape[1] <= len(columns)
        and classes.values.min() >= 0
        and (names is not None or classes.values.max() < len(columns))
        # Falling, as a list of the best is.
        and bool((np.diff(scores.values, axis=1) <= 0).all())
    ]
    if len(pairs) != 1:
        return None
    (scores, classes) = pairs[0]
    if kind is None and names is None and scores.values.shape[1] == num_classes:
        kind = detect_kind(scores.values, scores.operator)
    return Reading(
        form="best k",
        outputs=(scores.name, classes.name),
        kind=kind or _kind_of_some(scores.values),
        dtype=scores.dtype,
        columns=columns,
        classes=names,
    )


def _kind_of_some(scores: Scores) -> OutputKind:
    """Tell probabilities, of which some are left out, from logits."""
    are_shares = scores.min() >= 0 and scores.sum(axis=1).max() <= 1 + SUM_TOLERANCE
    return "probabilities" if are_shares else "logits"


def _kind_of_one(output: Output) -> OutputKind:
    values = output.values
    is_share = output.operator in ("Sigmoid", "QLinearSigmoid") or (
        values.min() >= 0 and values.max() <= 1
    )
    return "sigmoids" if is_share else "logits"


def classes_of(labels: Sequence[str], classes: ClassMap | None) -> tuple[int, ...]:
    """Return the class of each text or key, `REFUSED` for what is none."""
    assert classes is not None, "texts and maps are read by a class map"
    found = []
    for label in labels:
        try:
            is_index = label not in classes.classes and _is_index(label, classes)
            found.append(class_at(label, classes) if is_index else classes.class_of(label))
        except UnknownLabelError:
            found.append(REFUSED)
    return tuple(found)


def classes_at(width: int, classes: ClassMap) -> tuple[int, ...] | None:
    """Return the class of each of a file's scores where the file lacks some of the bundle's.

    It leaves them out, or has a score for each class and those of the absent ones mean nothing.

    Returns:
        None for another number of scores.
    """
    present = tuple(i for i in range(classes.num_classes) if i not in classes.absent)
    if width == len(present):
        return present
    if width != classes.num_classes or classes.places:
        return None
    return tuple(REFUSED if i in classes.absent else i for i in range(width))


def class_at(label: str, classes: ClassMap) -> int:
    """Return the class of a number in letters, `REFUSED` for what is none."""
    if not _is_index(label, classes) or int(label) >= classes.num_told:
        return REFUSED
    index = classes.places[int(label)] if classes.places else int(label)
    return REFUSED if index in classes.absent else index


def _is_index(label: str, classes: ClassMap) -> bool:
    return classes.accepts_index and _is_number(label)


def _is_number(label: str) -> bool:
    return label.isascii() and label.isdigit() and len(label) < 6


def _covers(columns: Sequence[int], classes: ClassMap) -> bool:
    """Return whether every class of the bundle has a score, merged ones together."""
    merged_away = {index for group in classes.merged for index in group[1:]}
    expected = set(range(classes.num_classes)) - merged_away - set(classes.absent)
    return set(columns) - {REFUSED} == expected
