"""Architectures of the paper's eight families, scaled by their first stage's width.

At full width (64, strides as for 32x32 images) they are the usual CIFAR variants of ResNet-18 and
-50, VGG-11, -16 and -19 with batch norm, WRN-34, DenseNet-121 and Inception; ``resnet8`` has one
block a stage and three stages.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.arena.config import FamilyName


def build(
    family: FamilyName, width: int, *, stem_stride: int, num_channels: int, num_classes: int
) -> nn.Module:
    """Return an untrained network; draws from the global generator.

    Args:
        family: Which.
        width: Channels of the first stage.
        stem_stride: 2 halves the resolution at once.
        num_channels: Of the images.
        num_classes: K.
    """
    trunk, num_features = _TRUNKS[family](width)
    stem = _convolution(num_channels, width, stride=stem_stride)
    return _Classifier(nn.Sequential(stem, trunk), num_features, num_classes)


class _Classifier(nn.Module):
    def __init__(self, trunk: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        # [N, C, H, W] -> [N, C]
        logits: Tensor = self.head(self.trunk(images).mean(dim=(2, 3)))
        return logits


def _convolution(
    in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        _linear(in_channels, out_channels, kernel=kernel, stride=stride), nn.ReLU()
    )


def _linear(
    in_channels: int, out_channels: int, *, kernel: int = 1, stride: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class _Residual(nn.Module):
    """Basic block, or bottleneck with four times as many channels going out."""

    def __init__(self, in_channels: int, width: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        self.out_channels = 4 * width if bottleneck else width
        if bottleneck:
            parts = [
                _convolution(in_channels, width, kernel=1),
                _convolution(width, width, stride=stride),
                _linear(width, self.out_channels),
            ]
        else:
            parts = [
                _convolution(in_channels, width, stride=stride),
                _linear(width, width, kernel=3),
            ]
        self.body = nn.Sequential(*parts)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != self.out_channels:
            self.shortcut = _linear(in_channels, self.out_channels, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(self.body(features) + self.shortcut(features))


def _residual(
    counts: Sequence[int], *, bottleneck: bool = False, widen: int = 1
) -> Callable[[int], tuple[nn.Module, int]]:
    def trunk(width: int) -> tuple[nn.Module, int]:
        blocks: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(counts):
            for number in range(count):
                stride = 2 if stage and not number else 1
                block = _Residual(channels, widen * width * 2**stage, stride, bottleneck=bottleneck)
                blocks.append(block)
                channels = block.out_channels
        return nn.Sequential(*blocks), channels

    return trunk


def _vgg(counts: Sequence[int]) -> Callable[[int], tuple[nn.Module, int]]:
    def trunk(width: int) -> tuple[nn.Module, int]:
        layers: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(counts):
            out_channels = width * 2 ** min(stage, 3)
            if stage:
                # Five stages halve 16 pixels to one; what is smaller stays.
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            for _ in range(count):
                layers.append(_convolution(channels, out_channels))
                channels = out_channels
        return nn.Sequential(*layers), channels

    return trunk


class _DenseLayer(nn.Module):
    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
            _convolution(in_channels, 4 * growth, kernel=1),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([features, self.body(features)], dim=1)


def _dense(counts: Sequence[int]) -> Callable[[int], tuple[nn.Module, int]]:
    def trunk(width: int) -> tuple[nn.Module, int]:
        growth = max(4, width // 2)
        layers: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(counts):
            if stage:
                layers += [_convolution(channels, channels // 2, kernel=1), nn.AvgPool2d(2)]
                channels //= 2
            for _ in range(count):
                layers.append(_DenseLayer(channels, growth))
                channels += growth
        return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU()), channels

    return trunk


class _Inception(nn.Module):
    """Branches of 1x1, 3x3, two 3x3 and pooling, side by side."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        half = max(1, width // 2)
        self.branches = nn.ModuleList(
            [
                _convolution(in_channels, width, kernel=1),
                nn.Sequential(_convolution(in_channels, half, kernel=1), _convolution(half, width)),
                nn.Sequential(
                    _convolution(in_channels, half, kernel=1),
                    _convolution(half, half),
                    _convolution(half, width),
                ),
                nn.Sequential(nn.AvgPool2d(3, 1, 1), _convolution(in_channels, half, kernel=1)),
            ]
        )
        self.out_channels = 3 * width + half

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([branch(features) for branch in self.branches], dim=1)


def _inception(counts: Sequence[int]) -> Callable[[int], tuple[nn.Module, int]]:
    def trunk(width: int) -> tuple[nn.Module, int]:
        layers: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(counts):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for _ in range(count):
                block = _Inception(channels, width * 2**stage // 2)
                layers.append(block)
                channels = block.out_channels
        return nn.Sequential(*layers), channels

    return trunk


_TRUNKS: dict[FamilyName, Callable[[int], tuple[nn.Module, int]]] = {
    "resnet8": _residual((1, 1, 1)),
    "resnet18": _residual((2, 2, 2, 2)),
    "resnet50": _residual((3, 4, 6, 3), bottleneck=True),
    "vgg11": _vgg((1, 1, 2, 2, 2)),
    "vgg16": _vgg((2, 2, 3, 3, 3)),
    "vgg19": _vgg((2, 2, 4, 4, 4)),
    "wrn": _residual((5, 5, 5), widen=10),
    "densenet": _dense((6, 12, 24, 16)),
    "inception": _inception((2, 3, 2)),
}
