"""Whether the parts of a bundle fit each other: shapes, ranges, counts.

One table says what each array looks like; letters stand for sizes that must agree everywhere.
Used before writing and after reading, so that nothing is signed that could not be read.
It must never look at who signed.
"""

from collections.abc import Iterable
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from audit.bundle.claim import check_claim
from audit.bundle.line_up import LineUp
from audit.bundle.line_up_consistency import check_line_up
from audit.bundle.manifest import MAX_RATE, Arrays, Manifest
from audit.bundle.probes import ALPHA_ONE
from audit.bundle.weights import Weights, check_weights
from audit.errors import BundleError

ARRAY_NAMES = tuple(field.name for field in fields(Arrays))
"""Names of the arrays in their order."""

_TOLERANCE = 1e-6
"""By how much a row of probabilities may miss a sum of 1."""

_NEEDED = {
    "likelihood-ratio": "P",
    "matching-rate": "Q",
    "trajectory-rate": "Q",
    "sample-correlation": "Q",
    "rank-correlation": "D",
    "mfue-w": "N",
    "mfue-b": "M",
    "line-up": "L",
}
"""The size that must not be 0 for a score to have something to ask."""
_ALL_OR_NONE = {
    "V": "query_carriers",
    "S": "source_query_log_probabilities",
    "P": "derived_probabilities",
}
"""Sizes that are Q, or 0 where a method has none."""

# N triggers, A of them with probes, each with E ends and M probes; Q queries, V of them with
# carriers, S with the source's probabilities, P with those of the likelihood ratio, D classes of
# each in a ranking; C controls; B selection and R calibration models; K classes. L questions of a
# line-up have a table of their own.
_LAYOUT: dict[str, tuple[type[np.generic], str]] = {
    "triggers": (np.uint8, "N height width channels"),
    "carriers": (np.uint8, "N height width channels"),
    "trigger_labels": (np.int64, "N"),
    "source_trigger_log_probabilities": (np.float64, "N K"),
    "probe_alphas": (np.int64, "A"),
    "probe_ends": (np.uint8, "N E height width channels"),
    "source_probe_labels": (np.int64, "N M"),
    "queries": (np.uint8, "Q height width channels"),
    "source_query_labels": (np.int64, "Q"),
    "query_groups": (np.int64, "Q"),
    "query_carriers": (np.uint8, "V height width channels"),
    "source_query_log_probabilities": (np.float64, "S K"),
    "derived_probabilities": (np.float64, "P K"),
    "innocent_probabilities": (np.float64, "P K"),
    "selection_rankings": (np.int64, "B Q D"),
    "controls": (np.uint8, "C height width channels"),
    "control_labels": (np.int64, "C"),
    "model_control_labels": (np.int64, "R C"),
    "model_query_labels": (np.int64, "R Q"),
    "model_query_log_probabilities": (np.float64, "R S K"),
    "model_rankings": (np.int64, "R Q D"),
    "model_trigger_losses": (np.float64, "R N"),
    "model_probe_hits": (np.int64, "R N"),
}


def check_consistency(
    manifest: Manifest,
    arrays: Arrays,
    line_up: LineUp | None = None,
    weights: Weights | None = None,
) -> None:
    """Pass if manifest and arrays can be of one bundle.

    Args:
        manifest: Its digests are not looked at.
        arrays: Any shapes and types.
        line_up: Its record is the manifest's; None without a line-up.
        weights: Its record is the manifest's; None without a sketch.

    Raises:
        BundleError: The first thing that does not fit, by field.
    """
    _check_manifest(manifest)
    # Shapes first: the checks of values and probes index by sizes that are right by then.
    sizes = _check_shapes(manifest, arrays)
    if line_up is not None:
        check_line_up(line_up.record, line_up.arrays, sizes)
    if weights is not None:
        check_weights(weights.record, weights.arrays)
    sizes["L"] = 0 if line_up is None else len(line_up.arrays.questions)
    _check_not_empty(manifest, sizes)
    _check_values(arrays, sizes)
    _check_accuracies(manifest, arrays)
    _check_probes(manifest, sizes)
    check_claim(manifest, arrays)


