"""Siblings of the source: the owner's own training run again, each time with another seed.

Source and siblings are exchangeable exactly if the training that made the source makes the
siblings, and nobody chooses among them. Seeds therefore follow from a commitment that is on disk
before the first run (`audit.bundle.line_up.sibling_seed`), and a run that is interrupted goes on
with the sibling that was not finished. Nothing here looks at how good a sibling is.
"""

import json
import os
import secrets
import shlex
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from safetensors.torch import save_file

from adapters.strict_model import FrozenModel
from audit.atomic_file import write_atomically
from audit.bundle.line_up import Sha256, public_commitment, sibling_seed
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.sources.source import Source
from generator.training.device import seeded
from generator.training.loop import TrainingRecipe, train
from generator.training.ranks import current_ranks

_STATE = "line-up.json"
WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".onnx")
"""Files that hold a network."""


class SiblingRun(FrozenModel):
    """How a folder's siblings are made; written before the first of them."""

    made_by: Literal["command", "recipe"]
    made_how: str
    """The command, or the recipe in words."""
    seed_commitment: Sha256
    seed_from: str | None = None
    """Public value that the commitment follows from; None: it was drawn here."""


@dataclass(frozen=True, kw_only=True)
class SeedOrigin:
    """What siblings' seeds come from."""

    source_sha256: str
    public_value: str | None = None
    """Whatever nobody chose; None draws a commitment."""


@dataclass(frozen=True, kw_only=True)
class Sibling:
    """A finished sibling."""

    name: str
    weights: Path
    seed: int | None


def open_run(
    folder: Path,
    made_by: Literal["command", "recipe"],
    made_how: str,
    origin: SeedOrigin,
) -> SiblingRun:
    """Begin a folder of siblings, or go on with it.

    Args:
        folder: Made if it does not exist.
        made_by: Which way.
        made_how: In words; a folder never mixes two.
        origin: Of the seeds.

    Raises:
        GenerationError: The folder holds siblings that were made in another way.
    """
    ranks = current_ranks()
    path = folder / _STATE
    if ranks.is_first and not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        run = SiblingRun(
            made_by=made_by,
            made_how=made_how,
            seed_commitment=_commitment(made_by, made_how, origin),
            seed_from=origin.public_value,
        )
        write_atomically(path, [run.model_dump_json(indent=2).encode() + b"\n"])
    ranks.wait()
    try:
        found = SiblingRun.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise GenerationError(
            f"work: cannot read {path}; choose another folder, because new seeds beside siblings "
            "that are there would be a choice among them"
        ) from error
    if (found.made_by, found.made_how) != (made_by, made_how):
        raise GenerationError(
            f"work: {folder} holds siblings made by {json.dumps(found.made_how)}, got "
            f"{json.dumps(made_how)}; choose another folder"
        )
    if found.seed_from != origin.public_value:
        raise GenerationError(
            f"seed-from: {folder} holds siblings whose seeds are from "
            f"{json.dumps(found.seed_from)}, got {json.dumps(origin.public_value)}; choose another "
            "folder"
        )
    return found


def _commitment(made_by: str, made_how: str, origin: SeedOrigin) -> str:
    if origin.public_value is None:
        return secrets.token_hex(32)
    return public_commitment(
        origin.public_value,
        source_sha256=origin.source_sha256,
        made_by=made_by,
        made_how=made_how,
    )


def check_command(template: str) -> list[str]:
    """Return a training command's arguments.

    Raises:
        GenerationError: It does not say where seed and weights go.
    """
    try:
        arguments = shlex.split(template)
    except ValueError as error:
        raise GenerationError(f"train: cannot read the command ({error})") from error
    for name in ("{seed}", "{weights}"):
        if not any(name in argument for argument in arguments):
            raise GenerationError(
                f"train: expected {name} in the command, as in "
                '"python train.py --seed {seed} --out {weights}"'
            )
    return arguments


