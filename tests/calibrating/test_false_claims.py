"""False claims of every kind against tiny real networks: refused, or refuted by a judge's models.

The forgeries are the benchmark's own (`benchmarks.false_claims.forgeries`), made here against
networks that train in a tenth of a second.
"""

from pathlib import Path

import pytest
import torch
from worlds.tiny_onnx import write_onnx
from worlds.tiny_task import MEAN, STD, tiny_images, tiny_net

from benchmarks.false_claims.forgeries import FORGERIES, UNSEEN, World, honest_claim
from benchmarks.false_claims.run import judged
from generator.images.labelled import ImageSet
from generator.pools.removal import add_weight_noise, quantise_weights
from generator.sources.source import Normalised
from generator.training.loop import PGDAdversary, TrainingRecipe, train

NUM_STRANGERS = 18
"""The fewest that can say that a bundle with an alpha of 0.1 stands."""
QUICK = ("weak calibrators", "one image asked sixty times", "hidden epsilon")
"""What is made in a moment; the others are tried with `make test-all`."""


def _net(seed: int, data: ImageSet, *, is_low: bool = False) -> Normalised:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Normalised(tiny_net(), MEAN, STD)
    recipe = TrainingRecipe(
        epochs=3,
        batch_size=32,
        learning_rate=0.02,
        augment=False,
        adversary=PGDAdversary(radius=24 / 255, steps=2) if is_low else None,
    )
    train(model, data, recipe, generator=torch.Generator().manual_seed(seed))
    return model.eval()


@pytest.fixture(scope="module")
def world() -> World:
    public = tiny_images(240, 1)
    source = _net(1, public)
    generator = torch.Generator().manual_seed(0)
    return World(
        source=source,
        copies=[
            *(add_weight_noise(source, 0.02 * i, generator=generator) for i in range(1, 11)),
            *(quantise_weights(source, bits) for bits in (8, 6)),
        ],
        innocents=[_net(100 + i, public) for i in range(13)],
        low=[_net(200 + i, tiny_images(120, 50 + i), is_low=True) for i in range(14)],
        victims=[_net(300, public)],
        controls=tiny_images(60, 3),
        candidates=tiny_images(300, 4),
        training=public,
        num_queries=40,
        max_steps=15,
    )


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strangers")
    # Everybody learns from the same public images.
    data = tiny_images(240, 1)
    for number in range(NUM_STRANGERS):
        write_onnx(folder / f"stranger-{number}.onnx", _net(400 + number, data))
    return folder


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.long]) for name in FORGERIES],
)
def test_a_false_claim_is_noticed(world: World, strangers: Path, name: str) -> None:
    found = judged(FORGERIES[name](world), world.victims, strangers, with_changes=False)
    assert found.by in ("inspect", "challenge"), found
    # Read at all, it does accuse the innocent.
    assert found.num_accused in (None, 1)


def test_an_honest_claim_stands(world: World, strangers: Path) -> None:
    found = judged(honest_claim(world), world.victims, strangers, with_changes=False)
    assert (found.finding, found.num_accused, found.words) == ("stands", 0, ())


@pytest.mark.long
def test_pictures_that_were_picked_afterwards_are_seen_by_nobody(
    world: World, strangers: Path
) -> None:
    # What docs/evidence.md says: no model of a judge's shows it, only a commitment helps.
    (make,) = UNSEEN.values()
    found = judged(make(world), world.victims, strangers, with_changes=False)
    assert found.by == "nobody"
