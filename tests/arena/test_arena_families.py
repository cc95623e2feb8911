"""Every architecture takes images of any size and learns."""

from typing import get_args

import pytest
import torch
from torch.nn import functional

from benchmarks.arena.config import FamilyName
from benchmarks.arena.families import build


@pytest.mark.parametrize("family", get_args(FamilyName))
@pytest.mark.parametrize(("side", "stem_stride"), [(12, 1), (32, 2), (64, 1)])
def test_a_family_classifies_images_of_any_size(
    family: FamilyName, side: int, stem_stride: int
) -> None:
    network = build(family, 2, stem_stride=stem_stride, num_channels=1, num_classes=3)
    images = torch.rand(2, 1, side, side)
    logits = network(images)
    assert logits.shape == (2, 3)
    loss = functional.cross_entropy(logits, torch.tensor([0, 1]))
    # Raises where a weight takes no part.
    torch.autograd.grad(loss, list(network.parameters()))


def test_full_width_has_the_size_of_the_usual_networks() -> None:
    def millions(family: FamilyName) -> float:
        network = build(family, 64, stem_stride=1, num_channels=3, num_classes=10)
        return sum(weight.numel() for weight in network.parameters()) / 1e6

    # As usual for CIFAR-10 (He et al.; Simonyan & Zisserman).
    assert millions("resnet18") == pytest.approx(11.2, rel=0.02)
    assert millions("vgg16") == pytest.approx(14.7, rel=0.02)
    assert millions("resnet50") == pytest.approx(23.5, rel=0.02)
