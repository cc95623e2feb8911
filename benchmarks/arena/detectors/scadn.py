"""SCADN: an image that a network cannot paint in from its surroundings is not a normal one.

Yan et al., "Learning Semantic Context from Normal Samples for Unsupervised Anomaly Detection",
AAAI 2021. Stripes of an image are hidden, at several scales, across and along, and their complement
as well; a network that learned to fill them in on normal images fills in the query:

    map_s(x) = max over the masks m of scale s of m (G((1 - m) x, m) - x)^2    pixel by pixel
    score(x) = max over s of  (mean map_s(x) - mu_s) / sigma_s

with mu_s and sigma_s the mean and standard deviation of mean map_s over held-out normal images.

Scaled to small images: 2, 4 and 8 stripes instead of 4, 8 and 16, two halvings instead of three,
four dilated residual blocks instead of eight, a narrow network. The paper's adversarial loss
(weight 0.01), which sharpens what is painted, is left out. The paper scores by the map of the scale
with the largest excess over mu_s; here the excess itself counts, in units of sigma_s: maps of few
stripes err more and vary more, so that neither means nor excesses compare between scales.

Perturbations of a few levels lie below the error of reconstruction; noise does not.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from generator.training.loop import to_unit_interval

SCALES = (2, 4, 8)
"""Stripes along a side; every other one is hidden."""
_HIDDEN_WEIGHT = 4.0
"""Weight of hidden pixels in the loss; visible ones have 1."""
_LEARNING_RATE = 1e-3
_HELD_OUT = 5
"""Every fifth training image sets the scales' normal error instead of training."""
_BATCH = 64
"""Images filled in at once when scoring."""


class SCADN:
    """Error of filling in hidden stripes; satisfies `Detector`.

    Args:
        width: Channels of the first layer.
        num_steps: Steps of Adam.
        batch_size: Images of one step, each with a mask of its own.
        seed: Of the weights, the batches and the masks.
    """

    def __init__(
        self, *, width: int = 16, num_steps: int = 600, batch_size: int = 16, seed: int = 0
    ) -> None:
        self._width, self._num_steps = width, num_steps
        self._batch_size, self._seed = batch_size, seed

    def fit(self, model: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Learn to fill in stripes of normal images; see `Detector.fit`.

        Raises:
            ValueError: There are too few images to hold some out.
        """
        if len(images) < 2 * _HELD_OUT:
            raise ValueError(
                f"scadn: expected at least {2 * _HELD_OUT} training images, got {len(images)}"
            )
        device = next(model.parameters()).device
        _, height, width, channels = images.shape
        self._masks = torch.stack([stripe_masks(height, width, scale) for scale in SCALES]).to(
            device
        )  # [S, 4, H, W]
        # Initialisers draw from the global generator; fork it so that nobody else notices.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self._painter = Painter(channels, self._width).to(device)
        is_held_out = np.arange(len(images)) % _HELD_OUT == 0
        self._train(images[~is_held_out])
        normal = self._errors(images[is_held_out])  # [V, S]
        self._means = normal.mean(axis=0)
        self._deviations = np.maximum(normal.std(axis=0), np.finfo(np.float64).tiny)

    def scores(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the largest excess over the normal error; see `Detector.scores`.

        Returns:
            ``[N]`` in standard deviations of normal images.
        """
        return np.asarray(((self._errors(images) - self._means) / self._deviations).max(axis=1))

    def _errors(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the mean of each scale's error map, ``[N, S]``."""
        errors = [self._batch_errors(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH)]
        return np.concatenate(errors) if errors else np.zeros((0, len(SCALES)))

    @torch.inference_mode()
    def _batch_errors(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        pixels = _pixels(images, self._masks.device)
        means = []
        for masks in self._masks:
            worst = torch.zeros_like(pixels[:, 0])  # [N, H, W]
            for mask in masks:
                painted = self._painter(pixels, mask.expand(len(pixels), -1, -1))
                error = (painted - pixels).square().mean(dim=1) * mask
                worst = torch.maximum(worst, error)
            means.append(worst.double().mean(dim=(1, 2)).cpu().numpy())
        return np.stack(means, axis=1)  # S of [N] -> [N, S]

    def _train(self, images: NDArray[np.uint8]) -> None:
        rng = np.random.default_rng(self._seed)
        masks = self._masks.flatten(0, 1)  # [S, 4, H, W] -> [4 S, H, W]
        optimiser = torch.optim.Adam(
            self._painter.parameters(), lr=_LEARNING_RATE, betas=(0.0, 0.9)
        )
        for _ in range(self._num_steps):
            chosen = rng.integers(len(images), size=self._batch_size)
            which = torch.from_numpy(rng.integers(len(masks), size=self._batch_size))
            pixels = _pixels(images[chosen], masks.device)
            mask = masks[which.to(masks.device)]
            error = (self._painter(pixels, mask) - pixels).abs().mean(dim=1)
            weights = 1 + (_HIDDEN_WEIGHT - 1) * mask
            loss = (weights * error).mean() / mask.mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        self._painter.eval()


def stripe_masks(height: int, width: int, scale: int) -> Tensor:
    """Return the masks of one scale, 1 where a pixel is hidden.

    Args:
        height: Of the image.
        width: Of the image.
        scale: Stripes along a side.

    Returns:
        ``[4, H, W]``: lying stripes, their complement, standing stripes, their complement.

    Example:
        >>> stripe_masks(2, 2, 2).int().tolist()
        [[[1, 1], [0, 0]], [[0, 0], [1, 1]], [[1, 0], [1, 0]], [[0, 1], [0, 1]]]
    """
    rows, columns = (1.0 - torch.arange(length) * scale // length % 2 for length in (height, width))
    lying, standing = rows[:, None].expand(height, width), columns.expand(height, width)
    return torch.stack([lying, 1 - lying, standing, 1 - standing])


class Painter(nn.Module):
    """Fills in hidden pixels: two halvings, dilated residual blocks, two doublings."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels + 1, width, 5, padding=2)
        self.down = nn.ModuleList(
            nn.Conv2d(width * size, 2 * width * size, 4, stride=2, padding=1) for size in (1, 2)
        )
        self.blocks = nn.ModuleList(_Block(4 * width) for _ in range(4))
        self.up = nn.ModuleList(
            nn.Conv2d(2 * width * size, width * size, 3, padding=1) for size in (2, 1)
        )
        self.last = nn.Conv2d(width, channels, 5, padding=2)

    def forward(self, pixels: Tensor, mask: Tensor) -> Tensor:
        """Return painted pixels in [0, 1].

        Args:
            pixels: ``[N, C, H, W]`` in [0, 1].
            mask: ``[N, H, W]``, 1 where a pixel is hidden from the network.
        """
        hidden = mask[:, None]
        features = functional.relu(self.first(torch.cat([pixels * (1 - hidden), hidden], dim=1)))
        sizes: list[Sequence[int]] = []
        for halve in self.down:
            sizes.append(features.shape[-2:])
            features = functional.relu(halve(features))
        for block in self.blocks:
            features = block(features)
        for smooth, size in zip(self.up, reversed(sizes), strict=True):
            features = functional.relu(smooth(functional.interpolate(features, size=tuple(size))))
        return torch.sigmoid(self.last(features))


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, channels, 3, padding=2, dilation=2)
        self.narrow = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        change: Tensor = self.narrow(functional.relu(self.wide(features)))
        return features + change


def _pixels(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    return to_unit_interval(torch.from_numpy(np.ascontiguousarray(images)).to(device))
