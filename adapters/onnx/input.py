"""Find the input that takes the images, and how its tensor is laid out.

Only shapes and types are looked at; mean, std and colour order cannot be seen in a graph and come
from the bundle, a suspect file or `kinprint probe`.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from adapters.onnx.process.messages import TensorDescription
from adapters.preprocessing import (
    LUMA,
    UNIT_SCALE,
    ColorOrder,
    InputDtype,
    InputRecipe,
    Layout,
    Resampling,
)
from adapters.suspect import SuspectConfigError

DTYPES: dict[str, InputDtype] = {
    "float": "float32",
    "float16": "float16",
    "double": "float64",
    "uint8": "uint8",
    "int8": "int8",
    "int32": "int32",
}
"""Types of pixels that are understood, by ONNX element type."""

MAX_SIDE = 2048
"""Largest height and width that a file may ask for, pixels: images are made on our side."""

MAX_FIXED_BATCH = 1024

Axis = int | str | None


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """What the caller knows about preprocessing; None leaves a field to the file or the default."""

    size: tuple[int, int] | None = None
    """Height and width, pixels; needed only where the file leaves them open."""
    resampling: Resampling | None = None
    """Filter where images have another size; bilinear if None."""
    crop: float | None = None
    """Side of the central crop over the resized image's, (0, 1]; 1 if None."""
    channels: Literal[1, 3] | None = None
    """Channels, where the file leaves them open."""
    color_order: ColorOrder | None = None
    """RGB if None."""
    scale: float | None = None
    """Factor on the pixel; 1/255 if None."""
    mean: tuple[float, ...] | None = None
    """Per channel in RGB order, in units of ``pixel * scale``; 0 if None."""
    std: tuple[float, ...] | None = None
    """Per channel in RGB order, in units of ``pixel * scale``; 1 if None."""
    layout: Layout | None = None
    """Axes, where shapes do not tell."""


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """An input that can take images."""

    name: str
    fixed_batch: int | None
    """Number of images that each run must have; None if any."""
    recipe: InputRecipe
    """Layout, type, size and channels; pixels to [0, 1]."""


def find_image_input(inputs: tuple[TensorDescription, ...], layout: Layout | None) -> ImageInput:
    """Choose the input for the images.

    Args:
        inputs: Inputs that have to be fed.
        layout: Axes, where the caller knows them.

    Raises:
        SuspectConfigError: No input or more than one; the message lists what there is.
    """
    found = [image_input for tensor in inputs if (image_input := _as_image_input(tensor, layout))]
    # A second input would have to be fed with something that nobody knows.
    if len(found) != 1 or len(inputs) != 1:
        listed = ", ".join(f"{t.name}: {t.dtype} {_shape_text(t)}" for t in inputs) or "none"
        raise SuspectConfigError(
            "input: expected exactly one that takes images (float, float16, uint8 or int8; "
            f"1 or 3 channels), got {listed}"
        )
    return found[0]


def complete_recipe(image_input: ImageInput, options: RecipeOptions) -> InputRecipe:
    """Join what the file says with what the caller knows.

    Integer inputs take the pixels themselves: scale, mean and std do not apply to them. An input of
    one channel, to which colours come as grey, takes the same share of their means and stds.

    Raises:
        SuspectConfigError: The two contradict each other or a value is out of range.
    """
    recipe = image_input.recipe
    for name in ("size", "channels"):
        ours, theirs = getattr(options, name), getattr(recipe, name)
        if ours is not None and theirs is not None and ours != theirs:
            raise SuspectConfigError(
                f"preprocessing.{name}: expected {theirs}, which the model's input says, got {ours}"
            )
    given = {name: value for name, value in vars(options).items() if value is not None}
    if recipe.is_integer:
        for name in ("scale", "mean", "std"):
            given.pop(name, None)
    else:
        given.setdefault("scale", UNIT_SCALE)
    if given.get("channels", recipe.channels) == 1:
        for name in ("mean", "std"):
            values = given.get(name, ())
            if len(values) == len(LUMA):
                given[name] = (math.fsum(w * v for w, v in zip(LUMA, values, strict=True)),)
    try:
        return replace(recipe, **given)
    except ValueError as error:
        raise SuspectConfigError(f"preprocessing.{error}") from error


