"""The networks of the benchmark: an owner's, a dishonest owner's, and twenty strangers'.

Small ones on CIFAR-10 at 16 x 16 pixels, which train in seconds. What is trained is kept in a
folder, so that a broken run goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.false_claims.claim import MEAN, STD
from benchmarks.false_claims.forgeries import World
from generator.images.labelled import ImageSet
from generator.images.reading import load_images
from generator.pools.removal import add_weight_noise, fine_tune, prune, quantise_weights
from generator.sources.architectures import PlainNet, ResNet8
from generator.sources.source import Normalised, ready
from generator.training.loop import PGDAdversary, TrainingRecipe, train

FACTORIES: Sequence[Callable[[], nn.Module]] = (
    lambda: ResNet8(widths=(8, 16, 32)),
    lambda: PlainNet(widths=(12, 20, 40, 40)),
    lambda: ResNet8(widths=(12, 16, 24)),
    lambda: PlainNet(widths=(16, 16, 32, 48)),
)
NUM_SOURCES, NUM_INNOCENTS, NUM_HARDENED, NUM_WEAK, NUM_VICTIMS = 3, 14, 10, 10, 3


@dataclass(frozen=True, kw_only=True)
class Population:
    """Everybody."""

    sources: Sequence[Normalised]
    innocents: Sequence[Normalised]
    low: Sequence[Normalised]
    victims: Sequence[Normalised]
    strangers: Sequence[Normalised]
    """The judge's; no claim is made with them."""
    controls: ImageSet
    candidates: ImageSet
    training: ImageSet
    tuning: ImageSet

    def world(self, source: int) -> World:
        """Return what the owner of one of the sources has."""
        model = self.sources[source]
        return World(
            source=model,
            copies=[self._copy(model, number) for number in range(16)],
            innocents=self.innocents,
            low=self.low,
            victims=self.victims,
            controls=self.controls,
            candidates=self.candidates,
            training=self.training,
        )

    def _copy(self, model: nn.Module, number: int) -> nn.Module:
        generator = torch.Generator().manual_seed(number)
        match number % 4:
            case 0:
                return fine_tune(model, self.tuning, generator=generator, epochs=1 + number // 8)
            case 1:
                return prune(model, 0.2 + 0.03 * number)
            case 2:
                return add_weight_noise(model, 0.03 + 0.01 * number, generator=generator)
            case _:
                return quantise_weights(model, 8 - number // 4)


def train_population(
    data: Path, work: Path, *, num_strangers: int, num_images: int, epochs: float
) -> Population:
    """Train everybody, or read who is trained already.

    Args:
        data: Folder with the CIFAR-10 archives.
        work: Where networks are kept.
        num_strangers: Of the judge.
        num_images: That each network is trained on.
        epochs: Passes over them.
    """
    rng = np.random.default_rng(0)

    def images(num: int, *names: str) -> ImageSet:
        places = [data / f"cifar10-{name}.zip" for name in names]
        found, _ = load_images(places, max_images=num, rng=rng)
        return _halved(found)

    # Owner and strangers have no image in common.
    known, test = images(5 * num_images, "train-a", "train-b"), images(1400, "test")
    owner = known.take(np.arange(2 * num_images))
    others = known.take(np.arange(2 * num_images, len(known)))
    recipe = TrainingRecipe(epochs=epochs, batch_size=64, learning_rate=0.1)
    hardened = TrainingRecipe(
        epochs=epochs,
        batch_size=64,
        learning_rate=0.1,
        adversary=PGDAdversary(radius=8 / 255, steps=1),
    )
    weak = TrainingRecipe(epochs=max(1.0, epochs / 3), batch_size=64, learning_rate=0.1)

    def made(
        kind: str, number: int, pool: ImageSet, how: TrainingRecipe, share: float = 1.0
    ) -> Normalised:
        seed = 1000 * len(kind) + number
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = ready(Normalised(FACTORIES[number % len(FACTORIES)](), MEAN, STD))
        path = work / f"{kind}-{number:02d}.safetensors"
        if path.is_file():
            model.load_state_dict(load_file(path))
            return model.eval()
        own = np.random.default_rng(seed).permutation(len(pool))[: round(share * num_images)]
        train(model, pool.take(own), how, generator=torch.Generator().manual_seed(seed))
        work.mkdir(parents=True, exist_ok=True)
        save_file({name: one.contiguous() for name, one in model.state_dict().items()}, path)
        print(f"{kind} {number}", flush=True)
        return model.eval()

    return Population(
        sources=[made("source", i, owner, recipe) for i in range(NUM_SOURCES)],
        innocents=[made("innocent", i, owner, recipe) for i in range(NUM_INNOCENTS)],
        low=[
            *(made("hardened", i, owner, hardened, 0.7) for i in range(NUM_HARDENED)),
            *(made("weak", i, owner, weak, 0.5) for i in range(NUM_WEAK)),
        ],
        victims=[made("victim", i, others, recipe) for i in range(NUM_VICTIMS)],
        strangers=[made("stranger", i, others, recipe) for i in range(num_strangers)],
        controls=test.take(np.arange(100)),
        candidates=test.take(np.arange(100, len(test))),
        training=owner.take(np.arange(400)),
        # An owner has no image of a stranger's.
        tuning=owner.take(np.arange(800, 1600)),
    )


def _halved(data: ImageSet) -> ImageSet:
    """Return images of half the side, means of four pixels, in a balanced order."""
    order = data.balanced_order(np.random.default_rng(1))
    num, height, width, channels = data.images.shape
    blocks = data.images[order].reshape(num, height // 2, 2, width // 2, 2, channels)
    small = blocks.mean(axis=(2, 4)).round().astype(np.uint8)
    return ImageSet(small, data.labels[order], data.class_names)
