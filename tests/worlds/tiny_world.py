"""A whole owner's desk, made once a test run: model, images, keys, a bundle, ONNX suspects."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from generator.pools.removal import prune
from generator.sources.onnx_export import export_onnx
from generator.sources.source import Normalised
from worlds.in_process import run
from worlds.tiny_onnx import write_onnx
from worlds.tiny_task import NORMALISE, tiny_images, trained_net, write_images, write_weights

HERE = Path(__file__).parent
PUBLIC_VALUE = "pulse 1234 of a beacon"


@dataclass(frozen=True)
class TinyWorld:
    """Where everything lies."""

    folder: Path

    @property
    def bundle(self) -> Path:
        return self.folder / "tiny.kinprint"

    @property
    def public_key(self) -> Path:
        return self.folder / "owner.pub"

    def craft_arguments(self, target: Path, **changes: str) -> list[str]:
        """Return the arguments of ``kinprint craft`` for a small, fast bundle."""
        options = {
            "model": f"{HERE / 'tiny_task.py'}:tiny_net",
            "weights": str(self.folder / "source.safetensors"),
            "normalise": NORMALISE,
            "images": str(self.folder / "train"),
            "held-out": str(self.folder / "held-out"),
            "out": str(target),
            "key": str(self.folder / "owner.key"),
            "created": "2026-01-01T00:00:00Z",
            "triggers": "12",
            "queries": "60",
            "num-probes": "8",
            "reference-epochs": "4",
            "reference-learning-rate": "0.02",
            "seed-from": PUBLIC_VALUE,
            "device": "cpu",
            "work": str(target.parent / "work"),
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        return ["craft", *(f"--{name}={value}" for name, value in options.items())]


def make_tiny_world(folder: Path) -> TinyWorld:
    world = TinyWorld(folder)
    train, held_out = tiny_images(300, 1), tiny_images(420, 2)
    write_images(folder / "train", train)
    write_images(folder / "held-out", held_out)
    source = trained_net(1, train)
    write_weights(folder / "source.safetensors", source)
    export_onnx(source.network, folder / "copy.onnx", image_shape=(12, 12, 3))
    pruned = prune(source, 0.1)
    assert isinstance(pruned, Normalised)
    write_onnx(folder / "pruned.onnx", pruned)
    write_onnx(folder / "stranger.onnx", trained_net(77, tiny_images(300, 9)))
    made = run("keygen", folder / "owner.key")
    assert made.returncode == 0, made.stderr
    crafted = run(*world.craft_arguments(world.bundle))
    assert crafted.returncode == 0, crafted.stderr
    return world


def copied_tiny_world(shared: Path, own: Path) -> TinyWorld:
    """Copy the world of this test run, made by whichever process needs it first.

    Args:
        shared: A folder that all processes of the run have in common.
        own: Where the copy goes; what one process writes there, no other one sees.
    """
    made, partial = shared / "tiny-world", shared / "tiny-world.part"
    with FileLock(shared / "tiny-world.lock"):
        if not made.exists():
            shutil.rmtree(partial, ignore_errors=True)
            make_tiny_world(partial)
            partial.rename(made)
    shutil.copytree(made, own)
    return TinyWorld(own)
