"""The table ``[request.tensor]``: how pixels become the numbers that a served model takes."""

from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from adapters.preprocessing import (
    UNIT_SCALE,
    ColorOrder,
    InputDtype,
    InputRecipe,
    Layout,
    apply,
)
from adapters.strict_model import FrozenModel
from adapters.suspect import SuspectConfigError


def _several(value: Any) -> Any:
    return [value] if isinstance(value, int | float) else value


Numbers = Annotated[tuple[float, ...], BeforeValidator(_several), Field(strict=False, min_length=1)]
"""One number, alone or in a list, or one per channel."""


class TensorTable(FrozenModel):
    """From pixels 0-255 to ``(pixel * scale - mean) / std``."""

    layout: Literal["NCHW", "NHWC", "NHW", "N(CHW)", "N(HWC)"] = "NCHW"
    """Axes: batch N, channels C, height H, width W; ``N(CHW)`` is one flat row per image."""
    scale: Annotated[float, Field(gt=0)] = UNIT_SCALE
    """Factor on the pixel, before the mean is taken off; 1/255 by default."""
    mean: Numbers = (0.0,)
    """One number, or one per channel in RGB order, after scaling."""
    std: Numbers = (1.0,)
    """One number, or one per channel in RGB order, after scaling."""
    color_order: ColorOrder = "RGB"
    """Order of three channels in the tensor."""
    channels: Literal[1, 3] | None = None
    """Channels that the model takes: 3 to 1 is luma, 1 to 3 repeats; as in the image if absent."""
    dtype: InputDtype = "float32"
    """``uint8`` and ``int32`` are the pixels themselves, ``int8`` the pixels minus 128."""

    @model_validator(mode="after")
    def _usable(self) -> "TensorTable":
        self.recipe()  # raises ValueError with the name of the field
        return self

    def recipe(
        self,
        layout: Layout | None = None,
        dtype: InputDtype | None = None,
        channels: Literal[1, 3] | None = None,
    ) -> InputRecipe:
        """Return the steps, with what a server says where the table says nothing."""
        return _recipe(
            channels=self.channels or channels,
            color_order=self.color_order,
            scale=self.scale,
            mean=self.mean,
            std=self.std,
            dtype=dtype or self.dtype,
            layout=layout or self.layout,
        )

    def tensor(
        self,
        images: NDArray[np.uint8],
        layout: Layout | None = None,
        dtype: InputDtype | None = None,
        channels: Literal[1, 3] | None = None,
    ) -> NDArray[Any]:
        """Return the tensor for pixels ``[N, H, W, C]``.

        Args:
            images: The pixels.
            layout: What a server says where the table says nothing, like the rest.
            dtype: Likewise.
            channels: Likewise.

        Raises:
            SuspectConfigError: The images do not fit, such as three means for one channel.
        """
        try:
            return apply(self.recipe(layout, dtype, channels), images)
        except ValueError as error:
            raise SuspectConfigError(f"request.tensor: {error}") from error


@lru_cache(maxsize=64)
def _recipe(**fields: Any) -> InputRecipe:
    """Return a checked recipe; images come one by one, and the fields stay the same."""
    return InputRecipe(**fields)
