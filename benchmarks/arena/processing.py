"""What a deployer puts around a model: the same weights, other answers or other inputs.

Each wrapper satisfies `adapters.suspect.Suspect`. Inputs: the five of MFUE (Xu et al., KDD 2026)
and some that cost less accuracy. DP-Logits: Gaussian noise on the logits (Rahimian et al.).
"""

import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

from adapters.suspect import Capability, Predictions, Suspect, SuspectIdentity
from benchmarks.arena.config import InputName, Processing

Pixels = NDArray[np.uint8]
Row = NDArray[np.float64]


class Processed:
    """Another suspect behind a deployer's processing.

    Args:
        suspect: Gives probabilities.
        name: Of the processing.
        inputs: Changes one image ``[H, W, C]``.
        outputs: Changes the log-probabilities ``[K]`` of one image, given the image.
    """

    capability = Capability.PROBABILITIES
    concurrency = 1

    def __init__(
        self,
        suspect: Suspect,
        name: str,
        *,
        inputs: Callable[[Pixels], Pixels] | None = None,
        outputs: Callable[[Row, Pixels], Row] | None = None,
    ) -> None:
        self._inner, self._name = suspect, name
        self._inputs, self._outputs = inputs, outputs
        self.batch_size = suspect.batch_size

    @property
    def identity(self) -> SuspectIdentity:
        """Return the suspect's own, with the processing as part of it."""
        inner = self._inner.identity
        digest = hashlib.sha256(f"{inner.digest}/{self._name}".encode()).hexdigest()
        return dataclasses.replace(inner, name=f"{inner.name} {self._name}", digest=digest)

    def predict(self, images: Pixels) -> Predictions:
        """Classify a batch ``[N, H, W, C]``."""
        shown = images
        if self._inputs is not None:
            shown = np.stack([self._inputs(image) for image in images])
        given = self._inner.predict(shown)
        if self._outputs is None:
            return given
        assert given.log_probabilities is not None, "files give probabilities"
        rows = np.stack(
            [
                self._outputs(row, image)
                for row, image in zip(given.log_probabilities, images, strict=True)
            ]
        )
        return dataclasses.replace(given, labels=rows.argmax(axis=1), log_probabilities=rows)

    def close(self) -> None:
        """Leave the suspect to its owner."""


def processings(
    wanted: Processing, seed: int
) -> Iterator[tuple[str, Callable[[Suspect], Suspect]]]:
    """Return every processing of a config by name."""
    for value in wanted.temperatures:
        yield _answers(f"temperature {value:g}", _scaled(1 / value))
    for decimals in wanted.decimals:
        yield _answers(f"{decimals} decimals", _rounded(decimals))
    for sigma in wanted.noise:
        yield _answers(f"DP-Logits {sigma:g}", _noisy(sigma, np.random.default_rng([seed, 1])))
    for sigma in wanted.fixed_noise:
        yield _answers(f"DP-Logits {sigma:g}, fixed", _noisy(sigma, None))
    for name in wanted.inputs:
        yield _images(name, INPUTS[name], seed)


def _answers(
    name: str, change: Callable[[Row, Pixels], Row]
) -> tuple[str, Callable[[Suspect], Suspect]]:
    return name, lambda suspect: Processed(suspect, name, outputs=change)


def _images(
    name: str, change: Callable[[Pixels, np.random.Generator], Pixels], seed: int
) -> tuple[str, Callable[[Suspect], Suspect]]:
    def wrapped(suspect: Suspect) -> Suspect:
        # One generator a suspect: the transform is drawn anew for every query.
        rng = np.random.default_rng([seed, 2])
        return Processed(suspect, name, inputs=lambda image: change(image, rng))

    return name, wrapped


def _normalised(logits: Row) -> Row:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def _scaled(factor: float) -> Callable[[Row, Pixels], Row]:
    return lambda row, image: _normalised(row * factor)


def _rounded(decimals: int) -> Callable[[Row, Pixels], Row]:
    def change(row: Row, image: Pixels) -> Row:
        kept = np.round(np.exp(row), decimals)
        with np.errstate(divide="ignore"):
            return np.asarray(np.maximum(np.log(kept), -1e3))

    return change


