"""What a bundle's own contents contradict; nobody's models are needed to see it."""

import numpy as np

from audit.bundle.bounds import MAX_RADIUS
from audit.bundle.manifest import BundleContents
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
