"""Small classifiers of two families, for innocents that do not share the source's architecture."""

from torch import Tensor, nn
from torch.nn import functional


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

    def __init__(
        self,
        widths: tuple[int, int, int] = (16, 32, 64),
        stem_stride: int = 1,
        *,
        num_channels: int = 3,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_channels, widths[0], 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = ResidualBlock(widths[0], widths[0], 1)
        self.layer2 = ResidualBlock(widths[0], widths[1], 2)
        self.layer3 = ResidualBlock(widths[1], widths[2], 2)
        self.head = nn.Linear(widths[2], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``[N, K]`` of normalised images ``[N, C, H, W]``."""
        features = functional.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))  # [N, C, H, W] -> [N, C]
        return logits


class PlainNet(nn.Module):
    """Four 3x3 convolutions with batch norm and max pooling, no shortcuts."""

    def __init__(
        self,
        widths: tuple[int, int, int, int] = (16, 24, 48, 48),
        *,
        num_channels: int = 3,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = num_channels
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
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``[N, K]`` of normalised images ``[N, C, H, W]``."""
        logits: Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits
