"""DAEIT: adversarial images change their class when they are turned or shifted a little.

Tian, Yang and Cai, "Detecting Adversarial Examples through Image Transformation", AAAI 2018. A
fixed set of rotations and translations is applied to a query; normal images keep their class, those
near a decision boundary do not.

`LabelStability` needs no training: it counts the transformations that change the class.
`TransformationClassifier` is the paper's detector, a small network on the model's probabilities for
all transformed images, which is trained on clean against adversarial images. The paper makes those
by the attack of Carlini and Wagner, which ends at the boundary; here sign steps of one 8-bit level
make them, which end when the class changes. Driven on to the radius, an attack on an undefended
model is more stable than a clean image, and a detector trained on it takes fingerprints for normal.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn
from torch.nn import functional

from generator.crafting.ensemble import Ensemble
from generator.sources.torch_suspect import predict_logits

_STRAIGHT = ((1, 0), (-1, 0), (0, 1), (0, -1))
_DIAGONAL = ((1, 1), (1, -1), (-1, 1), (-1, -1))
ROTATIONS = (-15, -10, -5, 5, 10, 15)
"""Degrees."""
SHIFTS = (
    *((size * down, size * right) for size in (1, 2, 3) for down, right in _STRAIGHT),
    *((2 * down, 2 * right) for down, right in _DIAGONAL),
)
"""Pixels down and to the right."""
NUM_TRANSFORMATIONS = len(ROTATIONS) + len(SHIFTS)


def transformed(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn and shift each image; edges are repeated outwards.

    Args:
        images: ``[N, H, W, C]``.

    Returns:
        ``[T, N, H, W, C]``, rotations first.
    """
    _, height, width, _ = images.shape
    # [N, H, W, C] -> [N, C, H, W]
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    maps = []
    for degrees in ROTATIONS:
        angle = math.radians(degrees)
        cos, sin = math.cos(angle), math.sin(angle)
        # In coordinates from -1 to 1 along each side, a turn of pixels that are not square there.
        maps.append([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    for down, right in SHIFTS:
        maps.append([[1.0, 0.0, -2 * right / width], [0.0, 1.0, -2 * down / height]])
    made = []
    for way in maps:
        matrix = torch.tensor(way).expand(len(pixels), 2, 3)
        grid = functional.affine_grid(matrix, list(pixels.shape), align_corners=False)
        turned = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
        made.append(turned.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return np.stack(made)


def stacked_probabilities(model: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the model's probabilities for each image and its transforms, ``[N, T + 1, K]``."""
    every = [images, *transformed(images)]
    return np.stack([softmax(predict_logits(model, each), axis=1) for each in every], axis=1)


class LabelStability:
    """Share of the transformations that change the class; satisfies `Detector`.

    Between images of the same share, the one whose probabilities change more is more suspicious.
    """

    def fit(self, model: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Learn nothing but which model to ask."""
        self._model = model

    def scores(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the share with its tie-break below one transformation; see `Detector.scores`."""
        probabilities = stacked_probabilities(self._model, images)
        plain, others = probabilities[:, :1], probabilities[:, 1:]
        changes = (others.argmax(axis=2) != plain.argmax(axis=2)).mean(axis=1)
        # Total variation lies in [0, 1], so that a share of it below 1 / T breaks ties only.
        variation = np.abs(others - plain).sum(axis=2).mean(axis=1) / 2
        return np.asarray(changes + variation / (NUM_TRANSFORMATIONS + 1))


class TransformationClassifier:
    """A small network on the probabilities for all transforms; satisfies `Detector`.

    Args:
        radius: L-infinity radius of the adversarial images that it learns from, in 8-bit levels.
        max_images: Training images at most.
        width: Units of each of the two hidden layers.
        num_steps: Steps of Adam over all images at once.
        seed: Of the images that are drawn and the network's weights.
    """

    def __init__(
        self,
        *,
        radius: int = 8,
        max_images: int = 500,
        width: int = 64,
        num_steps: int = 300,
        seed: int = 0,
    ) -> None:
        self._radius, self._max_images, self._width = radius, max_images, width
        self._num_steps, self._seed = num_steps, seed

    def fit(self, model: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Train on clean against adversarial images; see `Detector.fit`.

        Raises:
            ValueError: The model classifies none of the images right, or no attack succeeds.
        """
        self._model = model
        rng = np.random.default_rng(self._seed)
        right = np.flatnonzero(predict_logits(model, images).argmax(axis=1) == labels)
        if not len(right):
            raise ValueError(f"daeit: none of {len(images)} training images is classified right")
        chosen = rng.permutation(right)[: self._max_images]
        clean, goals = images[chosen], labels[chosen]
        attacked = self._attack(clean, goals)
        fooled = predict_logits(model, attacked).argmax(axis=1) != goals
        if not fooled.any():
            raise ValueError(
                f"daeit: none of {len(clean)} attacks within {self._radius} levels changes the "
                "class; raise radius"
            )
        inputs = np.concatenate(
            [stacked_probabilities(model, each) for each in (clean, attacked[fooled])]
        )
        targets = np.repeat([0.0, 1.0], [len(clean), int(fooled.sum())])
        self._network = self._trained(_flat(inputs), torch.tensor(targets, dtype=torch.float32))

    def scores(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the network's log-odds of adversarial; see `Detector.scores`."""
        inputs = _flat(stacked_probabilities(self._model, images))
        with torch.inference_mode():
            return np.asarray(self._network(inputs)[:, 0].double().numpy())

    def _attack(self, clean: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Climb the loss level by level; each image stops when its class changes."""
        ensemble = Ensemble([self._model])
        current = clean.astype(np.int16)
        moving = np.arange(len(clean))
        for _ in range(self._radius):
            _, signs = ensemble.losses_and_gradients(
                current[moving].astype(np.uint8), labels[moving]
            )
            current[moving] = np.clip(current[moving] + signs, 0, 255)
            given = predict_logits(self._model, current[moving].astype(np.uint8)).argmax(axis=1)
            moving = moving[given == labels[moving]]
            if not len(moving):
                break
        return np.asarray(current, dtype=np.uint8)

    def _trained(self, inputs: Tensor, targets: Tensor) -> nn.Module:
        # Initialisers draw from the global generator; fork it so that nobody else notices.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            network = nn.Sequential(
                nn.Linear(inputs.shape[1], self._width),
                nn.ReLU(),
                nn.Linear(self._width, self._width),
                nn.ReLU(),
                nn.Linear(self._width, 1),
            )
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
        # Both kinds weigh the same, however many attacks succeeded.
        rarity = (targets == 0).sum() / (targets == 1).sum()
        for _ in range(self._num_steps):
            optimiser.zero_grad()
            loss = functional.binary_cross_entropy_with_logits(
                network(inputs)[:, 0], targets, pos_weight=rarity
            )
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return network.eval()


def _flat(probabilities: NDArray[np.float64]) -> Tensor:
    """Turn ``[N, T + 1, K]`` into the network's input ``[N, (T + 1) K]``."""
    return torch.tensor(probabilities.reshape(len(probabilities), -1), dtype=torch.float32)
