"""Find out how a loaded model answers, by asking it about a few images.

The same made-up images are asked about twice, and once more one at a time: a model that answers
differently each time, or whose answers depend on what else is in the batch, cannot be audited like
one that does not. What its outputs hold is judged on control images, where there are some: two
images, and made-up ones at that, say too little of it.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from adapters.onnx.answers import KIND_OF_OPERATOR, Output, OutputKind
from adapters.onnx.asking import Asking
from adapters.onnx.control_images import ControlImages
from adapters.onnx.input import ImageInput
from adapters.onnx.model import OnnxModel
from adapters.onnx.output_choice import (
    ClassOutput,
    Wanted,
    choose_output,
    class_outputs,
    has_one_more,
    is_class_like,
    require_class_outputs,
)
from adapters.onnx.readings import Reading
from adapters.preprocessing import InputRecipe, Layout
from adapters.suspect import SuspectError

TOLERANCE = 1e-4
"""Difference between two answers to one image that rounding explains, share of their range."""
HALF_TOLERANCE = 5e-3
"""The same for half precision."""
BATCH_DEPENDENT_OPERATORS = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul"})
"""They take one scale for the whole batch."""
_OTHER_ROWS: dict[Layout, Layout] = {"N(CHW)": "N(HWC)", "N(CHW)1": "N(HWC)1"}
"""Rows of the same length whose values stand in another order."""


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """How the model answers."""

    output: str
    """Name of the output with the classes."""
    kind: OutputKind
    dtype: str
    """Type of the output, numpy name."""
    num_classes: int | None
    """K; None for a model that answers labels only, unless the caller knew."""
    is_repeatable: bool
    """Whether two answers to the same batch were the same."""
    is_batch_free: bool
    """Whether several images may share a run: it works and does not change the answers."""
    other_outputs: tuple[str, ...]
    """Further outputs that hold classes: the same ones, unless the caller chose among them."""
    is_partial: bool
    """Whether scores are told of some classes only."""
    reading: Reading = field(repr=False)
    """How classes are read out of the outputs."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What a trial found out."""

    result: TrialResult
    recipe: InputRecipe
    """How images become the model's tensor, with what only trying shows."""
    fixed_batch: int | None
    """Number of images that each run must have; None if any."""


def try_out(
    model: OnnxModel,
    image_input: ImageInput,
    recipe: InputRecipe,
    wanted: Wanted,
    *,
    image_shape: tuple[int, int, int] | None,
    allow_random: bool,
    is_layout_known: bool,
    controls: ControlImages | None = None,
) -> Tried:
    """Ask about made-up images, and about control images where outputs leave something open.

    Args:
        model: The loaded model.
        image_input: Its input.
        recipe: How images become its tensor.
        wanted: What the caller knows or insists on about outputs.
        image_shape: ``[H, W, C]`` of the images to come, where known.
        allow_random: Whether a model may answer differently each time.
        is_layout_known: Whether the caller has named the axes.
        controls: Labelled images of the task, where there are some.

    Raises:
        OutputsDisagreeError: Several outputs hold classes, and not the same ones.
        SuspectConfigError: No output holds a class or a score per class.
        SuspectError: The model fails on every size, answers NaN, or is random and may not be.
    """
    asking = Asking(model, image_input, recipe)
    images, first = asking.first_answers(image_shape)
    asked = [output for output in first if is_class_like(output)] or first
    names = [output.name for output in asked]
    is_repeatable = _are_same(asked, asking.ask(images, names))
    if not is_repeatable and not allow_random:
        reason = ", ".join(model.description.random_operators)
        raise SuspectError(
            "answers: expected the same for the same images, got others the second time"
            + (f" (the file contains {reason})" if reason else "")
            + "; allow_random = true audits it all the same"
        )
    together = asking.way.together
    # Two images may agree by chance; these operators never answer independently of the batch.
    if together:
        together = not BATCH_DEPENDENT_OPERATORS & set(model.description.operators)
    # Of a model that answers at random, a difference would say nothing about the batch; one that
    # needs so many images cannot be asked for fewer.
    if together and is_repeatable and asking.way.fixed_batch is None:
        together = _are_same(asked, asking.ask(images, names, alone=True))
    asking.way = replace(asking.way, together=together)
    truth: NDArray[np.int64] | None = None
    answers = asked
    if controls is not None and _is_open(asked, wanted):
        answers, truth = asking.about(controls.images, names), controls.labels
    found = require_class_outputs(answers, wanted, truth)
    # Compared with all others, also where the caller has chosen.
    chosen = choose_output(found, truth, kind=wanted.kind)
    if controls is not None and not is_layout_known:
        chosen = _in_better_rows(asking, chosen, wanted, controls)
    scores, reading = chosen.answers.scores, chosen.reading
    others = (one.name for one in class_outputs(answers, wanted, truth))
    result = TrialResult(
        output=chosen.name,
        kind=reading.kind,
        dtype=reading.dtype,
        num_classes=wanted.num_classes if scores is None else scores.shape[1],
        is_repeatable=is_repeatable,
        is_batch_free=together,
        other_outputs=tuple(name for name in others if name != chosen.name),
        is_partial=scores is not None and bool(np.isnan(scores).any()),
        reading=reading,
    )
    return Tried(result=result, recipe=asking.way.recipe, fixed_batch=asking.way.fixed_batch)


def _is_open(asked: list[Output], wanted: Wanted) -> bool:
    """Return whether made-up images say too little: which output, or what it holds."""
    found = class_outputs(asked, wanted)
    if len(found) != 1:
        return True
    if any(has_one_more(output, wanted.num_classes) for output in asked):
        return True
    (only,) = found
    operator = next(one.operator for one in asked if one.name == only.name)
    is_told = wanted.kind is not None or operator in KIND_OF_OPERATOR
    return only.reading.form != "scores" or not is_told


def _in_better_rows(
    asking: Asking, chosen: ClassOutput, wanted: Wanted, controls: ControlImages
) -> ClassOutput:
    """Try the other order of a row's values, and keep the one that gets more images right.

    Torch flattens channel by channel, scikit-learn, Keras and numpy pixel by pixel, and a row of
    3072 values looks the same.
    """
    recipe = asking.way.recipe
    other = _OTHER_ROWS.get(recipe.layout)
    if other is None or recipe.channels == 1:
        return chosen
    names = chosen.reading.outputs

    def asked(layout: Layout) -> ClassOutput:
        outputs = asking.about(controls.images, names, replace(recipe, layout=layout))
        found = require_class_outputs(outputs, wanted, controls.labels)
        return choose_output(found, controls.labels, kind=wanted.kind)

    def num_right(one: ClassOutput) -> int:
        return int((one.answers.labels == controls.labels).sum())

    first, second = asked(recipe.layout), asked(other)
    if num_right(second) <= num_right(first):
        return first
    asking.way = replace(asking.way, recipe=replace(recipe, layout=other))
    return second


def _are_same(first: list[Output], second: list[Output]) -> bool:
    return all(_is_same(*pair) for pair in zip(first, second, strict=True))


def _is_same(first: Output, second: Output) -> bool:
    """Return whether two answers differ by rounding at most; NaN equals NaN."""
    if first.values.shape != second.values.shape:
        return False
    finite = first.values[np.isfinite(first.values)]
    tolerance = HALF_TOLERANCE if first.dtype == "float16" else TOLERANCE
    # Of their range, because logits have no scale of their own.
    allowed = tolerance * float(np.ptp(finite)) if finite.size else 0.0
    return bool(
        np.allclose(first.values, second.values, rtol=0, atol=allowed + 1e-12, equal_nan=True)
    )
