"""The population on disk: every member made once, cached by what it depends on, resumable.

A member's folder is named by a SHA-256 of its recipe, its parent's key and the images; it holds
``model.onnx``, ``weights.safetensors`` where there are any, and ``member.json``, written last.
"""

import hashlib
import json
import math
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from adapters.onnx.input import RecipeOptions
from adapters.onnx.opening import open_onnx
from adapters.strict_model import FrozenModel
from adapters.suspect import Suspect
from benchmarks.arena.config import ArenaConfig, ArenaError
from benchmarks.arena.data import MEAN, STD, ArenaData, load_data
from benchmarks.arena.estimate import estimated_seconds
from benchmarks.arena.files import write_quantised, write_stranger
from benchmarks.arena.make import Workshop, make, workshop_network
from benchmarks.arena.members import Member, members
from generator.sources.onnx_export import export_onnx
from generator.sources.source import Normalised, ready
from generator.training.device import prepare_device
from generator.training.ranks import current_ranks

VERSION = 1
"""Of the way members are made; a new one makes everybody anew."""
_MAX_SCORED, _MAX_CALIBRATION = 2000, 200


class Built(FrozenModel):
    """A member on disk."""

    member: Member
    key: str
    accuracy: float
    """Share of the scoring images that it gets right, through its ONNX file."""
    seconds: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Population:
    """Everybody, and where they are."""

    folder: Path
    built: tuple[Built, ...]

    def onnx(self, one: Built) -> Path:
        """Return a member's ONNX file."""
        return self.folder / one.key / "model.onnx"

    def of(self, *roles: str) -> list[Built]:
        """Return the members with some roles."""
        return [one for one in self.built if one.member.role in roles]


def build_population(
    config: ArenaConfig,
    *,
    root: Path,
    models: Path | None,
    cache: Path,
    workers: int,
    device: str,
    tell: Callable[[str], None],
) -> Population:
    """Make what is missing.

    Args:
        config: Who is wanted.
        root: Folder of the images.
        models: Folder with pretrained models of other people, or None.
        cache: Where everything goes.
        workers: Processes that make models at once; on CUDA they share the card. Under
            ``torchrun`` each of its processes makes its share instead.
        device: ``cpu`` or ``cuda``.
        tell: Says what is being made.

    Raises:
        ArenaError: The images or a member cannot be made; what is done stays in the cache.
    """
    cache.mkdir(parents=True, exist_ok=True)
    ranks = current_ranks()
    if ranks.is_first:
        load_data(config.data, root, cache, config.seed)
    ranks.wait()  # the images are decoded once
    data = load_data(config.data, root, cache, config.seed)
    wanted = members(config, _strangers(models))
    keys = _keys(config, wanted, data)
    found = {one.name: _read(cache / keys[one.name]) for one in wanted}
    job = _Job(config=config, root=root, cache=cache, device=device)
    missing = [one for one in wanted if found[one.name] is None]
    tell(f"{len(wanted) - len(missing)} of {len(wanted)} models are in the cache")
    if missing:
        seconds = estimated_seconds(missing, _workshop(job, data)) / workers
        tell(f"making {len(missing)} takes about {math.ceil(seconds / 60)} minutes")
    started = time.monotonic()
    making = _make_all(missing, keys, job, workers)
    if ranks.size > 1:
        missing = ranks.mine(missing)
        making = _make_share(missing, keys, job)
    for num_done, one in enumerate(making, start=1):
        found[one.member.name] = one
        spent = time.monotonic() - started
        left = spent / num_done * (len(missing) - num_done)
        tell(
            f"[{num_done}/{len(missing)}] {one.member.name}: {one.accuracy:.1%}, "
            f"{one.seconds:.0f} s; about {left / 60:.0f} min left"
        )
    ranks.wait()
    everybody = ((one, _read(cache / keys[one.name])) for one in wanted)
    # What a model is for, the config says, not the one that it was made for.
    return Population(
        folder=cache,
        built=tuple(
            made.model_copy(update={"member": one}) for one, made in everybody if made is not None
        ),
    )


def open_member(population: Population, one: Built, data: ArenaData) -> Suspect:
    """Open a member's ONNX file as an audit opens a suspect's."""
    height, width, channels = data.owner.images.shape[1:]
    return open_onnx(
        population.onnx(one),
        recipe=RecipeOptions(mean=one.mean, std=one.std),
        image_shape=(height, width, channels),
        num_classes=len(data.owner.class_names),
    )


def load_network(folder: Path, key: str, workshop: Workshop) -> Normalised:
    """Return a member of the source's architecture with its weights."""
    network = workshop_network(workshop)
    state = safetensors.torch.load_file(folder / key / "weights.safetensors")
    network.load_state_dict(state)
    return ready(Normalised(network, MEAN, STD)).to(workshop.device)


def _strangers(models: Path | None) -> dict[str, str]:
    if models is None:
        return {}
    return {one.stem: str(one) for one in sorted(models.glob("cifar10_resnet*.safetensors"))}


