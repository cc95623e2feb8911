"""CIFAR-10 ResNets of He et al. (CVPR 2016, section 4.2): shortcuts without parameters.

Parameter names: ``conv1, bn1, layer{1,2,3}.{i}.{conv1,bn1,conv2,bn2}, linear``.
"""

from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions; the shortcut subsamples by 2 and pads channels with zeros."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.padding = stride, (channels - in_channels) // 2

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the next shape."""
        hidden = functional.relu(self.bn1(self.conv1(features)))
        shortcut = features
        if self.stride != 1 or self.padding:
            shortcut = features[:, :, :: self.stride, :: self.stride]
            # [N, C, H, W] -> [N, C + 2 padding, H, W]
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, self.padding, self.padding))
        return functional.relu(self.bn2(self.conv2(hidden)) + shortcut)


class CifarResNet(nn.Module):
    """Three stages of 16, 32 and 64 channels."""

    def __init__(self, blocks_per_stage: int, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, 1, blocks_per_stage)
        self.layer2 = self._stage(16, 32, 2, blocks_per_stage)
        self.layer3 = self._stage(32, 64, 2, blocks_per_stage)
        self.linear = nn.Linear(64, num_classes)

    def _stage(self, in_channels: int, channels: int, stride: int, num: int) -> nn.Sequential:
        first = Block(in_channels, channels, stride)
        return nn.Sequential(first, *(Block(channels, channels, 1) for _ in range(num - 1)))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``[N, K]`` of normalised images ``[N, 3, 32, 32]``."""
        features = functional.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: Tensor = self.linear(features.mean(dim=(2, 3)))
        return logits


def resnet20() -> nn.Module:
    """Return an untrained ResNet-20."""
    return CifarResNet(3)


def resnet32() -> nn.Module:
    """Return an untrained ResNet-32."""
    return CifarResNet(5)


def resnet44() -> nn.Module:
    """Return an untrained ResNet-44."""
    return CifarResNet(7)


def resnet56() -> nn.Module:
    """Return an untrained ResNet-56."""
    return CifarResNet(9)
