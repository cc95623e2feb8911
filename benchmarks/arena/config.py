"""What an arena holds, as a TOML file says it."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from adapters.strict_model import FrozenModel
from audit.asking.plan import SCORES
from generator.methods.known_methods import METHODS

CONFIGS = Path(__file__).parent / "configs"
Rate = Annotated[float, Field(gt=0, lt=1)]
FamilyName = Literal[
    "resnet8",
    "resnet18",
    "resnet50",
    "vgg11",
    "vgg16",
    "vgg19",
    "wrn",
    "densenet",
    "inception",
]
"""Architectures (`benchmarks.arena.families`)."""


class ArenaError(Exception):
    """The arena cannot be built as it is described; names the field and what to do."""


InputName = Literal[
    "crop",
    "flip",
    "rotate",
    "noise",
    "noise-8",
    "blur",
    "blur-0.6",
    "jpeg-55",
    "jpeg-75",
    "jpeg-85",
    "bits-5",
    "median",
    "resize-pad",
    "resize-75",
    "resize-88",
    "resize-125",
    "mirror",
]
"""Input transforms (`benchmarks.arena.processing`)."""
ViewsName = Literal["mirror-average", "noise-vote"]
"""Answers put together from several views of an image (`benchmarks.arena.ensembles`)."""


def _known_score(name: str) -> str:
    if name not in SCORES:
        raise ValueError(f"expected one of {', '.join(SCORES)}, got {name!r}")
    return name


def _known_method(name: str) -> str:
    known = ("mfue", *METHODS)
    if name not in known:
        raise ValueError(f"expected one of {', '.join(known)}, got {name!r}")
    return name


class Section(FrozenModel):
    """Base of the TOML tables: lists of TOML become tuples."""

    model_config = ConfigDict(strict=False)


class Data(Section):
    """Which images; every path is relative to ``--data``."""

    train: tuple[str, ...]
    """Class folders or ZIP files that owner and attacker divide."""
    test: tuple[str, ...]
    """Images that nobody trains on: half crafts, half measures accuracy."""
    far: tuple[str, ...] = ()
    """Images of other things, for extraction far from the task."""
    owner: Annotated[int, Field(ge=100)]
    """Images of the owner."""
    attacker: Annotated[int, Field(ge=100)]
    """Images of everybody else; no image is the owner's, too."""
    classes: Annotated[int, Field(ge=2)] | None = None
    """Take the first classes only."""


class Recipe(Section):
    """How everybody trains from scratch."""

    family: FamilyName = "resnet8"
    """The source's architecture."""
    width: Annotated[int, Field(ge=2, le=256)]
    """Channels of the first stage."""
    stem_stride: Literal[1, 2] = 1
    epochs: Annotated[float, Field(gt=0)]
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    batch_size: Annotated[int, Field(ge=2)] = 128


class Extraction(Section):
    """One model extracted from the source's answers (Orekondy et al., CVPR 2019: Knockoff)."""

    answers: Literal["soft", "hard"]
    images: Literal["near", "far", "owner"]
    """The attacker's images, those of other things, or (students of innocents) the owner's."""
    family: FamilyName
    width: Annotated[int, Field(ge=1, le=256)]
    augmented: bool = False
    """Hard labels of altered images as well, a light stand-in for data-free hard-label attacks."""


class Derived(Section):
    """Suspects derived from the source."""

    fine_tuning: tuple[Literal["FTLL", "FTAL", "RTLL", "RTAL"], ...] = ()
    fine_tuning_rates: tuple[float, ...] = (0.01,)
    """Learning rates; one model for each."""
    fine_tuning_epochs: Annotated[float, Field(gt=0)] = 5
    pruning: tuple[Rate, ...] = ()
    pruning_tuned: tuple[Rate, ...] = ()
    """Pruned, then fine-tuned."""
    adversarial_radii: tuple[float, ...] = ()
    """L-infinity radii in 1/255."""
    adversarial_epochs: Annotated[float, Field(gt=0)] = 3
    adversarial_steps: Annotated[int, Field(ge=1)] = 7
    extraction: tuple[Extraction, ...] = ()
    extraction_epochs: Annotated[float, Field(gt=0)] = 10
    quantised: tuple[Literal["int8-static", "int8-dynamic", "float16"], ...] = ()


