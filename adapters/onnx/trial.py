"""Find out how a loaded model answers, by asking it about a few images.

The same made-up images are asked about twice, and once more one at a time: a model that answers
differently each time, or whose answers depend on what else is in the batch, cannot be audited like
one that does not. What its outputs hold is judged on control images, where there are some: two
images, and made-up ones at that, say too little of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adapters.onnx.answers import KIND_OF_OPERATOR, Output, OutputKind
from adapters.onnx.control_images import ControlImages
from adapters.onnx.input import ImageInput
from adapters.onnx.model import OnnxModel
from adapters.onnx.output_choice import (
    ClassOutput,
    choose_output,
    class_outputs,
    require_class_outputs,
)
from adapters.preprocessing import InputRecipe
from adapters.suspect import SuspectConfigError, SuspectError

SIDES = (32, 64, 224)
"""Sides of the images where neither file nor caller says one, pixels."""
TOLERANCE = 1e-4
"""Difference between two answers to one image that rounding explains, share of their range."""
HALF_TOLERANCE = 5e-3
"""The same for half precision."""
MAX_IMAGES_AT_ONCE = 32
MAX_PIXELS_AT_ONCE = 32 * 224 * 224 * 3
"""Values of the control images that are asked about together."""
BATCH_DEPENDENT_OPERATORS = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul"})
"""They take one scale for the whole batch."""


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
    other_outputs: tuple[str, ...] = ()
    """Further outputs that hold classes: the same ones, unless the caller chose among them."""


def try_out(
    model: OnnxModel,
    image_input: ImageInput,
    recipe: InputRecipe,
    *,
    image_shape: tuple[int, int, int] | None,
    num_classes: int | None,
    output: str | None,
    output_kind: OutputKind | None,
    allow_random: bool,
    controls: ControlImages | None = None,
) -> TrialResult:
    """Ask about made-up images, and about control images where outputs leave something open.

    Args:
        model: The loaded model.
        image_input: Its input.
        recipe: How images become its tensor.
        image_shape: ``[H, W, C]`` of the images to come, where known.
        num_classes: K, where known.
        output: Name of the output, where the caller insists.
        output_kind: What it holds, where the caller insists.
        allow_random: Whether a model may answer differently each time.
        controls: Labelled images of the task, where there are some.

    Raises:
        OutputsDisagreeError: Several outputs hold classes, and not the same ones.
        SuspectConfigError: No output holds a class or a score per class.
        SuspectError: The model fails on every size, answers NaN, or is random and may not be.
    """
    asking = _Asking(model, image_input, recipe)
    together = _share_a_run(image_input)
    images, first, together = asking.first_answers(image_shape, together)
    found = require_class_outputs(first, num_classes=num_classes, wanted=output, kind=output_kind)
    tried = found[0]
    again = asking.ask(images, tried.name, together)
    is_repeatable = _is_same(tried.output, again)
    if not is_repeatable and not allow_random:
        reason = ", ".join(model.description.random_operators)
        raise SuspectError(
            "answers: expected the same for the same images, got others the second time"
            + (f" (the file contains {reason})" if reason else "")
            + "; allow_random = true audits it all the same"
        )
    # Two images may agree by chance; these operators never answer independently of the batch.
    if together:
        together = not BATCH_DEPENDENT_OPERATORS & set(model.description.operators)
    # Of a model that answers at random, a difference would say nothing about the batch.
    if together and is_repeatable:
        together = _is_same(tried.output, asking.ask(images, tried.name, together=False))
    everything = class_outputs(first, num_classes=num_classes)
    truth: NDArray[np.int64] | None = None
    if controls is not None and (len(everything) > 1 or _is_kind_open(tried, output_kind)):
        answers = asking.about(controls.images, [one.name for one in everything], together)
        found = require_class_outputs(
            answers, num_classes=num_classes, wanted=output, kind=output_kind
        )
        truth = controls.labels
    chosen = choose_output(found, truth, kind=output_kind)
    if chosen.scores is not None:
        num_classes = chosen.scores.shape[1]
    return TrialResult(
        output=chosen.name,
        kind=chosen.kind,
        dtype=chosen.output.dtype,
        num_classes=num_classes,
        is_repeatable=is_repeatable,
        is_batch_free=together,
        other_outputs=tuple(one.name for one in everything if one.name != chosen.name),
    )


def _is_kind_open(found: ClassOutput, kind: OutputKind | None) -> bool:
    return kind is None and found.kind != "labels" and found.output.operator not in KIND_OF_OPERATOR


def _share_a_run(image_input: ImageInput) -> bool:
    return "N" in image_input.recipe.layout and image_input.fixed_batch != 1


class _Asking:
    """The model with everything about a question that stays the same."""

    def __init__(self, model: OnnxModel, image_input: ImageInput, recipe: InputRecipe) -> None:
        self._model = model
        self._input = image_input
        self._recipe = recipe

    def first_answers(
        self, image_shape: tuple[int, int, int] | None, together: bool
    ) -> tuple[NDArray[np.uint8], list[Output], bool]:
        """Ask for all outputs, with images of sizes that may fit, together or one at a time."""
        failure: SuspectError | None = None
        for shape in self._shapes(image_shape):
            images = trial_images(shape)
            # A batch that is free in the declared shape may be fixed inside, which only trying
            # shows.
            for attempt in (True, False) if together else (False,):
                try:
                    outputs = self._run(images, (), attempt)
                except SuspectError as error:
                    # A process that is gone answers no other size either.
                    if not self._model.process.is_running:
                        raise
                    failure = failure or error
                    continue
                if any(len(output.values) == len(images) for output in outputs):
                    return images, outputs, attempt
        raise failure or SuspectConfigError("output: expected one row per image, got none")

    def ask(self, images: NDArray[np.uint8], output: str, together: bool) -> Output:
        return self._run(images, (output,), together)[0]

    def about(
        self, images: NDArray[np.uint8], outputs: Sequence[str], together: bool
    ) -> list[Output]:
        """Ask for some outputs about many images, as many at a time as an audit would."""
        size = max(1, min(MAX_IMAGES_AT_ONCE, MAX_PIXELS_AT_ONCE // images[0].size))
        parts = [
            self._run(images[start : start + size], tuple(outputs), together)
            for start in range(0, len(images), size)
        ]
        return [
            replace(same[0], values=np.concatenate([part.values for part in same]))
            for same in zip(*parts, strict=True)
        ]

    def _run(
        self, images: NDArray[np.uint8], outputs: tuple[str, ...], together: bool
    ) -> list[Output]:
        return self._model.run(
            images,
            input_name=self._input.name,
            recipe=self._recipe,
            outputs=outputs,
            batch=min(len(images), self._input.fixed_batch or len(images)) if together else 1,
            fixed_batch=self._input.fixed_batch,
        )

    def _shapes(self, image_shape: tuple[int, int, int] | None) -> list[tuple[int, int, int]]:
        if image_shape is not None:
            return [image_shape]
        channels = self._recipe.channels or (1 if self._recipe.layout in ("NHW", "HW") else 3)
        if self._recipe.size is not None:
            return [(*self._recipe.size, channels)]
        return [(side, side, channels) for side in SIDES]


def trial_images(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return made-up images that no two of look alike: a dark ramp and bright noise."""
    height, width, channels = shape
    rows, columns = np.mgrid[0:height, 0:width]
    ramp = (rows * 96 // height + columns * 32 // width)[..., None] + 40 * np.arange(channels)
    noise = np.random.default_rng(7).integers(96, 256, shape)
    return np.stack([ramp, noise]).astype(np.uint8)


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