def _noisy(sigma: float, rng: np.random.Generator | None) -> Callable[[Row, Pixels], Row]:
    """Add noise: fresh from ``rng``, or the same for the same image."""

    def change(row: Row, image: Pixels) -> Row:
        draw = rng
        if draw is None:
            seed = hashlib.sha256(image.tobytes()).digest()[:8]
            draw = np.random.default_rng(int.from_bytes(seed, "big"))
        return _normalised(row + draw.normal(0.0, sigma, row.shape))

    return change


def _crop(image: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    part_height, part_width = 3 * height // 4, 3 * width // 4
    top = int(rng.integers(height - part_height + 1))
    left = int(rng.integers(width - part_width + 1))
    return _resized(image[top : top + part_height, left : left + part_width], height, width)


def _flip(image: Pixels, rng: np.random.Generator) -> Pixels:
    return image[::-1] if rng.random() < 0.5 else image[:, ::-1]


def _rotate(image: Pixels, rng: np.random.Generator) -> Pixels:
    angle = rng.uniform(0.0, 360.0)
    return np.asarray(_pil(image).rotate(angle, Image.Resampling.BILINEAR)).reshape(image.shape)


def gaussian_noise(image: Pixels, rng: np.random.Generator, *, levels: float = 16.0) -> Pixels:
    """Add noise with a standard deviation in 8-bit levels."""
    noisy: Row = np.rint(image + rng.normal(0.0, levels, image.shape))
    return noisy.clip(0, 255).astype(np.uint8)


def _blur(image: Pixels, rng: np.random.Generator, *, sigma: float = 1.0) -> Pixels:
    # 5x5 (the paper gives no sigma): truncated after two pixels.
    pixels = image.astype(np.float64)
    blurred: Row = ndimage.gaussian_filter(pixels, (sigma, sigma, 0), radius=2)
    return np.rint(blurred).astype(np.uint8)


def _jpeg(image: Pixels, rng: np.random.Generator, *, quality: int) -> Pixels:
    file = io.BytesIO()
    _pil(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(image.shape)


def _there_and_back(image: Pixels, rng: np.random.Generator, *, percent: int) -> Pixels:
    """Resize to a share of the sides, and back to what the model takes."""
    height, width = image.shape[:2]
    other = _resized(image, round(height * percent / 100), round(width * percent / 100))
    return _resized(other, height, width)


def mirror(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Swap left and right."""
    return image[:, ::-1]


def _bits(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.rint(np.rint(image / 255 * 31) / 31 * 255).astype(np.uint8)


def _median(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.asarray(_pil(image).filter(ImageFilter.MedianFilter(3))).reshape(image.shape)


def _resize_pad(image: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    small = int(rng.integers(max(1, round(0.85 * height)), height + 1))
    part = _resized(image, small, small * width // height)
    padded = np.zeros_like(image)
    top = int(rng.integers(height - part.shape[0] + 1))
    left = int(rng.integers(width - part.shape[1] + 1))
    padded[top : top + part.shape[0], left : left + part.shape[1]] = part
    return padded


INPUTS: dict[InputName, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "crop": _crop,
    "flip": _flip,
    "rotate": _rotate,
    "noise": gaussian_noise,
    "noise-8": partial(gaussian_noise, levels=8.0),
    "blur": _blur,
    "blur-0.6": partial(_blur, sigma=0.6),
    "jpeg-55": partial(_jpeg, quality=55),
    "jpeg-75": partial(_jpeg, quality=75),
    "jpeg-85": partial(_jpeg, quality=85),
    "bits-5": _bits,
    "median": _median,
    "resize-pad": _resize_pad,
    "resize-75": partial(_there_and_back, percent=75),
    "resize-88": partial(_there_and_back, percent=88),
    "resize-125": partial(_there_and_back, percent=125),
    "mirror": mirror,
}
"""Input transforms by name. Those of the paper (crop, flip, rotate, noise, blur) cost accuracy, the
others little."""


def _pil(image: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image if image.shape[2] == 3 else image[:, :, 0]))


def _resized(image: Pixels, height: int, width: int) -> Pixels:
    resized = _pil(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(height, width, image.shape[2])
