"""How innocents of a bundle can be trained again, by whoever doubts them.

Their seed follows from the recipe and from a value that was public before they were trained, so
that an owner cannot try seeds until the innocents are weak: each try would take another value.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from adapters.strict_model import FrozenModel
from audit.errors import BundleError
from audit.signing.canonical import canonical_bytes, sha256_hex

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Recipe(FrozenModel):
    """What innocents are trained with, but for code, images and seed."""

    source_sha256: Sha256
    """Of the source's weights: another model of the owner's has other innocents."""
    architecture: str
    ancestor_sha256: Sha256 | None
    """Weights that source and innocents began from; None: from scratch."""
    images_sha256: Sha256
    """Pixels and classes of the training images, in their order."""
    num_images: Annotated[int, Field(ge=1)]
    split_seed: Annotated[int, Field(ge=0)]
    """By which these were taken out of the owner's images."""
    epochs: Annotated[float, Field(gt=0)]
    learning_rate: Annotated[float, Field(gt=0)]

    @property
    def sha256(self) -> str:
        """Return the digest that an owner publishes before the value of the seed is known."""
        return sha256_hex(canonical_bytes(self.model_dump(mode="json")))

    def seed(self, public_value: str) -> int:
        """Return the seed of all draws, 0 to 2^31 - 1.

        Args:
            public_value: `Retraining.seed_from`.
        """
        digest = sha256_hex(f"kinprint-references-v1 {self.sha256} {public_value}".encode())
        return int(digest[:8], 16) >> 1


class RetrainedModel(FrozenModel):
    """What tells one innocent of a recipe from another."""

    number: Annotated[int, Field(ge=0)]
    """Decides its kind and its draws."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the recipe's learning rate."""


class Retraining(FrozenModel):
    """Everything that training innocents of a bundle again takes, but code and images."""

    recipe: Recipe
    seed_from: Annotated[str, Field(min_length=1, max_length=500)]
    """Public value, such as a pulse of a randomness beacon."""
    device: Literal["cpu", "cuda"]
    num_threads: Annotated[int, Field(ge=1)]
    """The order of sums, and with it the last digits of a training, depends on it."""
    processor: Annotated[str, Field(min_length=1, max_length=200)]
    """Likewise on the vector instructions of the machine, such as ``x86_64 AVX2``."""
    models: dict[str, RetrainedModel]
    """By the name that the model has in the bundle."""

    @property
    def seed(self) -> int:
        """Return the seed of all draws."""
        return self.recipe.seed(self.seed_from)


def check_retraining(
    retraining: Retraining, *, source_sha256: str, innocents: Sequence[str]
) -> None:
    """Pass if what can be trained again belongs to the bundle.

    Args:
        retraining: As the bundle says.
        source_sha256: Digest of the source's weights.
        innocents: Names of all innocents of the bundle.

    Raises:
        BundleError: It is another source's, or names what is no innocent of the bundle.
    """
    if retraining.recipe.source_sha256 != source_sha256:
        raise BundleError(
            f"retraining.recipe.source_sha256: expected the source's {source_sha256[:16]}..., got "
            f"{retraining.recipe.source_sha256[:16]}...; these are another model's innocents"
        )
    unknown = sorted(retraining.models.keys() - set(innocents))
    if unknown:
        raise BundleError(
            f"retraining.models: expected innocent models of the bundle, got {unknown[0]!r}"
        )
    numbers = [model.number for model in retraining.models.values()]
    if len(set(numbers)) < len(numbers):
        raise BundleError("retraining.models: expected each number once, got one twice")
