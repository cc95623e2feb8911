"""Preprocessing is to the pixel what torchvision, timm and transformers do, where those are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from adapters.geometry import Geometry, apply_geometry
from adapters.preprocessing import InputRecipe, apply
from generator.errors import GenerationError
from generator.sources.contract import InputContract
from generator.sources.preprocess import read_contract

SIZES = ((300, 211), (211, 300), (97, 64), (224, 224), (513, 512), (60, 301))
"""Width and height: odd and even differences to any crop, smaller and larger than it."""


def photo(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(size[0])
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    fine = rng.integers(-20, 20, (size[1], size[0], 3))
    smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((smooth + fine).clip(0, 255).astype(np.uint8)).convert(mode)


def tensor_of(contract: InputContract, picture: Image.Image) -> NDArray[np.float32]:
    pixels = apply_geometry(picture, contract.geometry)[None]
    recipe = InputRecipe(mean=contract.mean, std=contract.std, color_order=contract.color_order)
    return np.asarray(apply(recipe, pixels)[0])


@pytest.mark.parametrize("resize", [None, 64, 256, (70, 90)])
@pytest.mark.parametrize("crop", [None, (48, 63), (224, 224)])
@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "bicubic", "lanczos", "box"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_pixel_is_torchvisions(
    resize: int | tuple[int, int] | None, crop: tuple[int, int] | None, resampling: str, mode: str
) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    steps = []
    if resize is not None:
        steps.append(transforms.Resize(resize, transforms.InterpolationMode(resampling)))
    if crop is not None:
        steps.append(transforms.CenterCrop(crop))
    theirs = transforms.Compose(steps)
    ours = Geometry(resize=resize, crop=crop, resampling=resampling)  # type: ignore[arg-type]
    for size in SIZES:
        picture = photo(size, mode)
        expected = np.asarray(theirs(picture)).reshape(*theirs(picture).size[::-1], -1)
        assert np.array_equal(apply_geometry(picture, ours), expected), size


@pytest.mark.parametrize("resampling", ["bilinear", "bicubic", "nearest"])
def test_without_antialiasing_it_is_torchs_interpolation_rounded(resampling: str) -> None:
    ours = Geometry(resize=(41, 230), resampling=resampling, antialias=False)  # type: ignore[arg-type]
    options = {} if resampling == "nearest" else {"align_corners": False}
    for size in SIZES:
        picture = photo(size)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].double()
        moved = torch.nn.functional.interpolate(pixels, (41, 230), mode=resampling, **options)
        expected = moved[0].permute(1, 2, 0).numpy()
        found = apply_geometry(picture, ours)
        assert np.abs(found - expected.clip(0, 255)).max() <= 0.5 + 1e-9, size


def test_a_torchvision_weights_entry_gives_its_own_transforms() -> None:
    models = pytest.importorskip("torchvision.models")
    for name in ("ResNet50_Weights.IMAGENET1K_V2", "EfficientNet_B3_Weights.IMAGENET1K_V1"):
        contract = read_contract(None, f"torchvision:{name}")
        theirs = models.get_weight(name).transforms()
        for size in SIZES:
            expected = theirs(photo(size)).numpy()
            assert tensor_of(contract, photo(size)) == pytest.approx(expected, abs=2e-6)


@pytest.mark.filterwarnings("ignore")
def test_a_timm_name_gives_the_transform_of_its_configuration() -> None:
    timm = pytest.importorskip("timm")
    from timm.data import create_transform, resolve_data_config

    for name in ("resnet18", "vit_base_patch16_224", "tf_efficientnet_lite0"):
        contract = read_contract(None, f"timm:{name}")
        described = timm.get_pretrained_cfg(name).to_dict()
        theirs = create_transform(**resolve_data_config({}, pretrained_cfg=described))
        for size in SIZES:
            expected = theirs(photo(size)).numpy()
            assert tensor_of(contract, photo(size)) == pytest.approx(expected, abs=2e-6)


def hugging_face(folder: Path, **fields: Any) -> str:
    usual = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(usual | fields))
    return f"hf:{folder}"


HF: dict[str, tuple[dict[str, Any], Geometry]] = {
    "ViT": (
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 40}},
        Geometry(resize=(32, 40), crop_start="floored"),
    ),
    "before sizes had names": (
        {"feature_extractor_type": "ViTFeatureExtractor", "size": 32, "resample": 3},
        Geometry(resize=(32, 32), resampling="bicubic", crop_start="floored"),
    ),
    "CLIP": (
        {
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": 36},
            "do_center_crop": True,
            "crop_size": {"height": 32, "width": 32},
            "resample": 3,
        },
        Geometry(resize=36, crop=(32, 32), resampling="bicubic", crop_start="floored"),
    ),
    "ConvNext": (
        {
            "image_processor_type": "ConvNextImageProcessor",
            "size": {"shortest_edge": 224},
            "crop_pct": 0.875,
        },
        Geometry(resize=256, crop=(224, 224), crop_start="floored"),
    ),
    "ConvNext, large": (
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}},
        Geometry(resize=(384, 384), crop_start="floored"),
    ),
    "none": (
        {"do_resize": False, "size": {"height": 9, "width": 9}},
        Geometry(crop_start="floored"),
    ),
}


@pytest.mark.parametrize("name", HF)
def test_a_hugging_face_configuration_is_read(tmp_path: Path, name: str) -> None:
    fields, expected = HF[name]
    contract = read_contract(None, hugging_face(tmp_path, **fields))
    assert contract.geometry == expected
    assert contract.mean == pytest.approx((0.5, 0.4, 0.3))


def test_rescaling_of_hugging_face_is_part_of_the_mean(tmp_path: Path) -> None:
    # Pixels of 0 to 255 less 0.5, over 0.2, are pixels of 0 to 1 less 0.5 / 255, over 0.2 / 255.
    contract = read_contract(None, hugging_face(tmp_path, do_rescale=False))
    assert contract.mean[0] == pytest.approx(0.5 / 255)
    assert contract.std[0] == pytest.approx(0.2 / 255)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["ViT", "CLIP", "ConvNext"])
def test_every_pixel_is_that_of_transformers_with_pillow(tmp_path: Path, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    where = hugging_face(tmp_path, **HF[name][0])
    try:
        theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    except (ImportError, TypeError, ValueError) as error:
        pytest.skip(f"no processor with Pillow: {error}")
    contract = read_contract(None, where)
    for size in SIZES:
        expected = np.asarray(theirs(photo(size))["pixel_values"][0])
        assert tensor_of(contract, photo(size)) == pytest.approx(expected, abs=3e-6), size


def test_a_toml_file_says_all_of_it_in_its_own_unit(tmp_path: Path) -> None:
    path = tmp_path / "pre.toml"
    path.write_text(
        'scale = 1\nmean = [103.53, 116.28, 123.675]\nstd = 1\ncolor_order = "BGR"\n'.replace(
            "std = 1", "std = [1]"
        )
        + 'resize = 256\ncrop = 224\nresampling = "bicubic"\nantialias = false\n'
    )
    contract = read_contract(None, str(path))
    assert contract.geometry == Geometry(
        resize=256, crop=(224, 224), resampling="bicubic", antialias=False
    )
    pixels = apply_geometry(photo((300, 211)), contract.geometry).astype(float)
    blue = tensor_of(contract, photo((300, 211)))[0]
    assert blue == pytest.approx(pixels[..., 2] - 123.675, abs=1e-3)


def test_a_normalisation_wins_over_the_configuration(tmp_path: Path) -> None:
    where = hugging_face(tmp_path, **HF["ViT"][0])
    contract = read_contract("0.1,0.2,0.3/1,1,1", where)
    assert contract.mean == (0.1, 0.2, 0.3)
    assert contract.geometry == HF["ViT"][1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reszie = 3\n", "reszie: Extra inputs"),
        ("resize = 0\n", "resize.*greater than or equal to 1"),
        ("mean = [1, 2]\n", "mean, std: expected one or three numbers, got 2 and 1"),
        ('antialias = false\nresampling = "box"\n', "antialias: expected true, or nearest"),
        ("std = [0]\n", "std.0: Input should be greater than 0"),
        ("resize =", "cannot read"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "pre.toml"
    path.write_text(text)
    with pytest.raises(GenerationError, match=message):
        read_contract(None, str(path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "expected --normalise mean/std, or --preprocess"),
        ("imagenet", "expected torchvision:WEIGHTS, timm:NAME, hf:FOLDER or a .toml file"),
        ("hf:nowhere", "cannot read nowhere"),
        ("missing.toml", "cannot read missing.toml"),
    ],
)
def test_nothing_usable_is_one_sentence(name: str | None, message: str) -> None:
    with pytest.raises(GenerationError, match=message):
        read_contract(None, name)
