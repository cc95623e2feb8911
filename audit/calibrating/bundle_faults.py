"""What a bundle's own contents contradict, or a model that it names.

Nobody's other models are needed to see it.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from audit.bundle.bounds import MAX_RADIUS
from audit.bundle.manifest import BundleContents
from audit.records.ask_again import MAX_DIFFERING
from audit.scores.query_scores import can_score, query_table

_MUCH_WORSE = 0.2
"""By so much the typical derived model may be more accurate than the manifest says the source is:
whoever says less lowers the accuracy that a comparable suspect needs."""


def bundle_faults(bundle: BundleContents) -> tuple[str, ...]:
    """Return what the bundle's own contents contradict, each a sentence."""
    manifest, arrays = bundle.manifest, bundle.arrays
    faults = []
    radius = manifest.crafting.get("trigger_radius", MAX_RADIUS)
    if isinstance(radius, int | float) and len(arrays.triggers):
        # [N, H, W, C] -> [N]
        difference = np.abs(arrays.triggers.astype(np.int64) - arrays.carriers)
        farthest = int(difference.reshape(len(difference), -1).max())
        if farthest > radius:
            faults.append(
                f"A trigger differs by {farthest} / 255 from its natural image; the manifest says "
                f"at most {radius:g}."
            )
    selection = (model for model in manifest.models if model.use == "selection")
    used = {model.weights_sha256: model.name for model in selection}
    faults += [
        f"'{model.name}' calibrates, but '{used[model.weights_sha256]}' with the same weights "
        "chose the queries: its score says nothing about a new model."
        for model in manifest.calibration_models
        if model.weights_sha256 in used
    ]
    if can_score(bundle, "likelihood-ratio"):
        evidence = query_table(bundle, "likelihood-ratio")
        answered = evidence[np.arange(len(evidence)), arrays.source_query_labels]
        if answered.mean() <= 0:
            faults.append("The source's own answers do not speak for the source.")
    derived = [one.control_accuracy for one in manifest.calibration_models if one.role == "derived"]
    said = manifest.source.control_accuracy
    if derived and float(np.median(derived)) > said + _MUCH_WORSE:
        faults.append(
            f"The manifest says that the source gets {said:.0%} of the control images right; the "
            f"typical model made from it gets {np.median(derived):.0%}."
        )
    return tuple(faults)


def stored_answers_fault(
    bundle: BundleContents, digest: str, labels: NDArray[np.int64]
) -> Iterator[str]:
    """Compare a model that the bundle names with the answers that the bundle says it gave.

    Args:
        bundle: Names the models that calibrate.
        digest: SHA-256 of a file.
        labels: What it answers to control images and queries, ``[C + Q]``.

    Yields:
        A sentence if these are others.
    """
    given = labels[len(bundle.arrays.controls) :]
    for row, model in enumerate(bundle.manifest.calibration_models):
        if model.weights_sha256 == digest:
            stored = bundle.arrays.model_query_labels[row]
            num = int((given != stored).sum())
            if num > MAX_DIFFERING * len(stored):
                yield (
                    f"The bundle says what '{model.name}' answers; this very file answers "
                    f"{num} of {len(stored)} queries differently."
                )
