"""What exporters write into a file's metadata about images and classes.

Image keys follow the ONNX metadata conventions (docs/MetadataProps.md: ``Image.BitmapPixelFormat``,
``Image.NominalPixelRange``); ``mean``/``std`` and class names follow what exporters in use write.
All of it is the vendor's word: it is shown and tried, never believed unseen.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from adapters.onnx.input import RecipeOptions
from adapters.preprocessing import UNIT_SCALE

PIXEL_RANGES: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    "NominalRange_0_255": (1.0, (0.0,), (1.0,)),
    "Normalized_0_1": (UNIT_SCALE, (0.0,), (1.0,)),
    "Normalized_1_1": (UNIT_SCALE, (0.5,), (0.5,)),
}
"""Scale, mean and std by ``Image.NominalPixelRange``."""

MEAN_KEYS = ("mean", "image_mean", "normalize_mean")
STD_KEYS = ("std", "image_std", "normalize_std")
CLASS_KEYS = ("labels", "names", "classes", "class_names", "id2label")

_NUMBERED_NAME = re.compile(r"""["']?\d+["']?\s*:\s*(["'])(.*?)\1""")


def recipe_from_metadata(metadata: Mapping[str, str]) -> RecipeOptions | None:
    """Return the preprocessing that a file names, None if it names none.

    Args:
        metadata: The file's ``metadata_props``.
    """
    mean, std = _numbers(metadata, MEAN_KEYS), _numbers(metadata, STD_KEYS)
    if mean is not None and std is not None and len(mean) == len(std) and min(std) > 0:
        # Means of more than 1 are in units of 255.
        scale = UNIT_SCALE if max(map(abs, mean)) <= 1 else 1.0
        return RecipeOptions(scale=scale, mean=mean, std=std, color_order=_order(metadata))
    pixel_range = PIXEL_RANGES.get(metadata.get("Image.NominalPixelRange", ""))
    if pixel_range is None:
        return None
    scale, mean, std = pixel_range
    return RecipeOptions(scale=scale, mean=mean, std=std, color_order=_order(metadata))


def classes_from_metadata(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the class names that a file lists in order, empty if it lists none."""
    for key in CLASS_KEYS:
        text = metadata.get(key, "").strip()
        if not text:
            continue
        value = _json(text)
        if isinstance(value, dict):
            return tuple(str(name) for name in value.values())
        if isinstance(value, list):
            return tuple(str(name) for name in value)
        numbered = [match.group(2) for match in _NUMBERED_NAME.finditer(text)]
        if numbered:
            return tuple(numbered)
        separator = "\n" if "\n" in text else ","
        return tuple(name.strip() for name in text.split(separator) if name.strip())
    return ()


def _order(metadata: Mapping[str, str]) -> Any:
    return "BGR" if metadata.get("Image.BitmapPixelFormat", "").startswith("Bgr") else "RGB"


def _numbers(metadata: Mapping[str, str], keys: tuple[str, ...]) -> tuple[float, ...] | None:
    for key in keys:
        value = _json(metadata.get(key, ""))
        if isinstance(value, int | float):
            value = [value]
        if isinstance(value, list) and len(value) in (1, 3) and all(map(_is_finite, value)):
            return tuple(float(number) for number in value)
    return None


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
