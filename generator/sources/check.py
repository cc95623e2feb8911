"""The owner's model on real images, before anything is trained: does it do what its owner thinks?

It must answer with finite numbers, the same each time and whatever else is in the batch, have
gradients, and know its classes. Where it does not, the usual normalisations, colour orders and
orders of the classes are tried, and the one that makes it better is proposed.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from adapters.onnx.input import RecipeOptions
from adapters.preprocessing import UNIT_SCALE, InputRecipe
from adapters.suspect import Predictions
from audit.asking.class_order import confusion
from audit.suspects.preprocessing_search import RankedPreprocessing, rank_preprocessings, sign_test
from audit.verdict.guessing import near_chance
from generator.errors import SourceError
from generator.images.labelled import ImageSet
from generator.sources.contract import InputContract
from generator.sources.gradients import has_gradients
from generator.sources.source import Source, with_contract
from generator.sources.torch_suspect import TorchSuspect, predict_logits
from generator.training.loop import to_unit_interval

SEARCH_SECONDS = 20.0
"""A search that would take longer is made only if the model is at chance."""

_NUM_TRIED = 64
"""Images of a search; its candidates differ by dozens of percent."""
_NUM_CANDIDATES = 30
_MIN_GAIN = 0.02
"""Accuracy that another way must add before it is told."""
_LEVEL = 0.001
"""Of the sign test that must tell it from the owner's own."""
_REPEATABLE = 1e-3
"""Largest difference of log-probabilities between two askings, which rounding explains."""
_SURE, _MIN_SURE, _MANY_WRONG = 0.9, 20, 0.2
"""Labels are doubted where so many of at least so many answers of such probability are wrong."""
_ONE_OF = 12


@dataclass(frozen=True, kw_only=True)
class SourceCheck:
    """What was found."""

    accuracy: float
    """Share of the images that are right."""
    notes: tuple[str, ...]
    """What the owner should know, in sentences."""
    forward_seconds: float
    """Of one image, on this machine."""


def check_on_images(source: Source, images: ImageSet) -> SourceCheck:
    """Check a source on labelled images.

    Args:
        source: On the device that computes.
        images: Some that it was not trained on.

    Raises:
        SourceError: It is no usable classifier of the images; proposes what would make it one.
    """
    name = source.architecture
    started = time.perf_counter()
    logits = predict_logits(source.model, images.images)
    forward_seconds = (time.perf_counter() - started) / len(images)
    if not np.isfinite(logits).all():
        raise SourceError(f"model: expected finite logits from {name}, got {_odd(logits)}")
    _require_repeatable(source, images.images[:_ONE_OF])
    require_gradients(source, images.images[:_ONE_OF])
    is_correct = logits.argmax(axis=1) == images.labels
    accuracy = float(is_correct.mean())
    is_poor = near_chance(is_correct, images.labels)
    notes = list(source.notes)
    searches = [_other_order]
    expected = forward_seconds * min(_NUM_TRIED, len(images)) * _NUM_CANDIDATES
    if is_poor or expected < SEARCH_SECONDS:
        searches.append(_other_preprocessing)
    found = [search(source, images, is_correct, logits) for search in searches]
    best = max((one for one in found if one is not None), default=None)
    if best is not None and is_poor:
        raise SourceError(f"{_poor(accuracy, len(images))}; {best[1]}")
    if best is not None:
        notes.append(f"{accuracy:.0%} of {len(images)} images are right; {best[1]}.")
    if is_poor:
        raise SourceError(
            f"{_poor(accuracy, len(images))}, and neither the usual normalisations and colour "
            "orders nor another order of the classes help; check --weights, --preprocess (or "
            "--normalise) and --classes"
        )
    notes += _doubted_labels(images, logits)
    return SourceCheck(accuracy=accuracy, notes=tuple(notes), forward_seconds=forward_seconds)


def require_gradients(source: Source, images: NDArray[np.uint8]) -> None:
    """Refuse a model whose logits do not tell how to change each image, or any weight.

    Raises:
        SourceError: Its gradients are zero, not finite or not there.
    """
    device = next(source.model.parameters()).device
    pixels = to_unit_interval(torch.from_numpy(np.ascontiguousarray(images)).to(device))
    try:
        if has_gradients(source.model, pixels):
            return
        found = "zero or not finite"
    except RuntimeError as error:
        found = f"none ({str(error).splitlines()[0]})"
    raise SourceError(
        f"model: expected gradients from {source.architecture}, got {found}; it must compute with "
        "torch alone, not under torch.no_grad(), from weights with requires_grad"
    )


def _require_repeatable(source: Source, images: NDArray[np.uint8]) -> None:
    first = predict_logits(source.model, images)
    for batch_size, what in ((len(images), "each time"), (1, "alone than in a batch")):
        again = predict_logits(source.model, images, batch_size=batch_size)
        difference = float(np.abs(_log_softmax(again) - _log_softmax(first)).max())
        if not difference <= _REPEATABLE * (1 + float(np.abs(first).max())):
            raise SourceError(
                f"model: {source.architecture} answers the same images differently {what} "
                f"(log-probabilities differ by {difference:.2g}); look for dropout, noise or batch "
                "norm that go on in evaluation mode (.eval())"
            )


