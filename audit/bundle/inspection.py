"""What can be said about a bundle file without asking a suspect: claims and signature state."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from adapters.printable import json_text, printable
from audit.bundle.bundle_file import read_bundle, unsafe_read_untrusted_bundle
from audit.bundle.claim_words import num_retrainable
from audit.bundle.line_up import MADE_BY
from audit.bundle.line_up_fairness import Fairness, fairness_of
from audit.bundle.manifest import BundleContents, Manifest, Preprocessing, min_control_accuracy
from audit.bundle.picture_shares import picture_shares
from audit.errors import SignatureInvalidError, UntrustedKeyError
from audit.signing.keys import Trust

SCHEMA_VERSION = 2
"""Version of the JSON document."""

MAX_CLASS_NAMES = 20
"""Most class names in the table; the JSON document has them all."""


class SignatureState(StrEnum):
    """How far a bundle's signature carries."""

    TRUSTED = "valid and trusted"
    UNTRUSTED = "valid but untrusted"
    INVALID = "invalid"


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A bundle file as it shows itself."""

    path: Path
    state: SignatureState
    reason: str | None
    """Why the state is not `SignatureState.TRUSTED`."""
    contents: BundleContents | None
    """None if the signature is wrong: then nothing in the file means anything."""

    def to_json(self, faults: Sequence[str] = ()) -> str:
        """Return the inspection as one JSON document.

        Args:
            faults: What the bundle's contents contradict, each a sentence.
        """
        contents = self.contents
        document = {
            "schema_version": SCHEMA_VERSION,
            "bundle": str(self.path),
            "signature": {
                "state": self.state.value,
                "key_id": contents.signer_key_id if contents else None,
                "reason": self.reason,
            },
            "manifest_sha256": contents.manifest_sha256 if contents else None,
            "counts": _counts(contents) if contents else None,
            "largest_picture_share": _largest_share(contents) if contents else None,
            "faults": list(faults),
            **(_fairness_document(contents) if contents else {}),
            "manifest": contents.manifest.model_dump(mode="json") if contents else None,
        }
        return json_text(json.dumps(document, indent=2))

    def rows(self) -> list[tuple[str, str]]:
        """Return name and value of what a reader wants first, in printable characters only."""
        rows = [("file", str(self.path)), ("signature", self.state.value.upper())]
        if self.contents is not None:
            rows += _content_rows(self.contents)
        return [(name, printable(value)) for name, value in rows]

    def model_rows(self) -> list[tuple[str, ...]]:
        """Return name, role, use, stratum and control accuracy of each model."""
        if self.contents is None:
            return []
        return [
            (
                printable(model.name),
                model.role,
                model.use,
                printable(model.stratum),
                f"{model.control_accuracy:.1%}",
            )
            for model in self.contents.manifest.models
        ]


def inspect_bundle(path: Path, trust: Trust) -> Inspection:
    """Read a bundle as far as its signature allows.

    Args:
        path: The file.
        trust: Keys that count.

    Raises:
        BundleError: No bundle, cut short, of another version, or its parts do not fit.
    """
    try:
        contents = read_bundle(path, trust)
    except SignatureInvalidError as error:
        return Inspection(path=path, state=SignatureState.INVALID, reason=str(error), contents=None)
    except UntrustedKeyError as error:
        reason = str(error)
    else:
        return Inspection(path=path, state=SignatureState.TRUSTED, reason=None, contents=contents)
    try:
        # Right, but nobody vouches for its key: what it claims is shown, with that said beside it.
        contents = unsafe_read_untrusted_bundle(path)
    except SignatureInvalidError as error:
        return Inspection(path=path, state=SignatureState.INVALID, reason=str(error), contents=None)
    return Inspection(path=path, state=SignatureState.UNTRUSTED, reason=reason, contents=contents)


def _preprocessing_rows(preprocessing: Preprocessing) -> list[tuple[str, str]]:
    """Return what is out of the ordinary about the source's input."""
    rows: list[tuple[str, str]] = []
    geometry = preprocessing.geometry
    if preprocessing.color_order != "RGB":
        rows.append(("colour order", preprocessing.color_order))
    if geometry is not None:
        steps = [f"{geometry.resampling}{'' if geometry.antialias else ', not antialiased'}"]
        if isinstance(geometry.resize, int):
            steps.insert(0, f"shorter side {geometry.resize}")
        elif geometry.resize is not None:
            steps.insert(0, "to {} x {}".format(*geometry.resize))
        if geometry.crop is not None:
            steps.append("centre {} x {}".format(*geometry.crop))
        rows.append(("resized by the owner", ", ".join(steps)))
    return rows


