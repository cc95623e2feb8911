"""How a loaded model wants to be asked: found by asking it, where its declaration leaves it open.

A size that is free in the declaration may be fixed inside (position embeddings), and so may the
number of images of a run. Only trying shows it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adapters.onnx.answers import Output, concatenated
from adapters.onnx.input import ImageInput
from adapters.onnx.model import OnnxModel
from adapters.preprocessing import InputRecipe
from adapters.suspect import SuspectConfigError, SuspectError

SIDES = (32, 64, 224, 28, 96, 128, 160, 192, 240, 256, 288, 299, 384, 448, 512)
"""Sides of the images that are tried where neither file nor caller says one, pixels."""
BATCHES = (4, 8, 16, 32, 64, 128)
"""Images of a run that are tried where neither one nor two at a time work."""
MAX_IMAGES_AT_ONCE = 32
MAX_PIXELS_AT_ONCE = 32 * 224 * 224 * 3
"""Values of the images that are asked about together."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to ask."""

    recipe: InputRecipe
    fixed_batch: int | None
    """Number of images that each run must have."""
    together: bool
    """Whether images share a run."""


class Asking:
    """The model with everything about a question that stays the same.

    Args:
        model: The loaded model.
        image_input: Its input.
        recipe: How images become its tensor, as far as that is known.
    """

    def __init__(self, model: OnnxModel, image_input: ImageInput, recipe: InputRecipe) -> None:
        self._model, self._input = model, image_input
        shares = "N" in recipe.layout and image_input.fixed_batch != 1
        self.way = Way(recipe=recipe, fixed_batch=image_input.fixed_batch, together=shares)
        """That works, once there were answers."""

    def first_answers(
        self, image_shape: tuple[int, int, int] | None
    ) -> tuple[NDArray[np.uint8], list[Output]]:
        """Ask for all outputs about made-up images, in ways that may fit until one does.

        Args:
            image_shape: ``[H, W, C]`` of the images to come, where known.

        Raises:
            SuspectConfigError: No output says anything about each image.
            SuspectError: The model fails whatever is tried, or its process is gone.
        """
        failure: SuspectError | None = None
        for shape, way in self._ways(image_shape):
            images = trial_images(shape)
            try:
                outputs = self._run(images, (), way)
            except SuspectError as error:
                # A process that is gone answers no other size either.
                if not self._model.process.is_running:
                    raise
                failure = failure or error
                continue
            if any(len(output.values) == len(images) for output in outputs):
                self.way = self._with_batch(images, way)
                return images, outputs
        declared = ", ".join(f"{o.name} ({o.dtype})" for o in self._model.description.outputs)
        if failure is None:
            raise SuspectConfigError(
                "output: expected a class or scores for each image, got none of these from "
                f"{declared}"
            )
        if self.way.recipe.size is None:
            raise type(failure)(
                f"{failure}; no usual size of images works: write size under [preprocessing] in a "
                "suspect file"
            ) from failure
        raise failure

    def ask(
        self, images: NDArray[np.uint8], outputs: Sequence[str], *, alone: bool = False
    ) -> list[Output]:
        """Ask for some outputs about a few images, in the way that works, or one at a time."""
        way = replace(self.way, together=False) if alone else self.way
        return self._run(images, tuple(outputs), way)

    def about(
        self, images: NDArray[np.uint8], outputs: Sequence[str], recipe: InputRecipe | None = None
    ) -> list[Output]:
        """Ask for some outputs about many images, as many at a time as an audit would."""
        way = replace(self.way, recipe=recipe or self.way.recipe)
        size = max(1, min(MAX_IMAGES_AT_ONCE, MAX_PIXELS_AT_ONCE // images[0].size))
        parts = [
            self._run(images[start : start + size], tuple(outputs), way, are_few=False)
            for start in range(0, len(images), size)
        ]
        return [concatenated(same) for same in zip(*parts, strict=True)]

    def _ways(
        self, image_shape: tuple[int, int, int] | None
    ) -> Iterator[tuple[tuple[int, int, int], Way]]:
        """Yield shapes of images and ways to ask about them, likely ones first."""
        recipe, known = self.way.recipe, self.way.fixed_batch
        shapes: list[tuple[tuple[int, int, int], InputRecipe]] = []
        channels = recipe.channels or (1 if recipe.layout in ("NHW", "HW") else 3)
        if image_shape is not None:
            shapes.append((image_shape, recipe))
            if recipe.size is None and not recipe.layout.startswith("N("):
                sides = [side for side in SIDES if (side, side) != image_shape[:2]]
                shapes += [(image_shape, replace(recipe, size=(side, side))) for side in sides]
        elif recipe.size is not None:
            shapes.append(((*recipe.size, channels), recipe))
        else:
            shapes += [((side, side, channels), recipe) for side in SIDES]
        for shape, tried in shapes:
            # A batch that is free in the declared shape may be fixed inside.
            for together in (True, False) if self.way.together else (False,):
                yield shape, Way(recipe=tried, fixed_batch=known, together=together)
        if known is None and self.way.together:
            for batch in BATCHES:
                shape, tried = shapes[0]
                yield shape, Way(recipe=tried, fixed_batch=batch, together=True)

    def _with_batch(self, images: NDArray[np.uint8], way: Way) -> Way:
        """Return the way with the batch that works: two may be the only one."""
        if not way.together or way.fixed_batch is not None:
            return way
        three = np.concatenate([images, images[:1]])
        try:
            outputs = self._run(three, (), way)
            works = any(len(output.values) == len(three) for output in outputs)
        except SuspectError:
            if not self._model.process.is_running:
                raise
            works = False
        return way if works else replace(way, fixed_batch=len(images))

    def _run(
        self,
        images: NDArray[np.uint8],
        outputs: tuple[str, ...],
        way: Way,
        *,
        are_few: bool = True,
    ) -> list[Output]:
        most = len(images) if way.fixed_batch is None else way.fixed_batch
        limits, num_bytes = self._model.limits, self._model.num_bytes
        # A loop that never ends shows here.
        is_short = are_few and not self._model.is_cuda
        return self._model.run(
            images,
            input_name=self._input.name,
            recipe=way.recipe,
            outputs=outputs,
            batch=most if way.together else 1,
            fixed_batch=way.fixed_batch,
            timeout_s=limits.first_timeout_s(num_bytes, most) if is_short else None,
        )


def trial_images(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return made-up images that no two of look alike: a dark ramp and bright noise."""
    height, width, channels = shape
    rows, columns = np.mgrid[0:height, 0:width]
    ramp = (rows * 96 // height + columns * 32 // width)[..., None] + 40 * np.arange(channels)
    noise = np.random.default_rng(7).integers(96, 256, shape)
    return np.stack([ramp, noise]).astype(np.uint8)