def _check_manifest(manifest: Manifest) -> None:
    task, preprocessing = manifest.task, manifest.preprocessing
    if len(set(task.class_names)) != task.num_classes:
        raise BundleError("task.class_names: expected different names, got one twice")
    for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
        if len(values) != task.channels:
            raise BundleError(
                f"preprocessing.{name}: expected {task.channels} values, one per channel, "
                f"got {len(values)}"
            )
    if preprocessing.color_order != "RGB" and task.channels != 3:
        raise BundleError("preprocessing.color_order: expected RGB for grey images, got BGR")
    size, geometry = (task.height, task.width), preprocessing.geometry
    if geometry is not None and geometry.crop not in (None, size):
        raise BundleError(
            f"preprocessing.geometry.crop: expected the task's {list(size)}, got "
            f"{list(geometry.crop or ())}"
        )
    # An auditor divides by it.
    if min(preprocessing.std) <= 0:
        raise BundleError("preprocessing.std: expected values above 0, got one that is not")
    uses = [model.use for model in manifest.models]
    if uses != sorted(uses, reverse=True):  # "selection" > "calibration"
        raise BundleError("models: expected selection models before calibration models")
    _check_steps(manifest)


def _check_steps(manifest: Manifest) -> None:
    steps = manifest.steps
    if steps is None:
        return
    if manifest.line_up is None:
        raise BundleError("steps: expected a line-up for the second step, got none")
    if manifest.default_score == "line-up":
        raise BundleError("steps: expected a default_score that asks crafted queries, got line-up")
    if steps.alpha > MAX_RATE:
        raise BundleError(
            f"steps: expected levels of at most {MAX_RATE:g} together, got {steps.alpha:g}"
        )


def _check_shapes(manifest: Manifest, arrays: Arrays) -> dict[str, int]:
    task, settings = manifest.task, manifest.probes
    sizes = {
        "height": task.height,
        "width": task.width,
        "channels": task.channels,
        "K": task.num_classes,
        "R": len(manifest.calibration_models),
        "B": len(manifest.selection_models),
        "M": settings.num_probes if settings else 0,
    }
    for name, (dtype, letters) in _LAYOUT.items():
        array: NDArray[np.generic] = getattr(arrays, name)
        if array.dtype != dtype:
            raise BundleError(f"{name}: expected {np.dtype(dtype)}, got {array.dtype}")
        if array.ndim != len(letters.split()):
            raise BundleError(f"{name}: expected shape [{letters}], got {list(array.shape)}")
        for letter, size in zip(letters.split(), array.shape, strict=True):
            # The first array with a letter fixes its size; manifest sizes are there from the start.
            if sizes.setdefault(letter, size) != size:
                raise BundleError(
                    f"{name}: expected shape [{letters}] with {letter} = {sizes[letter]}, "
                    f"got {list(array.shape)}"
                )
    return sizes


def _check_not_empty(manifest: Manifest, sizes: dict[str, int]) -> None:
    if not sizes["N"] + sizes["Q"] + sizes["L"]:
        raise BundleError("triggers, queries: expected at least one, got none; nothing to ask")
    if not sizes["C"]:
        raise BundleError("controls: expected at least one control image, got none")
    # A bundle whose deciding score has nothing to ask would clear every suspect.
    needed = _NEEDED[manifest.default_score]
    if not sizes[needed]:
        raise BundleError(
            f"default_score: {manifest.default_score} has nothing to ask ({needed} = 0)"
        )
    roles = {model.role for model in manifest.selection_models}
    # The rank correlation takes the nearest model of each role, and none has no nearest one.
    if sizes["D"] and len(roles) < 2:
        raise BundleError(
            "selection_rankings: expected derived and innocent selection models, got "
            f"{', '.join(roles) or 'none'}"
        )
    for letter, name in _ALL_OR_NONE.items():
        if sizes[letter] not in (0, sizes["Q"]):
            raise BundleError(
                f"{name}: expected as many as queries ({sizes['Q']}) or none, got {sizes[letter]}"
            )