def _content_rows(contents: BundleContents) -> list[tuple[str, str]]:
    manifest = contents.manifest
    task, probes = manifest.task, manifest.probes
    counts = _counts(contents)
    return [
        ("signed by key", contents.signer_key_id),
        ("bundle id", contents.manifest_sha256),
        ("model", manifest.model_name),
        ("owner", manifest.owner),
        ("created", manifest.created),
        ("input", f"{task.height} x {task.width} x {task.channels}"),
        ("classes", f"{task.num_classes}: {', '.join(_shortened(task.class_names))}"),
        ("mean, std", f"{manifest.preprocessing.mean}, {manifest.preprocessing.std}"),
        *_preprocessing_rows(manifest.preprocessing),
        ("architecture", manifest.source.architecture),
        ("source weights", manifest.source.weights_sha256),
        ("source accuracy", f"{manifest.source.control_accuracy:.1%} of the control images"),
        ("method", f"{manifest.method}, decides by {manifest.default_score}{_then(manifest)}"),
        *_deciding_rows(contents),
        ("triggers", str(counts["triggers"])),
        ("queries", _queries(contents)),
        ("controls", str(counts["controls"])),
        (
            "probes",
            f"{probes.num_probes} per trigger, {probes.kind}" if probes else "none",
        ),
        *_line_up_rows(contents),
        *_retraining_rows(manifest),
        *_weights_rows(contents),
        ("crafting", ", ".join(f"{key} = {value}" for key, value in manifest.crafting.items())),
        ("made with", ", ".join(f"{key} {value}" for key, value in manifest.libraries.items())),
    ]


def _retraining_rows(manifest: Manifest) -> list[tuple[str, str]]:
    known, total = num_retrainable(manifest)
    retraining = manifest.retraining
    if not total:
        return []
    if retraining is None:
        return [("trained again", "no innocent can be: who they are is the owner's word")]
    return [
        ("trained again", f"{known} of {total} innocents that set thresholds can be"),
        ("their recipe", retraining.recipe.sha256),
        ("their seed from", retraining.seed_from),
    ]


def _then(manifest: Manifest) -> str:
    return "" if manifest.steps is None else ", then by the line-up"


def _accused(manifest: Manifest) -> str:
    steps = manifest.steps
    if steps is None:
        return f"{manifest.alpha:g}"
    return (
        f"{steps.alpha:.3g}: {steps.crafted_alpha:.3g} by the crafted queries and "
        f"{steps.line_up_alpha:.3g} by the line-up"
    )


def _deciding_rows(contents: BundleContents) -> list[tuple[str, str]]:
    """Return everything that a verdict depends on besides the answers."""
    manifest, arrays = contents.manifest, contents.arrays
    rows = [
        ("rates", f"false positives {_accused(manifest)}, misses {manifest.beta:g}"),
        (
            "comparable",
            f"from {min_control_accuracy(contents):.1%} of the control images right, "
            f"{manifest.min_control_agreement:.0%} of the source's share",
        ),
    ]
    if len(arrays.derived_probabilities):
        largest = math.log((1 + manifest.epsilon) / manifest.epsilon)
        rows.append(
            ("epsilon", f"{manifest.epsilon:g}, an answer is worth at most {largest:.2f} nats")
        )
    if len(arrays.triggers):
        rows.append(("tau", f"{manifest.tau:g}"))
    lineages = _num_lineages(contents)
    rows += [
        (
            "innocents",
            f"{_calibrating(contents, 'innocent')}; {lineages} networks, smallest p "
            f"{1 / (lineages + 1):.3g}",
        ),
        ("derived models", _calibrating(contents, "derived")),
    ]
    if len(arrays.queries):
        rows.append(
            ("largest picture", f"{_largest_share(contents):.1%} of what sets derived models apart")
        )
    return rows


