"""Find out how a model wants its images, by trying what people usually do on labelled images.

Normalisations and colour orders first, on a part of the images; what is not clearly worse than the
best is then tried on all of them, and the leaders with every way of resizing. Candidates that the
images cannot tell apart are reported as ties.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adapters.onnx.input import RecipeOptions
from adapters.preprocessing import UNIT_SCALE, ColorOrder, InputRecipe, Layout
from adapters.suspect import Predictions, SuspectError

NUM_SCREENING_IMAGES = 64
MAX_RESIZED = 4
"""Leaders that every way of resizing is tried with."""
TIE_LEVEL = 0.05
"""Two candidates are tied unless a two-sided sign test on their errors is below this."""
SCREENING_LEVEL = 0.001
"""The same for what a first look rules out: the best of many looks better than it is."""

RESIZINGS: tuple[tuple[str, RecipeOptions], ...] = (
    ("bilinear", RecipeOptions(resampling="bilinear")),
    ("bicubic", RecipeOptions(resampling="bicubic")),
    ("nearest", RecipeOptions(resampling="nearest")),
    ("bilinear, centre 87.5 %", RecipeOptions(resampling="bilinear", crop=0.875)),
)
"""The usual ways from one size to another."""


_BY_CHANNEL, _BY_PIXEL = ", rows by channel", ", rows by pixel"
_ROWS: dict[Layout | None, str] = {"N(CHW)": _BY_CHANNEL, "N(HWC)": _BY_PIXEL}
_ROWS_1: dict[Layout | None, str] = {"N(CHW)1": _BY_CHANNEL, "N(HWC)1": _BY_PIXEL}
ROW_LAYOUTS: dict[Layout, dict[Layout | None, str]] = {
    "N(CHW)": _ROWS,
    "N(HWC)": _ROWS,
    "N(CHW)1": _ROWS_1,
    "N(HWC)1": _ROWS_1,
}
"""Layouts that look alike, and what they are called."""


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """A usual mapping of pixels: ``(pixel * scale - mean) / std``."""

    name: str
    scale: float = UNIT_SCALE
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels: int | None = None
    """Channels of the images that it is for; None for any."""


def _rgb(
    name: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    scale: float = UNIT_SCALE,
) -> Normalisation:
    return Normalisation(name=name, scale=scale, mean=mean, std=std, channels=3)


NORMALISATIONS = (
    Normalisation(name="0 to 1"),
    Normalisation(name="-1 to 1", mean=(0.5,), std=(0.5,)),
    _rgb("ImageNet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    _rgb("ImageNet mean, one std", (0.485, 0.456, 0.406), (0.225, 0.225, 0.225)),
    _rgb("CIFAR-10", (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    _rgb("CIFAR-10, smaller std", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201)),
    _rgb("CIFAR-100", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    _rgb(
        "CLIP",
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    ),
    Normalisation(name="MNIST", mean=(0.1307,), std=(0.3081,), channels=1),
    Normalisation(name="-0.5 to 0.5", mean=(0.5,)),
    Normalisation(name="0 to 255", scale=1.0),
    Normalisation(name="-128 to 127", scale=1.0, mean=(128.0,)),
    _rgb("0 to 255 less ImageNet mean", (123.68, 116.779, 103.939), (1.0, 1.0, 1.0), scale=1.0),
    Normalisation(name="-1 to 0", mean=(1.0,)),
)
"""From the model zoos of PyTorch, Keras (its three modes), Caffe, CLIP and the data sets."""


class Reprocessable(Protocol):
    """A suspect whose preprocessing can be changed, such as `adapters.onnx.suspect.OnnxSuspect`."""

    @property
    def batch_size(self) -> int:
        """Largest number of images that `predict` takes."""
        ...

    @property
    def recipe(self) -> InputRecipe:
        """Return how images become the model's input."""
        ...

    def use_recipe(self, options: RecipeOptions) -> None:
        """Make the input in another way from now on."""
        ...

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Classify one batch."""
        ...


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to make the input."""

    name: str
    options: RecipeOptions


@dataclass(frozen=True, kw_only=True)
class RankedPreprocessing:
    """How well a candidate did."""

    name: str
    options: RecipeOptions
    num_images: int
    """Images that it was tried on: all of them, or the part for a first look."""
    num_correct: int
    mean_log_probability: float | None
    """Mean log-probability of the true class; None for labels only."""
    is_tied: bool
    """Whether the images cannot tell it from the best."""

    @property
    def accuracy(self) -> float:
        """Return the share of its images that it got right."""
        return self.num_correct / self.num_images


@dataclass(frozen=True, kw_only=True)
class _Trial:
    candidate: Candidate
    is_correct: NDArray[np.bool_]
    mean_log_probability: float | None


