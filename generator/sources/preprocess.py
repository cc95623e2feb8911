"""The preprocessing of a network as its owner names it.

``mean/std``, a TOML file, or the configuration that torchvision, timm and Hugging Face keep with
their models. Their libraries are loaded only if they are named, and nothing is downloaded.
"""

import json
import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from adapters.extras import require
from adapters.geometry import Geometry
from adapters.preprocessing import ColorOrder, Resampling
from adapters.strict_model import FrozenModel
from generator.errors import GenerationError
from generator.sources.contract import InputContract

_Side = Annotated[int, Field(ge=1)]

_HF_RESAMPLING: tuple[Resampling, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box")
"""By the numbers of Pillow's filters."""
_HAMMING = 5
"""Pillow's last filter, which no network was trained with."""


class PreprocessTable(FrozenModel):
    """The TOML file of ``--preprocess``."""

    model_config = ConfigDict(strict=False)

    mean: tuple[float, ...] = (0.0,)
    """Per channel in RGB order or one for all, in units of ``pixel * scale``."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = (1.0,)
    scale: Annotated[float, Field(gt=0)] = 1 / 255
    """Factor on the pixel before the mean is taken off: 1 for a network that takes 0 to 255."""
    color_order: ColorOrder = "RGB"
    resize: _Side | tuple[_Side, _Side] | None = None
    """Shorter side in pixels, or height and width."""
    resampling: Resampling = "bilinear"
    antialias: bool = True
    crop: _Side | tuple[_Side, _Side] | None = None
    """Side of the centre crop, or height and width."""
    crop_start: Literal["rounded", "floored"] = "rounded"


def parse_normalise(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Parse ``mean/std``, each one or three comma-separated numbers in [0, 1] pixel units.

    Raises:
        GenerationError: It is something else.

    Example:
        >>> parse_normalise("0.5/0.25")
        ((0.5,), (0.25,))
    """
    try:
        mean, std = (tuple(float(value) for value in part.split(",")) for part in text.split("/"))
    except ValueError:
        mean, std = (), ()
    if len(mean) != len(std) or len(mean) not in (1, 3) or min(std) <= 0:
        raise GenerationError(
            "normalise: expected mean/std, one or three numbers each such as "
            f"0.49,0.48,0.45/0.25,0.24,0.26, got {text!r}"
        )
    return mean, std


def usual_preprocess(model: str, normalise: str | None) -> str | None:
    """Return the preprocessing that comes with a model's name, where nothing else is said.

    Example:
        >>> usual_preprocess("timm:resnet18", None)
        'timm:resnet18'
    """
    return model if normalise is None and model.partition(":")[0] in ("timm", "hf") else None


def read_contract(normalise: str | None, preprocess: str | None) -> InputContract:
    """Read how the network wants its images.

    Args:
        normalise: ``mean/std``; wins over what ``preprocess`` says about the two.
        preprocess: ``torchvision:WEIGHTS``, ``timm:NAME``, ``hf:FOLDER`` or a TOML file.

    Raises:
        GenerationError: Neither is given, or one cannot be read.
    """
    if preprocess is None:
        if normalise is None:
            raise GenerationError(
                "normalise: expected --normalise mean/std, or --preprocess, or either in the TOML "
                "file"
            )
        mean, std = parse_normalise(normalise)
        return InputContract(mean=mean, std=std)
    kind, colon, name = preprocess.partition(":")
    readers = {"torchvision": _torchvision, "timm": _timm, "hf": _hugging_face}
    if colon and kind in readers:
        contract = _checked(readers[kind], name)
    elif preprocess.endswith(".toml"):
        contract = _checked(_toml, preprocess)
    else:
        raise GenerationError(
            "preprocess: expected torchvision:WEIGHTS, timm:NAME, hf:FOLDER or a .toml file, got "
            f"{preprocess!r}"
        )
    if normalise is None:
        return contract
    mean, std = parse_normalise(normalise)
    return InputContract(
        mean=mean, std=std, color_order=contract.color_order, geometry=contract.geometry
    )


def _checked(read: Callable[[str], InputContract], name: str) -> InputContract:
    try:
        return read(name)
    except GenerationError:
        raise
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise GenerationError(
            f"preprocess: {name}: {field}: {first['msg']}, got {first['input']!r}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GenerationError(f"preprocess: cannot read {name} ({error})") from error


def _toml(name: str) -> InputContract:
    text = Path(name).read_text(encoding="utf-8")
    return _from_table(PreprocessTable(**tomllib.loads(text)))


def _from_table(table: PreprocessTable) -> InputContract:
    num = {len(table.mean), len(table.std)} - {1}
    if len(num) > 1 or not num <= {3}:
        raise GenerationError(
            "preprocess: mean, std: expected one or three numbers, got "
            f"{len(table.mean)} and {len(table.std)}"
        )
    channels = max(1, *num) if num else 1
    crop = (table.crop, table.crop) if isinstance(table.crop, int) else table.crop
    # (p * s - m) / d is (p / 255 - m / 255 s) / (d / 255 s).
    unit = 255 * table.scale
    mean, std = (
        tuple(value / unit for value in (values * channels)[:channels])
        for values in (table.mean, table.std)
    )
    return InputContract(
        mean=mean,
        std=std,
        color_order=table.color_order,
        geometry=Geometry(
            resize=table.resize,
            resampling=table.resampling,
            antialias=table.antialias,
            crop=crop,
            crop_start=table.crop_start,
        ),
    )


def _torchvision(name: str) -> InputContract:
    """Read ``torchvision.transforms._presets.ImageClassification`` of a weights entry."""
    require("torchvision", by="preprocess", error=GenerationError)
    from torchvision.models import get_weight

    preset = get_weight(name).transforms()
    (resize,) = preset.resize_size
    (crop,) = preset.crop_size
    return _from_table(
        PreprocessTable(
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            scale=1 / 255,
            resize=resize,
            resampling=preset.interpolation.value,
            # Pillow images, which torchvision is given here, are always antialiased.
            antialias=True,
            crop=crop,
        )
    )


def _timm(name: str) -> InputContract:
    """Read what `timm.data.create_transform` makes of a model's configuration for evaluation."""
    require("timm", by="preprocess", error=GenerationError)
    from timm.data import resolve_data_config
    from timm.models import get_pretrained_cfg

    described = get_pretrained_cfg(name)
    if described is None:
        raise GenerationError(f"preprocess: timm knows no pretrained model {name!r}")
    config = resolve_data_config({}, pretrained_cfg=described.to_dict())
    _, height, width = config["input_size"]
    scaled = [math.floor(side / config["crop_pct"]) for side in (height, width)]
    mode = config.get("crop_mode") or "center"
    if mode not in ("center", "squash") or (mode == "center" and height != width):
        raise GenerationError(
            f"preprocess: timm:{name} crops in the way {mode!r} to {height} by {width}, which is "
            "not supported; describe it in a TOML file"
        )
    return _from_table(
        PreprocessTable(
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            resize=scaled[0] if mode == "center" else (scaled[0], scaled[1]),
            resampling=config["interpolation"],
            crop=(height, width),
        )
    )


def _hugging_face(name: str) -> InputContract:
    """Read ``preprocessor_config.json`` as the processors of ``transformers`` do with Pillow."""
    folder = Path(name)
    fields = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    resample = fields.get("resample")
    if fields.get("do_resize", True) and (resample is None or resample == _HAMMING):
        raise GenerationError(
            f"preprocess: hf:{name}: expected resample, 0 to 4 (each processor has another "
            f"default), got {resample}"
        )
    resize, crop = _hf_geometry(fields)
    normalises = fields.get("do_normalize", True)
    return _from_table(
        PreprocessTable(
            mean=tuple(fields["image_mean"]) if normalises else (0.0,),
            std=tuple(fields["image_std"]) if normalises else (1.0,),
            scale=fields.get("rescale_factor", 1 / 255) if fields.get("do_rescale", True) else 1.0,
            resize=resize,
            resampling=_HF_RESAMPLING[resample or 0],
            crop=crop,
            crop_start="floored",
        )
    )


def _hf_geometry(fields: dict[str, Any]) -> tuple[Any, Any]:
    """Return resizing and centre crop of a processor's configuration."""
    size, crop = fields.get("size"), fields.get("crop_size")
    kind = fields.get("image_processor_type") or fields.get("feature_extractor_type") or ""
    resize: int | tuple[int, int] | None = None
    if fields.get("do_resize", True) and size is not None:
        if isinstance(size, int):
            # Before sizes had names: a shorter side where a crop follows, else a square.
            size = {"shortest_edge": size} if fields.get("do_center_crop") else (size, size)
        if isinstance(size, dict) and "shortest_edge" in size:
            resize = int(size["shortest_edge"])
        elif isinstance(size, dict):
            resize = (int(size["height"]), int(size["width"]))
        else:
            resize = (int(size[0]), int(size[1]))
    if kind.startswith("ConvNext") and isinstance(resize, int):
        # Its size is that of the crop, unless it is large: then the image is squashed to it.
        if resize >= 384:
            return (resize, resize), None
        return int(resize / fields.get("crop_pct", 224 / 256)), resize
    if kind.startswith("Levit") and isinstance(resize, int):
        resize = int(256 / 224 * resize)
    if not fields.get("do_center_crop", False) or crop is None:
        return resize, None
    if isinstance(crop, int):
        return resize, crop
    return resize, (int(crop["height"]), int(crop["width"]))