class _Reprocessed:
    """A source under another preprocessing; satisfies `Reprocessable`."""

    batch_size = _NUM_TRIED

    def __init__(self, source: Source) -> None:
        self._source, self._channels = source, len(source.contract.mean)
        self._device = next(source.model.parameters()).device
        self.recipe = InputRecipe()
        self.use_recipe(source.contract.recipe)

    def use_recipe(self, options: RecipeOptions) -> None:
        """Normalise in another way from now on."""
        contract = contract_of(options, self._source.contract, self._channels)
        self._suspect = TorchSuspect(
            "source", with_contract(self._source.model.network, contract).to(self._device)
        )

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Classify one batch."""
        return self._suspect.predict(images)


def contract_of(options: RecipeOptions, known: InputContract, channels: int) -> InputContract:
    """Return what a recipe says, in units of [0, 1] pixels, with the geometry that is known."""
    unit = (options.scale or UNIT_SCALE) / UNIT_SCALE
    changed = replace(
        known,
        mean=tuple(value / unit for value in options.mean or (0.0,)),
        std=tuple(value / unit for value in options.std or (1.0,)),
        color_order=options.color_order or "RGB",
    )
    return changed.for_channels(channels)


def _other_preprocessing(
    source: Source, images: ImageSet, is_correct: NDArray[np.bool_], logits: NDArray[np.float64]
) -> tuple[float, str] | None:
    """Return accuracy and what to write if other preprocessing is clearly better."""
    tried = images.take(np.arange(min(_NUM_TRIED, len(images))))
    best = rank_preprocessings(_Reprocessed(source), tried.images, tried.labels)[0]
    better = _rightly(source, best, images)
    gain = float(better.mean() - is_correct.mean())
    lost, won = int((is_correct & ~better).sum()), int((better & ~is_correct).sum())
    if gain < _MIN_GAIN or sign_test(lost, won) > _LEVEL:
        return None
    contract = contract_of(best.options, source.contract, len(source.contract.mean))
    advice = f"--normalise {_numbers(contract.mean)}/{_numbers(contract.std)}"
    if contract.color_order != source.contract.color_order:
        advice += f' and color_order = "{contract.color_order}" in the file of --preprocess'
    return float(better.mean()), f"{better.mean():.0%} would be with {best.name}: {advice}"


def _rightly(source: Source, best: RankedPreprocessing, images: ImageSet) -> NDArray[np.bool_]:
    contract = contract_of(best.options, source.contract, len(source.contract.mean))
    device = next(source.model.parameters()).device
    model = with_contract(source.model.network, contract).to(device)
    return np.asarray(predict_logits(model, images.images).argmax(axis=1) == images.labels)


def _other_order(
    source: Source, images: ImageSet, is_correct: NDArray[np.bool_], logits: NDArray[np.float64]
) -> tuple[float, str] | None:
    """Return accuracy and what to write if another order of the classes is clearly better."""
    names = images.class_names
    counts = confusion(images.labels, logits.argmax(axis=1), len(names))
    rows, columns = linear_sum_assignment(counts, maximize=True)
    if (columns == rows).all():
        return None
    better = columns[images.labels] == logits.argmax(axis=1)
    gain = float(better.mean() - is_correct.mean())
    lost, won = int((is_correct & ~better).sum()), int((better & ~is_correct).sum())
    # An order is fitted to the images: what it gains by that, one image a class, does not count.
    if gain < max(_MIN_GAIN, len(names) / len(images)) or sign_test(lost, won) > _LEVEL:
        return None
    ordered = [names[row] for row in np.argsort(columns)]
    listed = ",".join(ordered) if len(names) <= _ONE_OF else ",".join(ordered[:_ONE_OF]) + ",..."
    accuracy = float(better.mean())
    return (
        accuracy,
        f"{accuracy:.0%} would be with the classes in another order: --classes {listed}",
    )


def _doubted_labels(images: ImageSet, logits: NDArray[np.float64]) -> list[str]:
    probabilities = np.exp(_log_softmax(logits))
    given = probabilities.argmax(axis=1)
    sure = np.flatnonzero(probabilities.max(axis=1) > _SURE)
    doubted = sure[given[sure] != images.labels[sure]]
    if len(sure) < _MIN_SURE or len(doubted) < _MANY_WRONG * len(sure):
        return []
    first = int(doubted[0])
    return [
        f"Of {len(sure)} images on which the model is sure, {len(doubted)} have another label (an "
        f"image of {images.class_names[images.labels[first]]!r} it takes for "
        f"{images.class_names[given[first]]!r}): labels may be wrong, or --preprocess is not what "
        "the model was trained with."
    ]


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _poor(accuracy: float, num: int) -> str:
    return (
        f"model: only {accuracy:.0%} of {num} control images are classified right, which is near "
        "chance"
    )


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:.6g}" for value in values)


def _odd(logits: NDArray[np.float64]) -> str:
    return f"{np.isnan(logits).sum()} NaN and {np.isinf(logits).sum()} infinite ones"