def train_by_command(
    folder: Path,
    template: str,
    *,
    num_siblings: int,
    suffix: str,
    origin: SeedOrigin,
    num_parallel: int = 1,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[SiblingRun, list[Sibling]]:
    """Run the owner's training once for each sibling that is missing.

    Args:
        folder: Where siblings, their logs and the commitment to their seeds are.
        template: The command; ``{seed}`` and ``{weights}`` are replaced in each argument, and no
            shell reads it.
        num_siblings: J.
        suffix: Of the weights file, ``.safetensors``, ``.pt``, ``.pth`` or ``.onnx``.
        origin: Of the seeds.
        num_parallel: Runs at once.
        on_step: Called with (siblings done, siblings in all).

    Raises:
        GenerationError: A run failed, or left no weights; names its log.
    """
    arguments = check_command(template)
    run = open_run(folder, "command", template, origin)
    siblings = [
        Sibling(
            name=f"sibling-{number:03d}",
            weights=folder / f"sibling-{number:03d}{suffix}",
            seed=sibling_seed(run.seed_commitment, number),
        )
        for number in range(1, num_siblings + 1)
    ]
    ranks = current_ranks()
    mine = [one for one in ranks.mine(siblings) if not one.weights.exists()]
    num_done = num_siblings - len(mine)
    on_step(num_done, num_siblings)
    with ThreadPoolExecutor(num_parallel) as pool:
        try:
            for _ in pool.map(lambda one: _train(arguments, one), mine):
                num_done += 1
                on_step(num_done, num_siblings)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    ranks.wait()
    return run, siblings


def _train(arguments: Sequence[str], sibling: Sibling) -> None:
    weights, log = sibling.weights, sibling.weights.with_suffix(".log")
    # Under its own name a file is a finished sibling; the suffix says how it is read.
    partial = weights.with_name(f"{sibling.name}.part{weights.suffix}")
    partial.unlink(missing_ok=True)
    command = [
        argument.replace("{seed}", str(sibling.seed)).replace("{weights}", str(partial))
        for argument in arguments
    ]
    try:
        with log.open("wb") as output:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
    except OSError as error:
        raise GenerationError(f"train: cannot run {command[0]}: {error.strerror}") from error
    if done.returncode:
        raise GenerationError(
            f"train: {sibling.name} (seed {sibling.seed}) ended with status {done.returncode}; its "
            f"output is in {log}. The same command goes on with it"
        )
    if not partial.is_file():
        raise GenerationError(
            f"train: {sibling.name} ended without writing {partial}; the command must write the "
            "weights to {weights}"
        )
    os.replace(partial, weights)


def train_by_recipe(
    folder: Path,
    source: Source,
    data: ImageSet,
    recipe: TrainingRecipe,
    *,
    num_siblings: int,
    origin: SeedOrigin,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[SiblingRun, list[Sibling]]:
    """Train siblings by the training loop of Kinprint, which need not be the source's own.

    Args:
        folder: As in `train_by_command`.
        source: Gives the architecture; on the device that computes.
        data: The owner's images.
        recipe: How they are trained.
        num_siblings: J.
        origin: Of the seeds.
        on_step: Called with (siblings done, siblings in all).
    """
    words = (
        f"{source.architecture}, {len(data)} images, {recipe.epochs:g} epochs, learning rate "
        f"{recipe.learning_rate:g}"
    )
    run = open_run(folder, "recipe", words, origin)
    siblings = [
        Sibling(
            name=f"sibling-{number:03d}",
            weights=folder / f"sibling-{number:03d}.safetensors",
            seed=sibling_seed(run.seed_commitment, number),
        )
        for number in range(1, num_siblings + 1)
    ]
    ranks, device = current_ranks(), next(source.model.parameters()).device
    for number, sibling in enumerate(siblings):
        if ranks.owner(number) == ranks.rank and not sibling.weights.exists():
            assert sibling.seed is not None, "a committed seed"
            model = source.sibling(sibling.seed).to(device)
            train(model, data, recipe, generator=seeded(sibling.seed, "sibling"))
            partial = sibling.weights.with_suffix(".part")
            state = {
                name: one.cpu().contiguous() for name, one in model.network.state_dict().items()
            }
            save_file(state, partial)
            os.replace(partial, sibling.weights)
        on_step(number + 1, num_siblings)
    ranks.wait()
    return run, siblings


def given_siblings(folder: Path, source: Path) -> list[Sibling]:
    """Return the runs that an owner has anyway.

    Args:
        folder: With a weights file for each.
        source: The source's own weights, which is left out if it lies there, too.

    Raises:
        GenerationError: There is no such folder, or no weights in it.
    """
    if not folder.is_dir():
        raise GenerationError(f"weights: there is no folder {folder}")
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in WEIGHTS_SUFFIXES and path.resolve() != source.resolve()
    )
    if not paths:
        raise GenerationError(
            f"weights: expected {', '.join(WEIGHTS_SUFFIXES)} files in {folder}, found none"
        )
    return [Sibling(name=path.stem, weights=path, seed=None) for path in paths]
