"""The arena's images: who trains on what, and what nobody trains on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.arena.config import ArenaError, Data
from generator.errors import ImagesError
from generator.images.labelled import ImageSet
from generator.images.reading import load_images

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of CIFAR-10 per channel, in [0, 1] pixel units; every model of an arena is normalised so."""


@dataclass(frozen=True, kw_only=True)
class ArenaData:
    """Images by purpose; no image serves two."""

    owner: ImageSet
    """Trains the source, its siblings and the references."""
    attacker: ImageSet
    """Trains everybody else."""
    far: ImageSet | None
    """Things of other classes; their labels mean nothing here."""
    crafting: ImageSet
    """What the owner crafts with and never trained on."""
    scoring: ImageSet
    """Measures every model's accuracy."""
    digest: str
    """SHA-256 of all pixels and labels, in hex."""


_PARTS = ("owner", "attacker", "far", "crafting", "scoring")


def load_data(data: Data, root: Path, cache: Path, seed: int) -> ArenaData:
    """Load and divide the images; decoded once, then read from the cache.

    Args:
        data: Which images.
        root: Folder that the paths are relative to.
        cache: Folder for the decoded pixels.
        seed: Source of the division.

    Raises:
        ArenaError: There are too few images, or they cannot be read.
    """
    name = hashlib.sha256(f"{data.model_dump_json()}/{root}/{seed}".encode()).hexdigest()[:16]
    folder = cache / f"images-{name}"
    if not (folder / "digest").is_file():
        _decode(data, root, folder, seed)
    names = tuple((folder / "classes").read_text(encoding="utf-8").split("\n"))

    def part(name: str) -> ImageSet:
        return ImageSet(np.load(folder / f"{name}.npy"), np.load(folder / f"{name}-y.npy"), names)

    return ArenaData(
        **{name: part(name) for name in _PARTS if name != "far"},
        far=part("far") if data.far else None,
        digest=(folder / "digest").read_text(encoding="utf-8"),
    )


def _decode(data: Data, root: Path, folder: Path, seed: int) -> None:
    rng = np.random.default_rng([seed, 0xDA7A])
    train = _load(data.train, root, data.classes)
    wanted = data.owner + data.attacker
    if len(train) < wanted:
        raise ArenaError(f"data: expected {wanted} images to train on, found {len(train)}")
    order = train.balanced_order(rng)
    test = _load(data.test, root, data.classes)
    halves = test.balanced_order(rng)
    parts = {
        "owner": train.take(order[: data.owner]),
        "attacker": train.take(order[data.owner : wanted]),
        "crafting": test.take(halves[: len(test) // 2]),
        "scoring": test.take(halves[len(test) // 2 :]),
    }
    if data.far:
        far = _load(data.far, root, None)
        parts["far"] = far.take(rng.permutation(len(far))[: data.attacker])
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for name, images in parts.items():
        np.save(folder / f"{name}.npy", images.images)
        np.save(folder / f"{name}-y.npy", images.labels)
        digest.update(name.encode() + images.images.tobytes() + images.labels.tobytes())
    (folder / "classes").write_text("\n".join(train.class_names), encoding="utf-8")
    # Written last: a folder with a digest is whole.
    (folder / "digest").write_text(digest.hexdigest(), encoding="utf-8")


def _load(names: Sequence[str], root: Path, classes: int | None) -> ImageSet:
    try:
        images, _ = load_images([root / name for name in names])
    except ImagesError as error:
        raise ArenaError(f"data: {error}") from error
    if classes is None:
        return images
    kept = images.take(np.flatnonzero(images.labels < classes))
    return ImageSet(kept.images, kept.labels, images.class_names[:classes])
