"""The demo's networks: which architecture, which images, which seed."""

from dataclasses import dataclass

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
"""Of the CIFAR-10 training images per channel, in [0, 1] pixel units."""


@dataclass(frozen=True, kw_only=True)
class NetworkPlan:
    """One network of the demo and how it is trained."""

    factory: str
    half: str
    """``source`` or ``other`` half of the training images."""
    seed: int
    epochs: float = 14
    num_images: int = 25_000
    adversarial_radius: float = 0.0
    """In 1/255."""
    teacher: str | None = None
    """Plan whose network's probabilities take the place of the classes; None learns the classes."""


PLANS: dict[str, NetworkPlan] = {
    "source": NetworkPlan(factory="resnet8", half="source", seed=1),
    "sibling": NetworkPlan(factory="resnet8", half="source", seed=2),
    "other_architecture": NetworkPlan(factory="plainnet", half="other", seed=3),
    "student": NetworkPlan(factory="plainnet", half="other", seed=60, epochs=8, teacher="source"),
    **{
        f"reference.same_data.{i}": NetworkPlan(
            factory="resnet8", half="source", seed=10 + i, epochs=(14, 14, 8, 8)[i]
        )
        for i in range(4)
    },
    **{
        f"reference.other_architecture.{i}": NetworkPlan(
            factory=("resnet8_narrow", "plainnet_narrow")[i % 2],
            half="source",
            seed=20 + i,
            epochs=(8, 4, 4, 4)[i],
        )
        for i in range(4)
    },
    **{
        f"reference.other_data.{i}": NetworkPlan(
            factory=("resnet8_narrow", "plainnet_narrow")[i % 2],
            half="other",
            seed=30 + i,
            epochs=(8, 4, 4, 4)[i],
        )
        for i in range(4)
    },
    **{
        f"reference.weak.{i}": NetworkPlan(
            factory=("resnet8_narrow", "plainnet_narrow")[i % 2],
            half=("source", "other")[i // 2],
            seed=40 + i,
            epochs=(12, 2)[i // 2],
            num_images=(5_000, 25_000)[i // 2],
        )
        for i in range(4)
    },
    **{
        f"reference.adversarial.{i}": NetworkPlan(
            factory=("resnet8_narrow", "plainnet_narrow")[i % 2],
            half=("source", "other")[i // 2],
            seed=50 + i,
            adversarial_radius=(4, 2)[i // 2],
            epochs=4,
        )
        for i in range(4)
    },
}
