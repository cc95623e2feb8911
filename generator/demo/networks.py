"""The demo's networks for CIFAR-10: a residual one and a plain one, several widths."""

from torch import nn

from generator.sources.architectures import PlainNet, ResNet8


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
