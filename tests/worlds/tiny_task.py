"""A task that trains in a second: three classes of noisy 12x12 colour patterns.

`write_images` makes class folders, `TinyNet` learns them; both are deterministic.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from generator.images.labelled import ImageSet
from generator.sources.source import Normalised
from generator.training.loop import TrainingRecipe, train

CLASSES = ("blue", "green", "red")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
NORMALISE = "0.5,0.5,0.5/0.25,0.25,0.25"


class TinyNet(nn.Module):
    """One convolution with batch norm and a wide linear head.

    It learns a few hundred images by heart, so that two of them that were trained alike still
    disagree on many others: strangers can be told apart.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(16)
        self.head = nn.Linear(16 * 6 * 6, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        features = torch.relu(self.bn(self.conv(images)))
        logits: Tensor = self.head(features.flatten(1))
        return logits


def tiny_net() -> nn.Module:
    return TinyNet()


def tiny_images(num: int, seed: int) -> ImageSet:
    """Noise with a little more of one colour: separable, but not perfectly."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % len(CLASSES)
    base = rng.normal(128, 50, (num, 12, 12, 3))
    base[np.arange(num), :, :, 2 - labels] += 12
    images: NDArray[np.uint8] = base.clip(0, 255).astype(np.uint8)
    return ImageSet(images, labels.astype(np.int64), CLASSES)


def write_images(folder: Path, data: ImageSet) -> Path:
    for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        path = folder / data.class_names[label] / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def trained_net(seed: int, data: ImageSet) -> Normalised:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Normalised(tiny_net(), MEAN, STD)
    recipe = TrainingRecipe(epochs=10, batch_size=32, learning_rate=0.02, augment=False)
    train(model, data, recipe, generator=torch.Generator().manual_seed(seed))
    return model


def write_weights(path: Path, model: Normalised) -> Path:
    save_file(model.network.state_dict(), path)
    return path