def _calibrating(contents: BundleContents, role: str) -> str:
    right = [
        one.control_accuracy for one in contents.manifest.calibration_models if one.role == role
    ]
    if not right:
        return "none calibrates"
    return f"{len(right)} calibrate, {min(right):.1%} to {max(right):.1%} of the control images"


def _num_lineages(contents: BundleContents) -> int:
    """Count innocent networks: a model without a lineage is one of its own."""
    names = [
        model.lineage for model in contents.manifest.calibration_models if model.role == "innocent"
    ]
    return len({name for name in names if name is not None}) + names.count(None)


def _largest_share(contents: BundleContents) -> float:
    return float(picture_shares(contents.manifest, contents.arrays).max(initial=0.0))


def _line_up_rows(contents: BundleContents) -> list[tuple[str, str]]:
    if contents.line_up is None:
        return []
    record = contents.line_up.record
    panel = {model.lineage for model in record.panel}
    num_derived = len(record.models) - len(record.panel)
    return [
        (
            "line-up",
            f"the source among {record.num_siblings} siblings, smallest p "
            f"{1 / len(record.members):.3g}; {len(contents.line_up.arrays.questions)} questions",
        ),
        ("siblings by", f"{MADE_BY[record.made_by]} ({record.made_how})"),
        ("panel", f"{len(record.panel)} innocents of {len(panel)} networks"),
        ("power told by", f"{num_derived} derived models"),
        *_fairness_rows(fairness_of(contents)),
    ]


def _weights_rows(contents: BundleContents) -> list[tuple[str, str]]:
    if contents.weights is None:
        return []
    record = contents.weights.record
    innocents = {model.lineage for model in record.models if model.role == "innocent"}
    num_derived = sum(model.role == "derived" for model in record.models)
    since = ", of what was learnt since its ancestor" if record.has_ancestor else ""
    return [
        (
            "weights",
            f"sketch of {len(record.layers)} layers, {contents.weights.arrays.numbers.size} "
            f"numbers{since}; {len(innocents)} innocent lineages and {num_derived} derived models "
            "can be compared",
        ),
    ]


def _fairness_rows(fairness: Fairness | None) -> list[tuple[str, str]]:
    assert fairness is not None, "a bundle with a line-up has its fairness"
    figures = "; ".join(
        f"{figure.name} {figure.source:.3g} (siblings {figure.siblings[0]:.3g} to "
        f"{figure.siblings[1]:.3g})"
        for figure in fairness.figures
    )
    told = fairness.reason or f"nothing speaks against it (p = {fairness.p_value:.3g})"
    return [("fair", told), ("source", figures)]


def _fairness_document(contents: BundleContents) -> dict[str, object]:
    """Return what the document has beside a line-up, and not without one."""
    fairness = fairness_of(contents)
    if fairness is None or contents.line_up is None:
        return {}
    found = {
        "questions": len(contents.line_up.arrays.questions),
        "is_fair": fairness.is_fair,
        "reason": fairness.reason,
        "p_value": fairness.p_value,
        "figures": {
            figure.name: {"source": figure.source, "siblings": list(figure.siblings)}
            for figure in fairness.figures
        },
    }
    return {"line_up": found}


def _queries(contents: BundleContents) -> str:
    num, groups = len(contents.arrays.queries), contents.arrays.query_groups
    num_groups = int(groups.max(initial=-1)) + 1
    return f"{num} in {num_groups} groups" if num_groups < num else str(num)


def _shortened(names: tuple[str, ...]) -> tuple[str, ...]:
    return names if len(names) <= MAX_CLASS_NAMES else (*names[:MAX_CLASS_NAMES], "...")


def _counts(contents: BundleContents) -> dict[str, int]:
    arrays, probes = contents.arrays, contents.manifest.probes
    return {
        "triggers": len(arrays.triggers),
        "queries": len(arrays.queries),
        "controls": len(arrays.controls),
        "probes": len(arrays.triggers) * probes.num_probes if probes else 0,
        "calibration_models": len(contents.manifest.calibration_models),
    }
