"""A classifier whose margins, gradients and boundary distances are known by hand."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LinearModel(nn.Module):
    """Logits are ``W x + b``, with x the pixels in [0, 1] in the order channel, row, column.

    Args:
        weights: W, one row per class.
        bias: b, by default zero.
    """

    def __init__(
        self, weights: Sequence[Sequence[float]], bias: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float32))
        self.bias = nn.Parameter(torch.tensor(bias or [0.0] * len(weights)))

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1) @ self.weights.T + self.bias