def _keys(config: ArenaConfig, wanted: Sequence[Member], data: ArenaData) -> dict[str, str]:
    keys: dict[str, str] = {}
    for one in wanted:
        told = {
            "version": VERSION,
            "how": one.how,
            "settings": dict(one.settings),
            "name": one.name,
            "seed": config.seed,
            "recipe": config.recipe.model_dump(),
            "images": data.digest,
            "parent": keys[one.parent] if one.parent else None,
        }
        if one.how == "stranger":
            file = Path(str(one.settings["file"]))
            told["settings"] = hashlib.sha256(file.read_bytes()).hexdigest()
        keys[one.name] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]
    return keys


def _read(folder: Path) -> Built | None:
    path = folder / "member.json"
    return Built.model_validate_json(path.read_bytes()) if path.is_file() else None


def _make_all(
    missing: Sequence[Member], keys: Mapping[str, str], job: "_Job", workers: int
) -> Iterator[Built]:
    """Make members in processes of their own, each when its parent is there."""
    waiting = list(missing)
    names = {one.name for one in missing}
    running: dict[Future[Built], Member] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker) as pool:
        try:
            while waiting or running:
                free = [one for one in waiting if one.parent not in names]
                for one in free[: max(0, workers - len(running))]:
                    waiting.remove(one)
                    parent = keys[one.parent] if one.parent else None
                    running[pool.submit(_make_one, job, one, keys[one.name], parent)] = one
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    one = running.pop(future)
                    names.discard(one.name)
                    yield future.result()
        except BaseException:
            for future in running:
                future.cancel()
            raise


def _make_share(missing: Sequence[Member], keys: Mapping[str, str], job: "_Job") -> Iterator[Built]:
    """Make this process's share, one after another, each when its parent is in the cache.

    Parents come before their children in everybody's share, so that nobody waits for ever.
    """
    for one in missing:
        parent = keys[one.parent] if one.parent else None
        while parent is not None and _read(job.cache / parent) is None:
            time.sleep(0.2)
        yield _make_one(job, one, keys[one.name], parent)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What every process needs."""

    config: ArenaConfig
    root: Path
    cache: Path
    device: str


def prepare_worker() -> None:
    """Compute on one core, and end with the process that started this one."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    """Leave nothing behind that goes on computing when the arena is killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _make_one(job: _Job, one: Member, key: str, parent_key: str | None) -> Built:
    started = time.monotonic()
    data = load_data(job.config.data, job.root, job.cache, job.config.seed)
    workshop = _workshop(job, data)
    partial = job.cache / f"{key}.part-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        mean, std = _write_model(job, workshop, one, parent_key, partial)
        accuracy = _accuracy(partial / "model.onnx", data, mean, std)
        built = Built(
            member=one,
            key=key,
            accuracy=accuracy,
            seconds=time.monotonic() - started,
            mean=mean,
            std=std,
        )
        (partial / "member.json").write_text(built.model_dump_json(indent=2), encoding="utf-8")
        shutil.rmtree(job.cache / key, ignore_errors=True)
        os.replace(partial, job.cache / key)
    except OSError as error:
        raise ArenaError(
            f"cache: cannot write {one.name} ({error.strerror}); what is done is kept, make room "
            "and run the same command again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return built


def _workshop(job: _Job, data: ArenaData) -> Workshop:
    return Workshop(
        recipe=job.config.recipe,
        data=data,
        seed=job.config.seed,
        device=prepare_device("cuda" if job.device == "cuda" else "cpu"),
    )


def _write_model(
    job: _Job, workshop: Workshop, one: Member, parent_key: str | None, folder: Path
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    path, shape = folder / "model.onnx", workshop.data.owner.images.shape[1:]
    if one.how == "stranger":
        return write_stranger(Path(str(one.settings["file"])), path, image_shape=shape)
    if one.how == "quantise":
        assert parent_key is not None
        images = workshop.data.attacker.images[:_MAX_CALIBRATION]
        write_quantised(
            job.cache / parent_key / "model.onnx", path, images, to=str(one.settings["to"])
        )
        return MEAN, STD
    parent = None if parent_key is None else load_network(job.cache, parent_key, workshop)
    model = make(workshop, one, parent)
    state = {name: tensor.cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    safetensors.torch.save_file(state, folder / "weights.safetensors")
    export_onnx(model.network, path, image_shape=shape)
    return MEAN, STD


def _accuracy(
    path: Path, data: ArenaData, mean: tuple[float, ...], std: tuple[float, ...]
) -> float:
    height, width, channels = data.owner.images.shape[1:]
    suspect = open_onnx(
        path,
        recipe=RecipeOptions(mean=mean, std=std),
        image_shape=(height, width, channels),
        num_classes=len(data.owner.class_names),
    )
    try:
        images = np.asarray(data.scoring.images[:_MAX_SCORED])
        parts = range(0, len(images), suspect.batch_size)
        labels = [suspect.predict(images[at : at + suspect.batch_size]).labels for at in parts]
    finally:
        suspect.close()
    return float((np.concatenate(labels) == data.scoring.labels[:_MAX_SCORED]).mean())
