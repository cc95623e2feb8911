"""Small CIFAR-10 networks for the demo: a residual one and a plain one, several widths."""

from torch import Tensor, nn
from torch.nn import functional

NUM_CLASSES = 10


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a 1x1 shortcut where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the next shape."""
        hidden = functional.relu(self.bn1(self.conv1(features)))
        return functional.relu(self.bn2(self.conv2(hidden)) + self.shortcut(features))


class ResNet8(nn.Module):
    """Three residual blocks (He et al., CVPR 2016, scaled down)."""

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 64), stem_stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = ResidualBlock(widths[0], widths[0], 1)
        self.layer2 = ResidualBlock(widths[0], widths[1], 2)
        self.layer3 = ResidualBlock(widths[1], widths[2], 2)
        self.head = nn.Linear(widths[2], NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``[N, K]`` of normalised images ``[N, 3, 32, 32]``."""
        features = functional.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))  # [N, C, H, W] -> [N, C]
        return logits


class PlainNet(nn.Module):
    """Four 3x3 convolutions with batch norm and max pooling, no shortcuts."""

    def __init__(self, widths: tuple[int, int, int, int] = (16, 24, 48, 48)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = 3
        for position, width in enumerate(widths):
            layers += [
                nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            if position < 3:
                layers.append(nn.MaxPool2d(2))
            in_channels = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(in_channels, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``[N, K]`` of normalised images ``[N, 3, 32, 32]``."""
        logits: Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits


def resnet8() -> nn.Module:
    """Return an untrained network of the source's architecture (78,042 parameters)."""
    return ResNet8()


def resnet8_narrow() -> nn.Module:
    """Return an untrained residual network of half the width and resolution."""
    return ResNet8(widths=(8, 16, 32), stem_stride=2)


def plainnet() -> nn.Module:
    """Return an untrained plain convolutional network."""
    return PlainNet()


def plainnet_narrow() -> nn.Module:
    """Return an untrained plain convolutional network with fewer channels."""
    return PlainNet(widths=(12, 20, 40, 40))
