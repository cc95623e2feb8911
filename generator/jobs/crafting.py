"""A crafting run as an owner describes it: options and TOML in, a signed bundle on disk out."""

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import platformdirs
from pydantic import ConfigDict, Field, ValidationError

from audit.bundle.bundle_file import creation_time, write_bundle
from audit.signing.keys import load_private_key
from audit.verdict.p_values import innocents_needed
from generator.errors import GenerationError
from generator.images.reading import read_images
from generator.images.splits import Splits
from generator.jobs.chosen_method import (
    MFUE,
    ChosenMethod,
    choose_method,
    method_table,
    option_pairs,
)
from generator.jobs.mfue import Crafted, Report, craft
from generator.jobs.owner_images import OwnerImages, read_splits, reading_for, split_owner_images
from generator.pools.given_references import load_references
from generator.pools.references import PoolModel, train_references
from generator.settings import CraftSettings
from generator.sources.check import check_on_images
from generator.sources.preprocess import read_contract, usual_preprocess
from generator.sources.programs import open_source, require_weights
from generator.sources.source import Source
from generator.training.device import prepare_device
from generator.training.ranks import current_ranks

_MIN_WITH_GRADIENTS = 4
"""Crafting against innocents needs some whose gradients can be had; ONNX files have none."""
_TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"


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
    max_images: Annotated[int, Field(ge=2)] | None = None
    skip_unreadable: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    created: Annotated[str, Field(pattern=_TIME)] | None = None
    work: Path | None = None

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
        field = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise GenerationError(
                f"{field}: expected --{field.replace('_', '-')}, or {field} in the TOML file"
            ) from error
        raise GenerationError(f"{field}: {first['msg']}, got {first['input']!r}") from error
    _chosen(job)  # wrong options are told before anything is computed
    return job


def _chosen(job: CraftJob) -> ChosenMethod | None:
    return choose_method(job.method, job.method_options, given=job.model_fields_set)


def run_job(job: CraftJob, *, report: Report, tell: Callable[[str], None]) -> str:
    """Craft, sign and write the bundle.

    Args:
        job: What to do.
        report: Progress by stage.
        tell: Says what a user should know on the way.

    Returns:
        A summary in one line.

    Raises:
        GenerationError: Anything that stops crafting; nothing is written then.
        AuditError: The key cannot be read, or the bundle cannot be written.
    """
    chosen = _chosen(job)
    needs = chosen.method.needs if chosen else frozenset({"innocents"})
    contract = read_contract(
        job.normalise, job.preprocess or usual_preprocess(job.model, job.normalise)
    )
    key = load_private_key(job.key, _passphrase(job.passphrase_env))
    if not job.out.absolute().parent.is_dir():
        raise GenerationError(f"out: there is no folder {job.out.absolute().parent}")
    device = prepare_device(job.device)
    rng = np.random.default_rng([job.seed, 0x1A6E5])
    work = job.work or platformdirs.user_cache_path("kinprint") / "craft"
    reading = reading_for(contract, skip_unreadable=job.skip_unreadable, cache=work)
    owner = OwnerImages(
        images=job.images,
        held_out=job.held_out,
        class_names=job.classes.split(",") if job.classes else None,
        max_images=job.max_images,
    )
    listed = split_owner_images(owner, reading, rng, tell)
    # The model is looked at before anything else is decoded, let alone trained.
    (controls,), _ = read_images([listed.controls], reading)
    reading = replace(reading, channels=3 if controls.images.shape[3] == 3 else 1)
    source = open_source(
        job.model,
        job.weights,
        contract,
        controls.images,
        num_classes=len(controls.class_names),
    )
    source.model.to(device)
    found = check_on_images(source, controls)
    tell(f"{source.architecture}: {found.accuracy:.1%} of {len(controls)} control images right.")
    for note in found.notes:
        tell(note)
    splits = read_splits(listed, reading, tell)
    references = []
    if job.references is not None:
        references = load_references(
            job.references, splits.controls, contract=contract, device=device, tell=tell
        )
    wanted = job.train_references
    if wanted is None:
        num_needed = innocents_needed(job.alpha)
        if "innocents" in needs:  # half of them craft
            num_needed *= 2
            num_with_gradients = sum(reference.network is not None for reference in references)
            num_needed = max(num_needed, len(references) + _MIN_WITH_GRADIENTS - num_with_gradients)
        wanted = max(0, num_needed - len(references))
    if wanted:
        tell(f"Training {wanted} innocent references of the same architecture from scratch.")
        references += train_references(
            source,
            splits.training,
            num_references=wanted,
            epochs=job.reference_epochs,
            learning_rate=job.reference_learning_rate,
            seed=job.seed,
            on_step=lambda done, total: report("references", done, total),
        )
    work.mkdir(parents=True, exist_ok=True)
    crafted = _crafted(job, chosen, source, splits, references, work, report)
    if crafted.num_mimics_found:
        tell(f"Went on from {crafted.num_mimics_found} mimics of an earlier run in {work}.")
    if not current_ranks().is_first:
        return crafted.summary  # everybody has the same bundle; one writes it
    digest = write_bundle(job.out, crafted.manifest, crafted.arrays, key)
    return (
        f"{crafted.summary}, {len(references)} references; bundle {digest[:16]}, signed by "
        f"{key.public_key.key_id[:16]}"
    )


def _crafted(
    job: CraftJob,
    chosen: ChosenMethod | None,
    source: Source,
    splits: Splits,
    references: Sequence[PoolModel],
    work: Path,
    report: Report,
) -> Crafted:
    name = job.name or (job.weights or Path(job.model)).stem
    created = job.created or creation_time()
    if chosen is None:
        return craft(
            source,
            splits,
            references,
            job.settings(),
            model_name=name,
            owner=job.owner,
            created=created,
            work=work,
            report=report,
        )
    from generator.jobs.fingerprint import craft_fingerprint

    return craft_fingerprint(
        source,
        splits,
        references,
        job.settings(),
        chosen.method,
        chosen.options,
        model_name=name,
        owner=job.owner,
        created=created,
        work=work,
        report=report,
    )


def _passphrase(variable: str | None) -> str | None:
    if variable is None:
        return None
    value = os.environ.get(variable)
    if not value:
        raise GenerationError(f"passphrase-env: {variable} is not set, or empty")
    return value
