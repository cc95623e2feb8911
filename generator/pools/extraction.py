"""Model extraction: a student learns what a teacher answers, and sees nothing else of it.

Knockoff Nets (Orekondy, Schiele, Fritz, CVPR 2019): the thief asks a model about images and trains
one of any architecture on its answers.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import nn

from generator.images.labelled import ImageSet
from generator.sources.torch_suspect import predict_logits
from generator.training.loop import TrainingRecipe, train

Answers = Literal["soft", "hard"]
"""Probabilities, or labels only."""


def extract(
    teacher: nn.Module,
    student: nn.Module,
    images: ImageSet,
    recipe: TrainingRecipe,
    *,
    answers: Answers,
    generator: torch.Generator,
    on_step: Callable[[int, int], None] | None = None,
) -> None:
    """Train ``student`` in place on the teacher's answers; leaves it in evaluation mode.

    Args:
        teacher: Pixels in [0, 1] to logits ``[N, K]``.
        student: Likewise; its weights are where training starts.
        images: What the teacher is asked about; their own labels are not used.
        recipe: Of the student's training.
        answers: What the teacher tells.
        generator: Source of every random draw.
        on_step: Called with (steps done, steps in all).
    """
    logits = predict_logits(teacher, np.asarray(images.images))
    # The teacher's classes stand for the labels, which a thief does not have.
    named = ImageSet(images.images, logits.argmax(axis=1), images.class_names)
    targets = None
    if answers == "soft":
        targets = torch.from_numpy(logits).softmax(1).numpy().astype(np.float32)
    train(student, named, recipe, generator=generator, targets=targets, on_step=on_step)
