"""A bundle that does not know its own source, or accuses an innocent, is not written."""

from dataclasses import replace
from pathlib import Path

import pytest
from worlds.tiny_task import tiny_images, trained_net
from worlds.tiny_world import HERE, TinyWorld

from audit.bundle.bundle_file import read_bundle
from audit.signing.keys import load_private_key, load_trust
from generator.errors import GenerationError
from generator.jobs.own_audit import audit_own_source
from generator.pools.references import PoolModel, torch_pool_model
from generator.sources.contract import InputContract
from generator.sources.source import Normalised, Source, load_source


def tried(world: TinyWorld, source: Source, *held_back: PoolModel) -> list[str]:
    bundle = read_bundle(world.bundle, load_trust([world.public_key]))
    told: list[str] = []
    audit_own_source(
        bundle.manifest,
        bundle.arrays,
        load_private_key(world.folder / "owner.key"),
        source,
        held_back,
        report=lambda stage, done, total: None,
        tell=told.append,
    )
    return told


def innocent(model: Normalised) -> PoolModel:
    return torch_pool_model(
        model, name="reference-18", role="innocent", stratum="same recipe", provenance=""
    )


@pytest.fixture
def source(tiny_world: TinyWorld) -> Source:
    return load_source(
        f"{HERE / 'tiny_task.py'}:tiny_net",
        tiny_world.folder / "source.safetensors",
        InputContract(mean=(0.5,) * 3, std=(0.25,) * 3),
    )


def test_a_good_bundle_passes(tiny_world: TinyWorld, source: Source) -> None:
    told = tried(tiny_world, source, innocent(trained_net(77, tiny_images(300, 9))))
    assert all("is not cleared" in text for text in told)


def test_a_bundle_that_speaks_for_another_model_names_what_is_missing(
    tiny_world: TinyWorld, source: Source
) -> None:
    stranger = replace(source, model=trained_net(77, tiny_images(300, 9)))
    with pytest.raises(
        GenerationError,
        match=r"not written, because it calls the source .*innocents? score as high",
    ):
        tried(tiny_world, stranger)


def test_a_bundle_that_accuses_what_was_held_back_is_not_written(
    tiny_world: TinyWorld, source: Source
) -> None:
    with pytest.raises(
        GenerationError, match=r"calls reference-18 derived, .*held back: .*--ancestor"
    ):
        tried(tiny_world, source, innocent(source.model))


def test_a_source_that_cannot_be_compared_is_told(tiny_world: TinyWorld, source: Source) -> None:
    with pytest.raises(GenerationError, match=r"calls the source not[- _]comparable"):
        tried(tiny_world, replace(source, model=source.sibling(1)))


def test_nothing_is_left_behind(tiny_world: TinyWorld, source: Source, tmp_path: Path) -> None:
    before = tiny_world.bundle.read_bytes()
    tried(tiny_world, source)
    assert tiny_world.bundle.read_bytes() == before
    assert list(tmp_path.iterdir()) == []