def _as_image_input(tensor: TensorDescription, layout: Layout | None) -> ImageInput | None:
    dtype = DTYPES.get(tensor.dtype)
    if dtype is None:
        return None
    axes = tensor.shape
    if axes is None:
        # No shape at all: as many open axes as the layout has.
        axes = (None,) * (4 if layout is None or layout.startswith("N(") else num_axes(layout))
    layout = layout or _guess_layout(axes)
    if layout is None or num_axes(layout) != len(axes):
        return None
    sizes: dict[str, Axis] = {"N": axes[0]}
    if layout.startswith("N("):
        sizes |= _unflattened(axes[1])
    else:
        sizes = dict(zip(layout, axes, strict=True))
    height, width, batch = sizes.get("H"), sizes.get("W"), sizes.get("N")
    channels = sizes.get("C") if "C" in layout else 1
    if isinstance(channels, int) and channels not in (1, 3):
        return None
    # Before any image is made: sizes are a stranger's wish, and trial images are made on our side.
    for name, asked, most in (
        ("height", height, MAX_SIDE),
        ("width", width, MAX_SIDE),
        ("batch", batch, MAX_FIXED_BATCH),
    ):
        if isinstance(asked, int) and asked > most:
            raise SuspectConfigError(
                f"input {tensor.name[:80]}: expected a {name} of at most {most}, got {asked}"
            )
    known = isinstance(height, int) and isinstance(width, int)
    return ImageInput(
        name=tensor.name,
        fixed_batch=batch if isinstance(batch, int) else None,
        recipe=InputRecipe(
            size=(int(height), int(width)) if known else None,  # type: ignore[arg-type]
            channels=channels if channels in (1, 3) else None,  # type: ignore[arg-type]
            layout=layout,
            dtype=dtype,
            scale=1.0 if dtype in ("uint8", "int8", "int32") else UNIT_SCALE,
        ),
    )


def _guess_layout(axes: tuple[Axis, ...]) -> Layout | None:
    """Return the layout that sizes speak for, channels first where both would do."""
    is_channels = [size in (1, 3) for size in axes]
    is_open = [not isinstance(size, int) for size in axes]
    if len(axes) == 4:
        if is_channels[1]:
            return "NCHW"
        if is_channels[3]:
            return "NHWC"
        return "NCHW" if is_open[1] else "NHWC" if is_open[3] else None
    if len(axes) == 3:
        # [N, 784, 1]: a row of values with an axis behind it.
        if axes[2] == 1 and (is_open[0] or axes[0] == 1) and _unflattened(axes[1]):
            return "N(CHW)1"
        # Three axes are one image with channels, or pictures without.
        if axes[0] == 3 and not is_channels[2]:
            return "CHW"
        if axes[2] == 3 or (axes[2] == 1 and axes[0] != 1):
            return "HWC"
        return "NHW"
    if len(axes) == 2:
        # Two axes are one row per image, unless they are a square of fixed size.
        return "N(CHW)" if is_open[0] or axes[0] == 1 or axes[0] != axes[1] else "HW"
    return None


def num_axes(layout: Layout) -> int:
    """Return how many axes a tensor of this layout has.

    Example:
        >>> num_axes("NCHW"), num_axes("N(CHW)"), num_axes("N(HWC)1")
        (4, 2, 3)
    """
    if layout.startswith("N("):
        return 3 if layout.endswith("1") else 2
    return len(layout)


def _unflattened(values: Axis) -> dict[str, Axis]:
    """Return the square picture that has this many values, nothing if there is none."""
    if isinstance(values, int):
        # No number is both a square and three times a square, so that at most one of the two fits.
        for channels in (3, 1):
            side = math.isqrt(values // channels)
            if side > 1 and side * side * channels == values:
                return {"C": channels, "H": side, "W": side}
    return {}


def _shape_text(tensor: TensorDescription) -> str:
    if tensor.shape is None:
        return "of unknown shape"
    return "[" + ", ".join("?" if size is None else str(size) for size in tensor.shape) + "]"
