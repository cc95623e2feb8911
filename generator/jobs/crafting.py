"""A crafting run as an owner describes it: options and a TOML file, joined and checked."""

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from audit.signing.times import BundleTime
from generator.errors import GenerationError
from generator.jobs.chosen_method import (
    MFUE,
    ChosenMethod,
    choose_method,
    method_table,
    option_pairs,
)
from generator.settings import CraftSettings
from generator.sources.programs import require_weights

_FIELDS = {"queries": "num_queries", "triggers": "num_triggers", "packs": "num_packs"}
"""Fields whose option has a shorter name; a TOML file may use either."""
_OPTIONS = {field: option for option, field in _FIELDS.items()}


class CraftJob(CraftSettings):
    """The options of ``kinprint craft``; a TOML file has the same fields."""

    model_config = ConfigDict(strict=False)

    method: str = MFUE
    """`MFUE`, or a name out of `generator.methods.known_methods.METHODS`."""
    method_options: dict[str, Any] = Field(default_factory=dict)
    """Options of another method than MFUE."""
    model: str
    weights: Path | None = None
    """Left out where ``model`` is an ONNX file, which holds its weights."""
    ancestor: str | None = None
    """Public checkpoint that the model was fine-tuned from; ``none`` says that there is none."""
    normalise: str | None = None
    preprocess: str | None = None
    images: tuple[Path, ...]
    held_out: tuple[Path, ...] = ()
    classes: str | None = None
    out: Path
    key: Path
    passphrase_env: str | None = None
    name: str | None = None
    owner: str = "unnamed owner"
    references: Path | None = None
    train_references: Annotated[int, Field(ge=0, le=1000)] | None = None
    reference_epochs: Annotated[float, Field(gt=0, le=1000)] = 12
    reference_learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.1
    seed_from: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """Public value that the seed of trained references follows from, with their recipe."""
    max_images: Annotated[int, Field(ge=2)] | None = None
    skip_unreadable: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    created: BundleTime | None = None
    work: Path | None = None
    """Folder for what is finished; by default beside the bundle."""
    sketch: bool = False
    """Whether the bundle holds a sketch of the weights, by which files are judged, too."""
    budget: str | None = None
    """Time that the run may take, such as ``2h``."""

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Return the bundles to write: ``out``, or ``out`` with the number of each pack."""
        if self.num_packs == 1:
            return (self.out,)
        numbers = range(1, self.num_packs + 1)
        return tuple(self.out.with_stem(f"{self.out.stem}-{number}") for number in numbers)

    def settings(self) -> CraftSettings:
        """Return the part that shapes the bundle."""
        return CraftSettings(**{name: getattr(self, name) for name in CraftSettings.model_fields})


def read_job(config_path: Path | None, options: Mapping[str, Any]) -> CraftJob:
    """Join a TOML file and options; options win.

    Args:
        config_path: TOML file, or None.
        options: By field name; None and empty tuples mean "not given".

    Raises:
        GenerationError: A field is missing, unknown or out of range; names it.
    """
    fields: dict[str, Any] = {}
    if config_path is not None:
        try:
            fields = tomllib.loads(config_path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise GenerationError(f"config: cannot read {config_path} ({error})") from error
        fields = {name.replace("-", "_"): value for name, value in fields.items()}
        fields = {_FIELDS.get(name, name): value for name, value in fields.items()}
        fields |= method_table(fields)
        for name in ("images", "held_out"):
            if isinstance(fields.get(name), str):
                fields[name] = [fields[name]]
    given = {name: value for name, value in options.items() if value not in (None, ())}
    pairs = given.pop("option", ())
    fields |= given
    fields["method_options"] = fields.get("method_options", {}) | option_pairs(pairs)
    if "model" in fields:
        require_weights(str(fields["model"]), "weights" in fields)
    try:
        job = CraftJob(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # fields that do not fit each other, and are named
            raise GenerationError(str(first["ctx"]["error"])) from error
        name, *deeper = map(str, first["loc"])
        field = ".".join((_OPTIONS.get(name, name), *deeper))
        if first["type"] == "extra_forbidden":
            known = {_OPTIONS.get(one, one) for one in CraftJob.model_fields}
            near = get_close_matches(field, known, n=1)
            meant = f"; did you mean {near[0]}?" if near else "; 'kinprint craft --help' lists them"
            raise GenerationError(f"{field}: expected an option of craft{meant}") from error
        if first["type"] == "missing":
            raise GenerationError(
                f"{field}: expected --{field.replace('_', '-')}, or {field} in the TOML file"
            ) from error
        got = "" if first["type"] == "time" else f", got {first['input']!r}"
        raise GenerationError(f"{field}: {first['msg']}{got}") from error
    chosen_of(job)  # wrong options are told before anything is computed
    return job


def chosen_of(job: CraftJob) -> ChosenMethod | None:
    """Return the method that is not MFUE, with its options; None for MFUE."""
    return choose_method(job.method, job.method_options, given=job.model_fields_set)
