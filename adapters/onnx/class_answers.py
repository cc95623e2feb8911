"""What a file's outputs say about images, by a `Reading` of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.onnx.answers import Output, Scores, class_labels, class_scores, sigmoid_logits
from adapters.onnx.readings import Reading, classes_of
from adapters.suspect import REFUSED


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassAnswers:
    """What a reading says about N images."""

    labels: NDArray[np.int64]
    """``[N]``, `REFUSED` for what is none of the classes."""
    scores: Scores | None
    """``[N, K]``, NaN for a class of which nothing is told; None where there are only classes."""


def read(reading: Reading, outputs: Mapping[str, Output]) -> ClassAnswers | None:
    """Return what outputs say about N images, None if they do not have the form any more."""
    first = outputs[reading.name]
    match reading.form:
        case "classes":
            named = class_labels(first)
            if named is not None and reading.columns is not None:
                named = _classes_at(named, reading)
            return None if named is None else ClassAnswers(labels=named, scores=None)
        case "texts":
            return _of_texts(reading, first)
        case "one value":
            values = first.values.reshape(len(first.values), -1)  # [N, ...] -> [N, 1]
            if values.shape[1] != 1:
                return None
            if reading.kind != "logits":
                values = sigmoid_logits(values, reading.dtype)
            return _of_scores(np.hstack([np.zeros_like(values), values]))
        case "best k":
            return _of_best_k(first, outputs[reading.outputs[1]], reading)
        case "columns":
            parts = [
                outputs[name].values.reshape(len(first.values), -1) for name in reading.outputs
            ]
            scores: Scores | None = np.hstack(parts)
        case "map":
            scores = first.values
        case _:
            scores = class_scores(first.values)
    columns = reading.columns
    if reading.form == "map":
        columns = classes_of(first.names, reading.classes)
    if scores is None or (columns is not None and scores.shape[1] != len(columns)):
        return None
    return _of_scores(scores) if columns is None else _in_order(scores, columns)


def _of_texts(reading: Reading, output: Output) -> ClassAnswers | None:
    if output.dtype != "text" or output.values.size != len(output.values):
        return None
    columns = np.array([*classes_of(output.names, reading.classes)], dtype=np.int64)
    places = output.values.reshape(-1).astype(np.int64)
    if not ((places >= 0) & (places < len(columns))).all():
        return None
    return ClassAnswers(labels=columns[places], scores=None)


def _of_best_k(scores: Output, classes: Output, reading: Reading) -> ClassAnswers | None:
    if scores.values.shape != classes.values.shape:
        return None
    named = _classes_at(classes.values.astype(np.int64), reading)  # [N, k]
    if named is None:
        return None
    # Falling: of two numbers of one class the first counts. REFUSED goes to a last column.
    spread = np.full((len(named), max(reading.columns or ()) + 2), np.nan)
    np.put_along_axis(spread, named[:, ::-1], scores.values[:, ::-1], axis=1)
    is_class = named != REFUSED
    first = named[np.arange(len(named)), is_class.argmax(axis=1)]
    return ClassAnswers(labels=first, scores=spread[:, :-1])


def _classes_at(numbers: NDArray[np.int64], reading: Reading) -> NDArray[np.int64] | None:
    """Return the class of each number; None if one is unknown and nobody said which count."""
    columns = np.array(reading.columns, dtype=np.int64)
    is_known = (numbers >= 0) & (numbers < len(columns))
    if reading.classes is None and not is_known.all():
        return None
    return np.where(is_known, columns[np.where(is_known, numbers, 0)], REFUSED)


def _of_scores(scores: Scores) -> ClassAnswers:
    return ClassAnswers(labels=np.argmax(scores, axis=1).astype(np.int64), scores=scores)


def _in_order(scores: Scores, columns: Sequence[int]) -> ClassAnswers:
    """Return scores by the bundle's classes; of several columns for one class the best."""
    num_classes = max(columns) + 1
    ordered = np.full((len(scores), num_classes), np.nan)
    for place, index in enumerate(columns):
        if index != REFUSED:
            ordered[:, index] = np.fmax(ordered[:, index], scores[:, place])
    # A map may leave out what scores low; NaN never is the largest.
    return ClassAnswers(
        labels=np.argmax(np.where(np.isnan(ordered), -np.inf, ordered), axis=1).astype(np.int64),
        scores=ordered,
    )
