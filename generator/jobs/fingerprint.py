"""Crafting with a method of the literature, from end to end: one fingerprint, calibrated.

    splits -> (mimic pool -> derived models) -> fingerprint -> secret order -> calibration

Calibration is that of MFUE (`generator.jobs.mfue`), on the same kinds of models. A model that
crafted never calibrates; where a method crafts without innocents, all of them calibrate.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapters.strict_model import FrozenModel
from audit.bundle.manifest import Arrays, Scalar
from audit.scores.rank_correlation import top_classes
from audit.verdict.rule import MIN_QUERIES
from generator.crafting.fingerprint import Fingerprint, FingerprintMethod, Pools
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.images.packs import deal
from generator.images.splits import Splits
from generator.jobs.bundle_contents import control_answers, make_manifest, model_records
from generator.jobs.mfue import Crafted, Report
from generator.pools.derived import make_derived_pool
from generator.pools.mimics import MimicSettings, make_mimics
from generator.pools.preconditions import check_source, require_trained
from generator.pools.references import (
    PoolModel,
    networks,
    num_lineages,
    require_enough,
    split_for_use,
)
from generator.settings import CraftSettings
from generator.sources.source import Source
from generator.sources.torch_suspect import TorchSuspect, answer_all

_SHARED_SETTINGS = (
    "num_queries",
    "num_packs",
    "num_mimics",
    "mimic_radius",
    "mimic_learning_rate",
    "hardening_epochs",
    "student_epochs",
    "student_learning_rate",
    "alpha",
    "beta",
    "min_control_agreement",
    "seed",
)
"""Settings of a crafting run that every method follows."""


def craft_fingerprint(
    source: Source,
    splits: Splits,
    references: Sequence[PoolModel],
    settings: CraftSettings,
    method: FingerprintMethod,
    options: FrozenModel,
    *,
    model_name: str,
    owner: str,
    created: str,
    work: Path | None = None,
    report: Report = lambda stage, done, total: None,
) -> tuple[Crafted, ...]:
    """Craft the contents of a bundle with one method, or of each of its packs.

    Args:
        source: As in `generator.jobs.mfue.craft`, like the rest but for method and options.
        splits: Likewise.
        references: Likewise.
        settings: Likewise; ``num_queries`` images, or groups of them, are wanted.
        method: From `generator.methods.known_methods.load_method`.
        options: An instance of ``method.options``.
        model_name: Likewise.
        owner: Likewise.
        created: Likewise.
        work: Likewise.
        report: Progress.

    Raises:
        SourceError: The model does not fit the images, or is at chance on them.
        GenerationError: Too few models to calibrate by, none of those that the method needs, or
            the method finds no image.
    """
    control_accuracy = check_source(source, splits.controls)
    require_trained(references, splits.controls)
    selection, calibration = _innocents(references, settings, method)
    mimics, num_found = make_mimics(
        source.model,
        splits.training,
        MimicSettings(
            num_mimics=settings.num_mimics,
            radius=settings.mimic_radius / 255,
            learning_rate=settings.mimic_learning_rate,
        ),
        seed=settings.seed,
        work=work,
        on_step=lambda done, total: report("mimic pool", done, total),
    )
    derived = make_derived_pool(
        source,
        mimics,
        splits,
        settings,
        innocents=selection,
        control_accuracy=control_accuracy,
        with_copies="derived" in method.needs,
        with_pairs=False,
        with_students="students" in method.needs,
        work=work,
        report=report,
    )
    followers = [*derived.copies, *derived.students]
    judged = [*calibration, *derived.calibration]
    selected = [*selection, *followers]
    records = [
        *model_records("selection", selected, splits.controls),
        *model_records("calibration", judged, splits.controls),
    ]
    packs = deal(
        splits.candidates,
        settings.num_packs,
        np.random.default_rng([settings.seed, 0x9AC5]),
    )
    made = []
    for pack, images in enumerate(packs, start=1):
        found = _found(
            source,
            images,
            Pools(derived=networks(followers), innocents=networks(selection)),
            settings,
            method,
            options,
            report,
        )
        arrays = _arrays(source, splits, settings, method, found, selected, judged, report)
        facts: dict[str, Scalar] = {
            **{name: getattr(settings, name) for name in _SHARED_SETTINGS},
            **settings.facts_of_pack(pack),
            **{f"option_{name}": _scalar(value) for name, value in options.model_dump().items()},
            **{f"found_{name}": value for name, value in found.findings.items()},
        }
        manifest = make_manifest(
            source,
            splits,
            settings,
            facts,
            records,
            method=method.name,
            default_score=method.score,
            probes=None,
            model_name=model_name,
            owner=owner,
            created=created,
            control_accuracy=control_accuracy,
        )
        told = ", ".join(f"{name} {value}" for name, value in found.findings.items())
        num_groups = len(np.unique(found.groups))
        grouped = f" in {num_groups} groups" if num_groups < len(found.groups) else ""
        made.append(
            Crafted(
                manifest=manifest,
                arrays=arrays,
                num_mimics_found=num_found,
                summary=f"{len(arrays.queries)} {method.name} images{grouped} "
                f"({told or 'no findings'})",
                left_out=derived.left_out,
                models=(*selected, *judged),
            )
        )
    return tuple(made)


def _found(
    source: Source,
    images: ImageSet,
    pools: Pools,
    settings: CraftSettings,
    method: FingerprintMethod,
    options: FrozenModel,
    report: Report,
) -> Fingerprint:
    """Let the method craft a pack from its images."""
    found = method.craft(
        source.model,
        images.images,
        images.labels,
        pools,
        options,
        num_images=settings.num_queries,
        rng=np.random.default_rng([settings.seed, 0xF19E2]),
        on_step=lambda done, total: report(method.name, done, total),
    )
    if len(found.images) < MIN_QUERIES:
        told = ", ".join(f"{name} {value}" for name, value in found.findings.items())
        raise GenerationError(
            f"{method.name}: expected at least {MIN_QUERIES} images, because fewer cannot decide, "
            f"got {len(found.images)} of {settings.num_queries} ({told}); give more images with "
            "--held-out, or other options"
        )
    return found


def _innocents(
    references: Sequence[PoolModel], settings: CraftSettings, method: FingerprintMethod
) -> tuple[list[PoolModel], list[PoolModel]]:
    """Return the innocents that craft, which have gradients, and those that calibrate."""
    if "innocents" not in method.needs:
        require_enough(num_lineages(references), settings.alpha, "innocent", is_halved=False)
        return [], list(references)
    selection, calibration = split_for_use(references)
    usable = [model for model in selection if model.network is not None]
    if not usable:
        raise GenerationError(
            f"references: {method.name} crafts against innocent models with gradients, got none "
            "(ONNX files have none); make some with 'kinprint references', or leave out "
            "--train-references 0"
        )
    require_enough(num_lineages(calibration), settings.alpha, "innocent")
    return usable, calibration


def _arrays(
    source: Source,
    splits: Splits,
    settings: CraftSettings,
    method: FingerprintMethod,
    found: Fingerprint,
    selected: list[PoolModel],
    judged: list[PoolModel],
    report: Report,
) -> Arrays:
    """Put the fingerprint into its secret order and ask every calibration model."""
    num_classes = len(splits.controls.class_names)
    order = np.random.default_rng([settings.seed, 0x04DE4]).permutation(len(found.images))
    images = found.images[order]
    _, groups = np.unique(found.groups, return_inverse=True)
    source_answers = answer_all(TorchSuspect("source", source.model), images)
    num_kept = len(images) if method.score == "sample-correlation" else 0
    # a suspect is compared with its nearest relatives of both kinds, or with none
    depth = None if {model.role for model in selected} == {"derived", "innocent"} else 0
    selection_rankings = [top_classes(answer_all(one.suspect, images)) for one in selected]
    model_labels, model_answers, model_rankings = [], [], []
    for done, model in enumerate(judged, start=1):
        answers = answer_all(model.suspect, images)
        model_labels.append(answers.argmax(axis=1))
        model_answers.append(answers[:num_kept])
        model_rankings.append(top_classes(answers)[:, :depth])
        report("calibration", done, len(judged))
    empty = images[:0]
    return Arrays(
        triggers=empty,
        carriers=empty,
        trigger_labels=np.empty(0, np.int64),
        source_trigger_log_probabilities=np.empty((0, num_classes)),
        probe_alphas=np.empty(0, np.int64),
        probe_ends=empty[:, None][:, :0],
        source_probe_labels=np.empty((0, 0), np.int64),
        queries=images,
        # asked again: one rounding may have decided an image that lies on a boundary
        source_query_labels=source_answers.argmax(axis=1),
        query_groups=groups[order].astype(np.int64),
        query_carriers=found.carriers[order],
        source_query_log_probabilities=source_answers[:num_kept],
        derived_probabilities=np.empty((0, num_classes)),
        innocent_probabilities=np.empty((0, num_classes)),
        selection_rankings=_stacked(selection_rankings, len(images), depth),
        controls=splits.controls.images,
        control_labels=splits.controls.labels,
        model_control_labels=control_answers(judged, splits.controls),
        model_query_labels=np.array(model_labels, dtype=np.int64),
        model_query_log_probabilities=np.array(model_answers, dtype=np.float64),
        model_rankings=np.array(model_rankings),
        model_trigger_losses=np.empty((len(judged), 0)),
        model_probe_hits=np.empty((len(judged), 0), np.int64),
    )


def _stacked(
    rankings: list[NDArray[np.int64]], num_queries: int, depth: int | None
) -> NDArray[np.int64]:
    if not rankings:
        return np.empty((0, num_queries, 0), np.int64)
    return np.array(rankings)[..., :depth]


def _scalar(value: object) -> Scalar:
    return value if isinstance(value, Scalar) else ", ".join(map(str, value))  # type: ignore[call-overload]  # options are scalars or tuples of them
