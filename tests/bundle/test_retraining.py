"""What a bundle says about how its innocents can be trained again."""

import hashlib
from typing import Any

import pytest
from worlds.bundle_builder import OWNER_TRUST, golden_manifest, resigned

from audit.bundle.bundle_file import parse_bundle
from audit.bundle.claim_words import claim_words
from audit.bundle.manifest import BundleContents, Manifest
from audit.errors import BundleError

RECIPE = {
    "source_sha256": golden_manifest()["source"]["weights_sha256"],
    "architecture": "net.py:net",
    "ancestor_sha256": None,
    "images_sha256": "ab" * 32,
    "num_images": 300,
    "split_seed": 0,
    "epochs": 4,
    "learning_rate": 0.5,
}
CANONICAL = (
    '{"ancestor_sha256":null,"architecture":"net.py:net","epochs":4,"images_sha256":"'
    + "ab" * 32
    + '","learning_rate":0.5,"num_images":300,"source_sha256":"'
    + str(RECIPE["source_sha256"])
    + '","split_seed":0}'
)


def innocents(use: str) -> list[str]:
    models = golden_manifest()["models"]
    return [one["name"] for one in models if one["role"] == "innocent" and one["use"] == use]


def retraining(**changes: Any) -> dict[str, Any]:
    return {
        "recipe": RECIPE,
        "seed_from": "pulse 1234",
        "device": "cpu",
        "num_threads": 1,
        "processor": "x86_64 AVX2",
        "models": {innocents("calibration")[0]: {"number": 3, "rate": 1.0}},
        **changes,
    }


def read(**changes: Any) -> BundleContents:
    signed = golden_manifest(retraining=retraining(**changes))
    return parse_bundle(resigned(signed), OWNER_TRUST)


def test_the_seed_follows_from_recipe_and_public_value() -> None:
    found = read().manifest.retraining
    assert found is not None
    recipe = hashlib.sha256(CANONICAL.encode()).hexdigest()
    assert found.recipe.sha256 == recipe
    digest = hashlib.sha256(f"kinprint-references-v1 {recipe} pulse 1234".encode()).digest()
    assert found.seed == int.from_bytes(digest[:4], "big") // 2


@pytest.mark.parametrize(
    "name", ["source_sha256", "architecture", "images_sha256", "split_seed", "epochs"]
)
def test_whoever_changes_the_recipe_gets_another_seed(name: str) -> None:
    kept = read().manifest.retraining
    assert kept is not None
    value = getattr(kept.recipe, name)
    other = "cd" * 32 if isinstance(value, str) else value + 1
    assert kept.recipe.model_copy(update={name: other}).seed("pulse 1234") != kept.seed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": {**RECIPE, "source_sha256": "0" * 64}}, "source_sha256: .*another model's"),
        ({"models": {"nobody": {"number": 1, "rate": 1.0}}}, "innocent models .*got 'nobody'"),
        ({"seed_from": ""}, "seed_from: String should have at least 1 character"),
        ({"num_threads": 0}, "num_threads: Input should be greater than or equal to 1"),
        ({"recipe": {**RECIPE, "epochs": 0}}, "epochs: Input should be greater than 0"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read(**changes)


def test_a_derived_model_is_no_innocent_that_is_trained_again() -> None:
    copies = [one["name"] for one in golden_manifest()["models"] if one["role"] == "derived"]
    with pytest.raises(BundleError, match=rf"innocent models .*got '{copies[0]}'"):
        read(models={copies[0]: {"number": 1, "rate": 1.0}})


def test_two_models_are_not_the_same_one() -> None:
    names = [*innocents("calibration"), *innocents("selection")]
    with pytest.raises(BundleError, match="expected each number once"):
        read(models={name: {"number": 1, "rate": 1.0} for name in names[:2]})


def test_words_say_whose_word_it_is() -> None:
    without = parse_bundle(resigned(golden_manifest()), OWNER_TRUST).manifest
    assert claim_words(without) == (
        "That the bundle's innocents are what it says is the owner's word."
    )
    names = innocents("calibration")
    all_of_them = {name: {"number": n, "rate": 1.0} for n, name in enumerate(names)}
    assert claim_words(read(models=all_of_them).manifest) == (
        f"All {len(names)} innocents that set its thresholds can be trained again ('kinprint "
        "challenge --retrain')."
    )


def with_accuracies(manifest: Manifest, source: float, innocent: float) -> Manifest:
    return manifest.model_copy(
        update={
            "source": manifest.source.model_copy(update={"control_accuracy": source}),
            "models": tuple(
                model.model_copy(update={"control_accuracy": innocent}) for model in manifest.models
            ),
        }
    )


# Four classes: chance is 0.25, and half of the way from there to 0.95 is 0.6.
@pytest.mark.parametrize(("innocent", "is_told"), [(0.59, True), (0.61, False)])
def test_innocents_that_stay_far_behind_may_lack_the_ancestor(
    innocent: float, is_told: bool
) -> None:
    manifest = with_accuracies(read().manifest, 0.95, innocent)
    assert ("none is known to share an ancestor" in claim_words(manifest)) == is_told


def test_an_ancestor_that_is_shared_is_named() -> None:
    manifest = with_accuracies(read().manifest, 0.95, 0.3)
    shared = manifest.model_copy(update={"crafting": {"ancestor": "resnet18.pth"}})
    assert "were fine-tuned from resnet18.pth" in claim_words(shared)
    assert "none is known" not in claim_words(shared)
