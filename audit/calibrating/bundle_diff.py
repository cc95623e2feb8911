"""What changed from one bundle to another: facts side by side, models by name, images by pixels.

Both are signed, so that what is told is what their owners signed; who signed is told, too.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.bundle.manifest import BundleContents, Manifest, ModelRecord
from audit.scores.comparison import whole_scores
from audit.scores.query_scores import QUERY_SCORES
from audit.signing.canonical import sha256_hex
from audit.verdict.populations import populations
from audit.verdict.rule import bundle_rule
from audit.verdict.thresholds import conformal_thresholds

_TABLES = {
    "line_up": ("source", "members", "models"),
    "weights": ("layers", "models"),
    "retraining": ("models",),
    "probes": ("digests",),
}
"""Long lists of a bundle's parts: their numbers are told, not their members."""
_SECTIONS = {
    "source": ("model_name", "owner", "source", "task", "preprocessing"),
    "recipe": ("method", "crafting", "retraining", "libraries", "created"),
    "verdict": (
        "default_score",
        "score_version",
        "epsilon",
        "tau",
        "alpha",
        "beta",
        "min_control_agreement",
        "probes",
        "steps",
        "thresholds",
        "line_up",
        "weights",
    ),
}
"""Fields of the manifest by what a reader asks; models and images have tables of their own."""
_IMAGES = ("queries", "triggers", "controls")


@dataclass(frozen=True, kw_only=True)
class Changed:
    """One fact that is another one now."""

    section: str
    """``source``, ``recipe`` or ``verdict``."""
    field: str
    """Such as ``source.weights_sha256``."""
    then: Any
    """As JSON has it; None where it was not there."""
    now: Any


@dataclass(frozen=True, kw_only=True)
class ModelsChanged:
    """Models of one role and use, by name."""

    role: str
    use: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    """Of the same name, with other weights or another stratum, lineage, provenance or accuracy."""
    num_same: int


@dataclass(frozen=True, kw_only=True)
class ImagesChanged:
    """Images of one kind, by their pixels."""

    kind: str
    num_same: int
    num_added: int
    num_removed: int
    has_other_order: bool
    """Whether those that both have stand in another order."""
    num_other_labels: int
    """Of those that both have, how many the source (of control images: the truth) gives another
    class."""

    @property
    def is_same(self) -> bool:
        """Return whether nothing changed."""
        return not (
            self.num_added or self.num_removed or self.has_other_order or self.num_other_labels
        )


@dataclass(frozen=True, kw_only=True)
class BundleDiff:
    """From an earlier bundle to a later one."""

    is_same: bool
    """Whether it is one bundle, byte for byte of what is signed."""
    signers: tuple[str, str]
    """Key ids, then and now."""
    facts: tuple[Changed, ...]
    models: tuple[ModelsChanged, ...]
    """Only where something changed."""
    images: tuple[ImagesChanged, ...]
    """Of every kind that one of the two has."""
    arrays: tuple[str, ...]
    """Names of the arrays that hold other numbers."""


def diff_bundles(earlier: BundleContents, later: BundleContents) -> BundleDiff:
    """Compare two bundles."""
    return BundleDiff(
        is_same=earlier.manifest_sha256 == later.manifest_sha256,
        signers=(earlier.signer_key_id, later.signer_key_id),
        facts=tuple(_facts(earlier, later)),
        models=tuple(_models(earlier.manifest, later.manifest)),
        images=tuple(_images(earlier, later)),
        arrays=tuple(
            name
            for name, digest in later.manifest.arrays.items()
            if digest != earlier.manifest.arrays.get(name)
        ),
    )


def _facts(earlier: BundleContents, later: BundleContents) -> Iterable[Changed]:
    then = _flat(earlier.manifest) | _thresholds(earlier)
    now = _flat(later.manifest) | _thresholds(later)
    for section, fields in _SECTIONS.items():
        for name in dict.fromkeys([*then, *now]):
            before, after = then.get(name), now.get(name)
            if name.split(".")[0] in fields and before != after:
                yield Changed(section=section, field=name, then=before, now=after)


def _flat(manifest: Manifest) -> dict[str, Any]:
    """Return the manifest's facts by dotted name; lists of models by their length."""
    document = manifest.model_dump(mode="json", exclude={"models", "arrays"})
    for part, tables in _TABLES.items():
        if document.get(part) is not None:
            document[part] = {
                name: len(value) if name in tables and isinstance(value, list) else value
                for name, value in document[part].items()
                if not name.startswith("arrays")
            }
    document["task"]["class_names"] = ", ".join(document["task"]["class_names"])
    return dict(_flattened(document, ""))


def _thresholds(bundle: BundleContents) -> dict[str, Any]:
    """Return what the deciding score is held against where everything is asked, and how finely."""
    manifest = bundle.manifest
    compared, score = populations(manifest), manifest.default_score
    found: dict[str, Any] = {
        "thresholds.innocent_lineages": compared.num_lineages,
        "thresholds.derived_models": len(compared.derived_kinds),
    }
    if score not in QUERY_SCORES:
        return found
    scores, rule = whole_scores(bundle, score), bundle_rule(manifest).for_score(score)
    limits = conformal_thresholds(
        compared.innocent(scores),
        compared.derived(scores),
        compared.derived_kinds,
        alpha=rule.alpha,
        beta=rule.beta,
        has_equals=compared.has_equals,
    )
    for name in ("derived_above", "independent_below"):
        value = float(getattr(limits, name))
        found[f"thresholds.{name}"] = value if math.isfinite(value) else None
    return found


def _flattened(value: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for name, one in value.items():
        if isinstance(one, dict):
            yield from _flattened(one, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", one


def _models(earlier: Manifest, later: Manifest) -> Iterable[ModelsChanged]:
    for use in ("calibration", "selection"):
        for role in ("innocent", "derived"):
            then, now = (
                {one.name: one for one in manifest.models if (one.role, one.use) == (role, use)}
                for manifest in (earlier, later)
            )
            found = ModelsChanged(
                role=role,
                use=use,
                added=tuple(name for name in now if name not in then),
                removed=tuple(name for name in then if name not in now),
                changed=tuple(name for name in now if name in then and now[name] != then[name]),
                num_same=sum(_is_in(one, then) for one in now.values()),
            )
            if found.added or found.removed or found.changed:
                yield found


def _is_in(model: ModelRecord, models: Mapping[str, ModelRecord]) -> bool:
    return models.get(model.name) == model


def _images(earlier: BundleContents, later: BundleContents) -> Iterable[ImagesChanged]:
    for kind in _IMAGES:
        then, now = _labelled(earlier, kind), _labelled(later, kind)
        if not then and not now:
            continue
        kept = [image for image in then if image in now]
        yield ImagesChanged(
            kind=kind,
            num_same=len(kept),
            num_added=len(now) - len(kept),
            num_removed=len(then) - len(kept),
            has_other_order=kept != [image for image in now if image in then],
            num_other_labels=sum(then[image] != now[image] for image in kept),
        )


def _labelled(bundle: BundleContents, kind: str) -> dict[str, str]:
    """Return class names by the SHA-256 of the pixels, in the bundle's order."""
    arrays, names = bundle.arrays, bundle.manifest.task.class_names
    images: NDArray[np.uint8]
    images, labels = {
        "queries": (arrays.queries, arrays.source_query_labels),
        "triggers": (arrays.triggers, arrays.trigger_labels),
        "controls": (arrays.controls, arrays.control_labels),
    }[kind]
    return {
        sha256_hex(np.ascontiguousarray(image).tobytes()): names[label]
        for image, label in zip(images, labels, strict=True)
    }