def rank_preprocessings(
    suspect: Reprocessable,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    known: Sequence[Candidate] = (),
    on_tried: Callable[[Candidate], None] | None = None,
) -> tuple[RankedPreprocessing, ...]:
    """Try the usual ways to make a model's input and rank them.

    Args:
        suspect: The model; keeps the best way afterwards.
        images: Labelled images ``[N, H, W, C]``, uint8.
        labels: Their true classes ``[N]``.
        known: What the bundle or the file's metadata says, tried first.
        on_tried: Called after each candidate.

    Returns:
        Best first: by images that are right, then by the log-probability of the true class. Those
        tried on all images come before those that a first look ruled out.

    Raises:
        SuspectError: No candidate could be tried.
        ValueError: There are no images.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(f"labels: expected one for each of {len(images)} images")
    sample = np.unique(
        np.linspace(0, len(images) - 1, min(NUM_SCREENING_IMAGES, len(images))).astype(np.int64)
    )
    told = on_tried or (lambda candidate: None)
    channels = suspect.recipe.channels or images.shape[-1]
    screened = _try_all(
        suspect,
        candidates(suspect.recipe, channels, known),
        images[sample],
        labels[sample],
        told,
    )
    survivors = [t for t in screened if not _is_worse(t, screened[0], SCREENING_LEVEL)]
    needs_resizing = suspect.recipe.size not in (None, images.shape[1:3])
    usual, *others = RESIZINGS if needs_resizing else (("", RecipeOptions()),)
    finalists = [_resized(trial.candidate, *usual) for trial in survivors]
    final = _try_all(suspect, finalists, images, labels, told)
    if others:
        by_name = {_resized(t.candidate, *usual).name: t.candidate for t in survivors}
        leaders = [t for t in final if not _is_worse(t, final[0], TIE_LEVEL)][:MAX_RESIZED]
        finalists = [
            _resized(by_name[trial.candidate.name], *resizing)
            for trial in leaders
            for resizing in others
        ]
        final = sorted(final + _try_all(suspect, finalists, images, labels, told), key=_place)
    suspect.use_recipe(final[0].candidate.options)
    kept = {trial.candidate.name for trial in survivors}
    ruled_out = [trial for trial in screened if trial.candidate.name not in kept]
    return tuple(
        RankedPreprocessing(
            name=trial.candidate.name,
            options=trial.candidate.options,
            num_images=len(trial.is_correct),
            num_correct=int(trial.is_correct.sum()),
            mean_log_probability=trial.mean_log_probability,
            is_tied=number < len(final) and not _is_worse(trial, final[0], TIE_LEVEL),
        )
        for number, trial in enumerate([*final, *ruled_out])
    )


def candidates(
    recipe: InputRecipe, channels: int, known: Sequence[Candidate] = ()
) -> list[Candidate]:
    """Return what is known and the usual normalisations, times colour orders and orders of a row.

    Args:
        recipe: The model's input; integer inputs take pixels, so only the colour order is open.
        channels: Channels of the input.
        known: Candidates to come first; their colour order is tried both ways.
    """
    usual = [
        Candidate(name=n.name, options=RecipeOptions(scale=n.scale, mean=n.mean, std=n.std))
        for n in NORMALISATIONS
        if n.channels in (None, channels)
    ]
    fitting = [c for c in known if len(c.options.mean or (0.0,)) in (1, channels)]
    if recipe.is_integer:
        fitting, usual = [], [Candidate(name="pixels", options=RecipeOptions())]
    orders: tuple[ColorOrder, ...] = ("RGB", "BGR") if channels == 3 else ("RGB",)
    # A row of values does not show in which order they stand.
    layouts = ROW_LAYOUTS.get(recipe.layout, {None: ""}) if channels == 3 else {None: ""}
    found: dict[RecipeOptions, Candidate] = {}
    for candidate in [*fitting, *usual]:
        for order in orders:
            for layout, told in layouts.items():
                options = replace(candidate.options, color_order=order, layout=layout)
                name = f"{candidate.name}, {order}{told}" if channels == 3 else candidate.name
                found.setdefault(options, Candidate(name=name, options=options))
    return list(found.values())


def sign_test(num_first_only: int, num_second_only: int) -> float:
    """Return the two-sided p-value of the exact sign test.

    ``p = min(1, 2 sum_{i <= min(a, b)} C(a + b, i) / 2^(a + b))`` for a images that only the first
    got right and b that only the second did (McNemar, 1947, in its exact form).

    Example:
        >>> sign_test(0, 6)
        0.03125
    """
    total = num_first_only + num_second_only
    fewer = min(num_first_only, num_second_only)
    tail: int = sum(math.comb(total, count) for count in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**total))


def _is_worse(trial: _Trial, best: _Trial, level: float) -> bool:
    only_best = int((best.is_correct & ~trial.is_correct).sum())
    only_this = int((trial.is_correct & ~best.is_correct).sum())
    return sign_test(only_this, only_best) < level


def _try_all(
    suspect: Reprocessable,
    tried: Sequence[Candidate],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    told: Callable[[Candidate], None],
) -> list[_Trial]:
    """Return the candidates that the model takes, best first."""
    trials: list[_Trial] = []
    failure: SuspectError | None = None
    for candidate in tried:
        try:
            suspect.use_recipe(candidate.options)
            trials.append(_try(suspect, candidate, images, labels))
        except SuspectError as error:
            failure = failure or error
        told(candidate)
    if not trials:
        assert failure is not None
        raise failure
    return sorted(trials, key=_place)


def _place(trial: _Trial) -> tuple[int, float]:
    """Return what trials on the same images are sorted by, best first."""
    return -int(trial.is_correct.sum()), -(trial.mean_log_probability or 0.0)


def _resized(candidate: Candidate, name: str, resizing: RecipeOptions) -> Candidate:
    return Candidate(
        name=f"{candidate.name}, {name}" if name else candidate.name,
        options=replace(candidate.options, resampling=resizing.resampling, crop=resizing.crop),
    )


def _try(
    suspect: Reprocessable,
    candidate: Candidate,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
) -> _Trial:
    is_correct: list[NDArray[np.bool_]] = []
    log_probabilities: list[NDArray[np.float64]] = []
    for start in range(0, len(images), suspect.batch_size):
        truth = labels[start : start + suspect.batch_size]
        answer = suspect.predict(images[start : start + suspect.batch_size])
        is_correct.append(answer.labels == truth)
        if answer.log_probabilities is not None:
            # [n, K] -> [n]
            log_probabilities.append(answer.log_probabilities[np.arange(len(truth)), truth])
    mean = float(np.concatenate(log_probabilities).mean()) if log_probabilities else None
    return _Trial(
        candidate=candidate, is_correct=np.concatenate(is_correct), mean_log_probability=mean
    )
