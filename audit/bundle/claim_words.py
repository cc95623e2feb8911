"""What a bundle's claim rests on, in words: who its innocents are, and who can check that."""

from audit.bundle.manifest import Manifest

_HALF_WAY = 0.5
"""Innocents that get no further from chance than this share of the source's way lack something
that it had, such as the public network that it began from."""


def claim_words(manifest: Manifest) -> str:
    """Return sentences on the innocents that thresholds come from; none without any."""
    return " ".join([*_ancestry(manifest), *_retraining(manifest)])


def num_retrainable(manifest: Manifest) -> tuple[int, int]:
    """Return how many calibrating innocents can be trained again, and how many there are."""
    names = [model.name for model in manifest.calibration_models if model.role == "innocent"]
    models = manifest.retraining.models if manifest.retraining is not None else {}
    return sum(name in models for name in names), len(names)


def _retraining(manifest: Manifest) -> list[str]:
    known, total = num_retrainable(manifest)
    if not total:
        return []
    if not known:
        return ["That the bundle's innocents are what it says is the owner's word."]
    whose = f"All {total}" if known == total else f"{known} of the {total}"
    others = "" if known == total else "; that the others are what it says is the owner's word"
    return [
        f"{whose} innocents that set its thresholds can be trained again ('kinprint challenge "
        f"--retrain'){others}."
    ]


def _ancestry(manifest: Manifest) -> list[str]:
    ancestor = manifest.crafting.get("ancestor")
    if ancestor is not None:
        return [f"Source and innocents of its architecture were fine-tuned from {ancestor}."]
    accuracies = [model.control_accuracy for model in manifest.models if model.role == "innocent"]
    chance = 1 / manifest.task.num_classes
    reach = chance + _HALF_WAY * (manifest.source.control_accuracy - chance)
    if not accuracies or max(accuracies) >= reach:
        return []
    return [
        "No innocent gets half as far as the source, and none is known to share an ancestor with "
        "it: a model that was fine-tuned from the same public network may score like a copy."
    ]
