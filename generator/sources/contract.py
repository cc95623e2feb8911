"""What stands between an image file and the owner's network: geometry, colour order, mean, std."""

from dataclasses import dataclass, field, replace

from adapters.geometry import Geometry
from adapters.onnx.input import RecipeOptions
from adapters.preprocessing import ColorOrder
from audit.bundle.manifest import GeometryRecord, Preprocessing
from generator.errors import GenerationError


@dataclass(frozen=True, kw_only=True)
class InputContract:
    """The preprocessing with which the owner's network was evaluated."""

    mean: tuple[float, ...]
    """Per channel in RGB order or one for all, in [0, 1] pixel units."""
    std: tuple[float, ...]
    """Likewise; above 0."""
    color_order: ColorOrder = "RGB"
    """Order of the network's channels; images are RGB."""
    geometry: Geometry = field(default_factory=Geometry)
    """How a file becomes an image of the network's input size."""

    @property
    def recipe(self) -> RecipeOptions:
        """Return what an adapter applies to images of the input size."""
        order = None if self.color_order == "RGB" else self.color_order
        return RecipeOptions(mean=self.mean, std=self.std, color_order=order)

    @property
    def record(self) -> Preprocessing:
        """Return what is signed."""
        geometry = None
        if self.geometry != Geometry():
            geometry = GeometryRecord(**vars(self.geometry))
        return Preprocessing(
            mean=self.mean, std=self.std, color_order=self.color_order, geometry=geometry
        )

    @classmethod
    def of(cls, signed: Preprocessing) -> "InputContract":
        """Return the contract that a bundle was signed with."""
        given = signed.geometry
        return cls(
            mean=signed.mean,
            std=signed.std,
            color_order=signed.color_order,
            geometry=Geometry() if given is None else Geometry(**given.model_dump()),
        )

    def for_channels(self, channels: int) -> "InputContract":
        """Return the same for images of so many channels: one value becomes one per channel.

        Raises:
            GenerationError: It is for another number of channels.
        """
        if len(self.mean) not in (1, channels) or (channels == 1 and self.color_order == "BGR"):
            raise GenerationError(
                f"normalise: expected one mean and std for images of {channels} channels, got "
                f"{len(self.mean)} in {self.color_order} order"
            )
        repeat = channels if len(self.mean) == 1 else 1
        return replace(self, mean=self.mean * repeat, std=self.std * repeat)
