"""The owner's model is looked at on real images, and what is wrong with it is told and proposed."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from generator.demo.assets import demo_images, demo_source
from generator.demo.plans import MEAN, STD
from generator.errors import SourceError
from generator.images.labelled import ImageSet
from generator.sources.check import check_on_images
from generator.sources.contract import InputContract
from generator.sources.preprocess import parse_normalise
from generator.sources.source import Source, with_contract


@pytest.fixture(scope="module")
def images() -> ImageSet:
    data = demo_images("held-out")
    return data.take(data.balanced_order(np.random.default_rng(0))[:160])


@pytest.fixture(scope="module")
def source() -> Source:
    return demo_source()


def under(source: Source, contract: InputContract) -> Source:
    return replace(source, contract=contract, model=with_contract(source.model.network, contract))


def changed(source: Source, change: Callable[[nn.Module], nn.Module]) -> Source:
    return replace(source, model=with_contract(change(source.model.network), source.contract))


def test_a_good_model_is_left_alone(source: Source, images: ImageSet) -> None:
    found = check_on_images(source, images)
    logits = source.model(torch.from_numpy(images.images).permute(0, 3, 1, 2) / 255)
    right = (logits.argmax(1).numpy() == images.labels).mean()
    assert found.accuracy == pytest.approx(right)
    assert found.accuracy > 0.7
    assert found.notes == ()


@pytest.mark.parametrize(
    "contract",
    [
        InputContract(mean=(0.0,) * 3, std=(1 / 255,) * 3),
        InputContract(mean=(0.9,) * 3, std=(0.01,) * 3),
    ],
)
def test_a_wrong_normalisation_is_named_with_a_right_one(
    source: Source, images: ImageSet, contract: InputContract
) -> None:
    with pytest.raises(SourceError, match=r"near chance; [78]\d% would be with") as told:
        check_on_images(under(source, contract), images)
    _, _, advice = str(told.value).partition("--normalise ")
    mean, std = parse_normalise(advice)
    # Whatever it proposes does as well as the right one, to which it is near.
    assert mean == pytest.approx(MEAN, abs=0.07)
    assert std == pytest.approx(STD, abs=0.07)


def test_the_other_colour_order_is_told(source: Source, images: ImageSet) -> None:
    found = check_on_images(under(source, replace(source.contract, color_order="BGR")), images)
    (note,) = found.notes
    assert "RGB" in note
    assert 'color_order = "RGB" in the file of --preprocess' in note


def test_another_order_of_the_classes_is_proposed(source: Source, images: ImageSet) -> None:
    # The owner says that the first class is what the model calls the last, and so on.
    names = images.class_names[::-1]
    mistaken = ImageSet(images.images, 9 - images.labels, names)
    with pytest.raises(SourceError, match="in another order") as told:
        check_on_images(source, mistaken)
    assert f"--classes {','.join(images.class_names)}" in str(told.value)


def test_two_classes_that_are_mixed_up_are_told(source: Source, images: ImageSet) -> None:
    swapped = np.array([1, 0, *range(2, 10)])
    names = tuple(images.class_names[index] for index in swapped)
    found = check_on_images(source, ImageSet(images.images, swapped[images.labels], names))
    (note,) = [note for note in found.notes if "--classes" in note]
    assert f"--classes {','.join(images.class_names)}" in note


def test_a_model_that_learnt_nothing_says_what_was_tried(source: Source, images: ImageSet) -> None:
    with pytest.raises(SourceError, match=r"near chance, and neither the usual normalisations"):
        check_on_images(replace(source, model=source.sibling(1)), images)


def test_wrong_labels_are_doubted(source: Source, images: ImageSet) -> None:
    rng = np.random.default_rng(1)
    labels = images.labels.copy()
    wrong = rng.permutation(len(labels))[: round(0.3 * len(labels))]
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, len(wrong))) % 10
    found = check_on_images(source, ImageSet(images.images, labels, images.class_names))
    assert any("labels may be wrong" in note for note in found.notes)


class Wrapped(nn.Module):
    """A network and something that happens to its logits."""

    def __init__(self, network: nn.Module, after: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.after = network, after

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.network(images))


def forgetful(network: nn.Module) -> nn.Module:
    return Wrapped(network, lambda logits: nn.functional.dropout(logits, 0.2, training=True))


def comparing(network: nn.Module) -> nn.Module:
    return Wrapped(network, lambda logits: logits - logits.mean(0, keepdim=True))


def rounding(network: nn.Module) -> nn.Module:
    return Wrapped(network, torch.round)


def detached(network: nn.Module) -> nn.Module:
    return Wrapped(network, lambda logits: logits.detach())


def broken(network: nn.Module) -> nn.Module:
    return Wrapped(network, lambda logits: logits / torch.zeros(()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (forgetful, "answers the same images differently each time .*dropout"),
        (comparing, "differently alone than in a batch .*batch norm"),
        (rounding, "expected gradients .*, got zero or not finite"),
        (detached, "expected gradients .*, got none"),
        (broken, "expected finite logits .*infinite"),
    ],
)
def test_what_cannot_be_crafted_against_is_refused(
    source: Source, images: ImageSet, change: Callable[[nn.Module], nn.Module], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        check_on_images(changed(source, change), images)