class Innocents(Section):
    """Suspects that have nothing to do with the source."""

    families: dict[FamilyName, Annotated[int, Field(ge=1, le=256)]] = Field(default_factory=dict)
    """Trained on the attacker's images, one of each; the width of its first stage."""
    siblings: Annotated[int, Field(ge=0)] = 0
    """The owner's recipe and images, other seeds."""
    adversarial_radii: tuple[float, ...] = ()
    """Trained adversarially from scratch, in 1/255."""
    distilled: Annotated[int, Field(ge=0)] = 0
    """Students of another teacher, one each."""
    short_epochs: tuple[float, ...] = ()
    """Few epochs, the attacker's images."""
    few_images: tuple[int, ...] = ()
    pruned: tuple[Rate, ...] = ()
    """Innocents pruned by these rates."""
    tuned: tuple[Literal["FTLL", "FTAL", "RTLL", "RTAL"], ...] = ()
    """Innocents fine-tuned elsewhere."""
    hardened_radii: tuple[float, ...] = ()
    """Innocents fine-tuned adversarially, in 1/255."""
    relearned: dict[FamilyName, Annotated[int, Field(ge=1, le=256)]] = Field(default_factory=dict)
    """The extraction's recipe and images with true labels; the width of its first stage."""
    strangers: bool = False
    """Pretrained models of other people, where ``--models`` has some."""


class References(Section):
    """Innocents that craft and calibrate; never reported."""

    count: Annotated[int, Field(ge=2)]
    epochs: Annotated[float, Field(gt=0)]


class Calibration(Section):
    """What sets the thresholds of every bundle anew, after crafting; never reported."""

    alpha: Annotated[float, Field(gt=0, lt=1)]
    """False-positive rate."""
    beta: Annotated[float, Field(gt=0, lt=1)]
    """Miss rate."""
    innocents: Annotated[int, Field(ge=0)] = 0
    """References besides those that craft."""
    copies: Derived = Derived()
    """Copies that the owner changes with images of his own."""


class Ensemble(Section):
    """A deployer who asks other models, too, and puts the answers together."""

    share: Rate
    """Weight of the suspect; its partners share the rest."""
    partners: Annotated[tuple[str, ...], Field(min_length=1)]
    """Innocent members."""
    how: Literal["mean", "top-1"]
    """The mean of probabilities, or a vote of labels."""


class Processing(Section):
    """What a deployer puts around a model, without changing its weights."""

    of: tuple[str, ...] = ("copy",)
    """Members that are deployed so."""
    temperatures: tuple[float, ...] = ()
    decimals: tuple[Annotated[int, Field(ge=1, le=8)], ...] = ()
    noise: tuple[float, ...] = ()
    """Standard deviation of noise on the logits, fresh for every query (DP-Logits)."""
    fixed_noise: tuple[float, ...] = ()
    """The same noise for the same input."""
    inputs: tuple[InputName, ...] = ()
    views: tuple[ViewsName, ...] = ()
    ensembles: tuple[Ensemble, ...] = ()


class Fingerprinting(Section):
    """One bundle that all suspects are asked with."""

    name: str
    method: Annotated[str, AfterValidator(_known_method)] = "mfue"
    scores: tuple[Annotated[str, AfterValidator(_known_score)], ...] = ()
    """Scores to compute; the bundle's own by default."""
    answers: Literal["all", "labels"] = "all"
    """Whether suspects tell what they can, or their labels only."""
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Of the method, or of crafting (`generator.settings.CraftSettings`) for MFUE."""


class ArenaConfig(Section):
    """Everything about one arena."""

    name: str
    seed: Annotated[int, Field(ge=0)] = 0
    data: Data
    recipe: Recipe
    references: References
    calibration: Calibration | None = None
    """Without, bundles keep the rates and models that they were crafted with."""
    derived: Derived
    innocents: Innocents
    processing: Processing = Processing()
    fingerprint: tuple[Fingerprinting, ...]
    detectors: bool = True
    """Whether detectors look at the queries."""
    collapsed_below: Annotated[float, Field(ge=0, le=1)] = 0.5
    """A suspect with less than this share of the source's accuracy is reported apart."""
    min_derived: int = 0
    min_innocents: int = 0


def read_config(name: str) -> ArenaConfig:
    """Read a config by path, or one of those that come with the arena by name.

    A file with ``base = "small"`` has every section that it does not name from that config.

    Raises:
        ArenaError: There is none, or a field is wrong; names it.
    """
    path = Path(name) if name.endswith(".toml") else CONFIGS / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in CONFIGS.glob("*.toml")))
        raise ArenaError(f"config: expected a .toml file or one of {known}, got {name!r}")
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        base = fields.pop("base", None)
        if base is not None:  # what the file does not say is as in another config
            fields = read_config(base).model_dump(exclude_unset=True) | fields
        return ArenaConfig(**fields)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ArenaError(f"config: cannot read {path} ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ArenaError(f"config: {path.name}: {field}: {first['msg']}") from error