def _check_values(arrays: Arrays, sizes: dict[str, int]) -> None:
    for name in (
        "trigger_labels",
        "source_probe_labels",
        "source_query_labels",
        "control_labels",
        "model_control_labels",
        "model_query_labels",
    ):
        _check_range(name, getattr(arrays, name), 0, sizes["K"] - 1)
    _check_groups(arrays.query_groups)
    for name in ("selection_rankings", "model_rankings"):
        _check_rankings(name, getattr(arrays, name), sizes["K"])
    _check_range("probe_alphas", arrays.probe_alphas, 0, ALPHA_ONE)
    _check_range("model_probe_hits", arrays.model_probe_hits, 0, sizes["M"])
    # The largest float and not infinity: a loss of a stored answer is finite.
    _check_range("model_trigger_losses", arrays.model_trigger_losses, 0, np.finfo(float).max)
    for name in ("derived_probabilities", "innocent_probabilities"):
        probabilities: NDArray[np.float64] = getattr(arrays, name)
        _check_range(name, probabilities, 0, 1)
        _check_sums(name, probabilities)
    for name in (
        "source_trigger_log_probabilities",
        "source_query_log_probabilities",
        "model_query_log_probabilities",
    ):
        log_probabilities: NDArray[np.float64] = getattr(arrays, name)
        # Minus infinity would be a probability of 0, whose cross-entropy compares with nothing.
        _check_range(name, log_probabilities, np.finfo(float).min, _TOLERANCE)
        _check_sums(name, np.exp(log_probabilities))


def _check_accuracies(manifest: Manifest, arrays: Arrays) -> None:
    """What a p-value rests on says how good it is: the answers themselves must say the same."""
    right = (arrays.model_control_labels == arrays.control_labels).mean(axis=1)  # [R, C] -> [R]
    for model, share in zip(manifest.calibration_models, right, strict=True):
        if abs(model.control_accuracy - float(share)) > _TOLERANCE:
            raise BundleError(
                f"models: '{model.name}': expected a control_accuracy of {share:g}, as its answers "
                f"say, got {model.control_accuracy:g}"
            )


def _check_groups(groups: NDArray[np.int64]) -> None:
    num_groups = len(np.unique(groups))
    # So many different integers from 0 to one less are all of them.
    if num_groups and (groups.min() != 0 or groups.max() != num_groups - 1):
        raise BundleError(
            f"query_groups: expected the numbers 0 to {num_groups - 1} for {num_groups} groups, "
            f"got {groups.min()} to {groups.max()}"
        )


def _check_rankings(name: str, rankings: NDArray[np.int64], num_classes: int) -> None:
    _check_range(name, rankings, 0, num_classes - 1)
    depth = rankings.shape[-1]
    # The last place follows from the others; format and ranks leave it out.
    if depth >= num_classes:
        raise BundleError(f"{name}: expected at most {num_classes - 1} classes, got {depth}")
    # Sorted, a class that stands twice is its own neighbour.
    ordered = np.sort(rankings, axis=-1)
    if (ordered[..., 1:] == ordered[..., :-1]).any():
        raise BundleError(f"{name}: expected each class once in a ranking, got one twice")


def _check_range(
    name: str, array: NDArray[np.int64] | NDArray[np.float64], lowest: float, highest: float
) -> None:
    # written so that NaN fails
    if not np.all((array >= lowest) & (array <= highest)):
        raise BundleError(f"{name}: expected values from {lowest:g} to {highest:g}, got others")


def _check_sums(name: str, probabilities: NDArray[np.float64]) -> None:
    worst = np.abs(probabilities.sum(axis=-1) - 1).max(initial=0)  # [..., K] -> []
    if worst > _TOLERANCE:
        raise BundleError(f"{name}: expected rows that sum to 1, got one that is {worst:.2g} off")


def _check_probes(manifest: Manifest, sizes: dict[str, int]) -> None:
    settings = manifest.probes
    if settings is None:
        _expect_sizes("without probes", sizes, {"A": 0, "E": 0})
        return
    if not sizes["N"]:
        raise BundleError("probes: expected null in a bundle without triggers")
    _expect_sizes("with probes", sizes, {"A": sizes["N"]})
    if len(settings.digests) != sizes["N"]:
        raise BundleError(
            f"probes.digests: expected one per trigger ({sizes['N']}), got {len(settings.digests)}"
        )
    if (settings.kind == "ascent") != (sizes["E"] > 0):
        raise BundleError(
            f"probe_ends: expected end images for ascent probes and only for them, "
            f"got {sizes['E']} for {settings.kind}"
        )


def _expect_sizes(when: str, sizes: dict[str, int], expected: dict[str, int]) -> None:
    meaning: Iterable[tuple[str, str]] = (("A", "probe_alphas"), ("E", "probe_ends"))
    for letter, name in meaning:
        if letter in expected and sizes[letter] != expected[letter]:
            raise BundleError(f"{name}: expected {expected[letter]} {when}, got {sizes[letter]}")
