"""Whether a bundle's claim is one that can be contested: settings, models, evidence.

What is refused here would decide by the owner's word alone. It needs nobody's models; what only
these can show is for `audit.calibrating.challenge`.
"""

import numpy as np

from audit.bundle.bounds import MAX_PICTURE_SHARE, MAX_RADIUS
from audit.bundle.manifest import Arrays, Manifest
from audit.bundle.picture_shares import picture_shares
from audit.bundle.retraining import check_retraining
from audit.errors import BundleError

_RADII = ("trigger_radius", "query_radius")


def check_claim(manifest: Manifest, arrays: Arrays) -> None:
    """Pass if nothing in a bundle decides by itself.

    Args:
        manifest: Fits the arrays.
        arrays: As checked by `audit.bundle.consistency`.

    Raises:
        BundleError: The first thing that does, by field.
    """
    _check_crafting(manifest)
    if manifest.default_score != "line-up":
        _check_roles(manifest)
    if manifest.retraining is not None:
        check_retraining(
            manifest.retraining,
            source_sha256=manifest.source.weights_sha256,
            innocents=[model.name for model in manifest.models if model.role == "innocent"],
        )
    _check_twins(manifest, arrays)
    _check_pictures(manifest, arrays)


def _check_crafting(manifest: Manifest) -> None:
    for name in _RADII:
        radius = manifest.crafting.get(name, MAX_RADIUS)
        if not isinstance(radius, int | float) or not 0 < radius <= MAX_RADIUS:
            raise BundleError(
                f"crafting.{name}: expected a radius above 0 and at most {MAX_RADIUS} (of 255), "
                f"got {radius!r}"
            )
    # A reader is shown both, and only the manifest's own decides.
    for name in manifest.crafting.keys() & Manifest.model_fields.keys():
        said, decides = manifest.crafting[name], getattr(manifest, name)
        if said != decides:
            raise BundleError(
                f"crafting.{name}: expected {decides!r}, which is what decides, or nothing; got "
                f"{said!r}"
            )


def _check_roles(manifest: Manifest) -> None:
    roles = {model.role for model in manifest.calibration_models}
    if len(roles) < 2:
        raise BundleError(
            "models: expected innocent and derived models that calibrate, got "
            f"{', '.join(roles) or 'none'}; thresholds lie between the two"
        )


def _check_twins(manifest: Manifest, arrays: Arrays) -> None:
    """Refuse innocents of different networks whose every number is the same."""
    if not arrays.model_trigger_losses.size + arrays.model_query_log_probabilities.size:
        return  # two networks may give all images the same class, but never the same loss
    seen: dict[bytes, int] = {}
    models = manifest.calibration_models
    for row, model in enumerate(models):
        if model.role != "innocent":
            continue
        answers = b"".join(
            np.ascontiguousarray(one[row]).tobytes()
            for one in (
                arrays.model_control_labels,
                arrays.model_query_labels,
                arrays.model_trigger_losses,
                arrays.model_query_log_probabilities,
            )
        )
        twin = models[seen.setdefault(answers, row)]
        if twin is not model and (model.lineage is None or model.lineage != twin.lineage):
            raise BundleError(
                f"models: '{twin.name}' and '{model.name}' give all the same answers: one network "
                "counts once; leave one out, or give both the same lineage"
            )


def _check_pictures(manifest: Manifest, arrays: Arrays) -> None:
    shares = picture_shares(manifest, arrays)
    largest = float(shares.max(initial=0.0))
    if largest > MAX_PICTURE_SHARE:
        raise BundleError(
            f"queries: expected no picture to carry more than {MAX_PICTURE_SHARE:.0%} of what sets "
            f"derived models apart, got {largest:.0%} in the picture of query "
            f"{int(shares.argmax())}; one image must not decide"
        )
