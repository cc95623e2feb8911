"""Innocents of a fine-tuned source begin where it began."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from worlds.tiny_task import MEAN, STD, TinyNet, tiny_images, tiny_net, trained_net

from generator.errors import SourceError
from generator.images.labelled import ImageSet
from generator.pools.preconditions import accuracy_of
from generator.pools.reference_kinds import (
    ANCESTOR_KINDS,
    KINDS,
    MadeReference,
    ReferenceRecipe,
    make_reference,
)
from generator.sources.ancestor import is_descendant, load_ancestor
from generator.sources.contract import InputContract
from generator.sources.source import Source

DATA = tiny_images(120, 1)
RECIPE = ReferenceRecipe(epochs=5, learning_rate=0.1, seed=0)


def other_task() -> ImageSet:
    data = tiny_images(200, 8)
    return ImageSet(data.images, (data.labels + 1) % 3, data.class_names)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose head has five classes."""
    state = trained_net(5, other_task()).network.state_dict()
    path: Path = tmp_path_factory.mktemp("public") / "public.pth"
    head = {"head.weight": torch.randn(5, 576), "head.bias": torch.zeros(5)}
    torch.save({"state_dict": {f"module.{n}": t for n, t in {**state, **head}.items()}}, path)
    return path


@pytest.fixture(scope="module")
def source(public: Path) -> Source:
    alone = Source(
        model=trained_net(1, DATA),
        factory=tiny_net,
        architecture="tiny",
        weights_sha256="0" * 64,
        contract=InputContract(mean=MEAN, std=STD),
    )
    return replace(alone, ancestor=load_ancestor(str(public), alone.model.network))


def made(source: Source, number: int) -> MadeReference:
    return make_reference(source, DATA, number, RECIPE)


def trunk(model: nn.Module) -> torch.Tensor:
    return next(model.parameters()).detach()


def test_everything_but_the_head_is_the_ancestors(source: Source, public: Path) -> None:
    assert source.ancestor is not None
    assert source.ancestor.head == ("head.weight", "head.bias")
    saved = torch.load(public, weights_only=True)["state_dict"]
    first, second = source.descendant(1), source.descendant(2)
    assert torch.equal(trunk(first), saved["module.conv.weight"])
    assert torch.equal(trunk(second), trunk(first))
    heads = [model.network.head.weight for model in (first, second)]  # type: ignore[union-attr]
    assert not torch.equal(*heads)  # type: ignore[arg-type]


def test_head_only_leaves_the_trunk_and_learns(source: Source) -> None:
    number = next(i for i, kind in enumerate(ANCESTOR_KINDS) if kind.is_head_only)
    reference = made(source, number)
    begun = source.descendant(number)
    expected, found = begun.state_dict(), reference.model.state_dict()
    changed = {name for name in expected if not torch.equal(expected[name], found[name])}
    assert changed == {"network.head.weight", "network.head.bias"}
    assert accuracy_of(reference.model, DATA) > accuracy_of(begun, DATA)
    assert accuracy_of(reference.model, DATA) > 0.6
    # The trunk's features once, and over those sixty times.
    assert (
        "the head alone trained on 60 of the owner's images from public.pth, 60 epochs"
        in reference.provenance
    )


def test_all_layers_move_from_where_the_ancestor_is(source: Source) -> None:
    number = next(i for i, kind in enumerate(ANCESTOR_KINDS) if not kind.is_head_only)
    reference = made(source, number)
    distance = float((trunk(reference.model) - trunk(source.descendant(0))).norm())
    assert 0 < distance < float((trunk(source.sibling(0)) - trunk(source.descendant(0))).norm())
    assert source.ancestor is not None
    assert is_descendant(reference.model.network, source.ancestor)
    assert "fine-tuned on 120 of the owner's images from public.pth" in reference.provenance


def test_two_innocents_of_one_ancestry_are_not_the_same(source: Source) -> None:
    numbers = [i for i, kind in enumerate(ANCESTOR_KINDS) if kind.is_head_only]
    digests = {
        made(source, number).model.network.head.weight.sum().item()  # type: ignore[union-attr,operator]
        for number in (*numbers, numbers[0] + len(ANCESTOR_KINDS))
    }
    assert len(digests) == len(numbers) + 1


def test_what_is_no_ancestor_is_refused_or_doubted(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file(nn.Linear(3, 3).state_dict(), path)
    with pytest.raises(SourceError, match=r"ancestor: .* has 0% of the network's layers"):
        load_ancestor(str(path), source.model.network)
    save_file(TinyNet().state_dict(), path)
    stranger = load_ancestor(str(path), source.model.network)
    assert not is_descendant(source.model.network, stranger)


def test_provenance_says_what_was_done(source: Source) -> None:
    scratch = replace(source, ancestor=None)
    told = {KINDS[number].stratum: made(scratch, number).provenance for number in (0, 3, 7, 9, 11)}
    assert told == {
        "same recipe": "same recipe: trained from scratch on 120 of the owner's images, 5 epochs, "
        "seed 0/0",
        "adversarially trained": "adversarially trained: trained from scratch on 120 of the "
        "owner's images, 5 epochs, adversarially at 4/255, seed 0/3",
        "distilled": "distilled: trained from scratch on 120 of the owner's images to answer as "
        "another one trained so, 5 epochs each, seed 0/7",
        "pruned": "pruned: trained from scratch on 120 of the owner's images, 5 epochs, 40% of its "
        "weights set to zero, seed 0/9",
        "fine-tuned elsewhere": "fine-tuned elsewhere: trained from scratch on 60 of the owner's "
        "images, 5 epochs, and fine-tuned on 60 others, 1.25 epochs, seed 0/11",
    }
    assert np.isfinite(accuracy_of(made(scratch, 0).model, DATA))
