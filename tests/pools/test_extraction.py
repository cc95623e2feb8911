import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from worlds.tiny_task import CLASSES, tiny_images, tiny_net, trained_net

from generator.pools.extraction import Answers, extract
from generator.pools.removal import quantise_weights
from generator.sources.torch_suspect import predict_logits
from generator.training.device import seeded
from generator.training.loop import TrainingRecipe


@pytest.fixture(scope="module")
def source() -> nn.Module:
    return trained_net(1, tiny_images(300, 1))


@pytest.mark.parametrize("answers", ["soft", "hard"])
def test_a_student_learns_the_answers_and_never_sees_the_labels(
    source: nn.Module, answers: Answers
) -> None:
    asked = tiny_images(300, 2)
    wrong = dataclasses.replace(asked, labels=(asked.labels + 1) % len(CLASSES))
    student = tiny_net().train()
    recipe = TrainingRecipe(epochs=6, batch_size=16, learning_rate=0.05)
    extract(source, student, wrong, recipe, answers=answers, generator=seeded(0))
    shown = tiny_images(100, 3).images
    told, learnt = (predict_logits(model, shown).argmax(axis=1) for model in (source, student))
    assert (told == learnt).mean() > 0.8  # 0.25 is chance


def test_soft_answers_say_how_sure_the_teacher_is(source: nn.Module) -> None:
    # A teacher that is never sure, and one that always is, of the same classes.
    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.source, self.factor = source, factor

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.factor * self.source(pixels)
            return logits

    asked = tiny_images(200, 2)
    recipe = TrainingRecipe(epochs=6, batch_size=16, learning_rate=0.05)
    margins = []
    for factor in (0.05, 1.0):
        student = tiny_net()
        extract(Scaled(factor), student, asked, recipe, answers="soft", generator=seeded(0))
        ordered = np.sort(predict_logits(student, asked.images), axis=1)
        margins.append(float(np.median(ordered[:, -1] - ordered[:, -2])))
    assert margins[0] < 0.5 * margins[1]


def test_rounded_weights_lie_on_the_grid_of_their_channel(source: nn.Module) -> None:
    rounded = quantise_weights(source, 4)
    pairs = [
        (one.weight, other.weight)
        for one, other in zip(rounded.modules(), source.modules(), strict=True)
        if isinstance(one, nn.Conv2d | nn.Linear) and isinstance(other, nn.Conv2d | nn.Linear)
    ]
    assert pairs
    for new, old in pairs:
        for channel in range(len(old)):
            step = old[channel].abs().max() / 7  # 4 bits: -7 to 7
            multiples = new[channel] / step
            assert torch.allclose(multiples, multiples.round(), atol=1e-4)
            assert (new[channel] - old[channel]).abs().max() <= step / 2 + 1e-6
            assert new[channel].abs().max().item() == pytest.approx(old[channel].abs().max().item())
