"""Crafting with MFUE from end to end: the owner's model and images in, a bundle's contents out.

    splits -> mimics -> triggers -> probes -> derived models, students -> queries -> calibration

Every draw comes from the one seed, by purpose; on a CPU the same inputs give the same bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import Suspect
from audit.bundle.manifest import Arrays, Manifest
from audit.bundle.retraining import Retraining
from generator.crafting.contrast import craft_contrast, runner_up
from generator.crafting.descent import DescentSettings
from generator.crafting.queries import choose_queries
from generator.crafting.views import views_of
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.images.packs import deal
from generator.images.splits import Splits
from generator.jobs.bundle_contents import collect_arrays, make_manifest, model_records
from generator.jobs.pack_triggers import craft_pack_triggers
from generator.pools.copies import HARDENED
from generator.pools.derived import DerivedPool, make_derived_pool
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

Report = Callable[[str, int, int], None]
"""Called with (stage, done, in all)."""

SPARE_QUERIES = 1.5
"""Contrast queries crafted per query wanted: the best are kept."""
MAX_CANDIDATES = 4000


@dataclass(frozen=True, kw_only=True)
class Crafted:
    """One bundle that `craft` made, ready for `audit.bundle.bundle_file.write_bundle`."""

    manifest: Manifest
    arrays: Arrays
    num_mimics_found: int
    """Snapshots that an earlier, interrupted run had left."""
    summary: str
    """What was made, for a line on the screen."""
    left_out: tuple[str, ...] = ()
    """Sentences about models that lost their accuracy and take no part."""
    models: tuple[PoolModel, ...] = ()
    """Innocents and derived models that take part, whatever for."""

    def with_retraining(self, retraining: Retraining) -> "Crafted":
        """Return the bundle with a note on how its innocents can be trained again."""
        manifest = self.manifest.model_copy(update={"retraining": retraining})
        return replace(self, manifest=manifest)


def craft(
    source: Source,
    splits: Splits,
    references: Sequence[PoolModel],
    settings: CraftSettings,
    *,
    model_name: str,
    owner: str,
    created: str,
    work: Path | None = None,
    report: Report = lambda stage, done, total: None,
) -> tuple[Crafted, ...]:
    """Craft the contents of a bundle, or of each of its packs.

    Args:
        source: The owner's model, on the device that computes.
        splits: The owner's images by purpose.
        references: Innocent models with probabilities.
        settings: See `CraftSettings`.
        model_name: How the owner calls the model.
        owner: Who the owner is.
        created: UTC time as ``YYYY-MM-DDTHH:MM:SSZ``.
        work: Folder for what is finished: mimics, copies, students, blocks of images.
        report: Progress.

    Raises:
        SourceError: The model does not fit the images, or is at chance on them.
        GenerationError: Too few references, or no usable trigger.
    """
    rng = np.random.default_rng([settings.seed, 0xC4AF7])
    control_accuracy = check_source(source, splits.controls)
    require_trained(references, splits.controls)
    selection, calibration = split_for_use(references)
    require_enough(num_lineages(calibration), settings.alpha, "innocent")
    if not selection:
        raise GenerationError("references: expected at least 1 innocent model to select queries by")

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
    packs = deal(
        splits.candidates,
        settings.num_packs,
        np.random.default_rng([settings.seed, 0x9AC5]),
    )
    triggers = [
        craft_pack_triggers(source, images, mimics, settings, pack, rng, report, work)
        for pack, images in enumerate(packs, start=1)
    ]
    derived = make_derived_pool(
        source,
        mimics,
        splits,
        settings,
        innocents=selection,
        control_accuracy=control_accuracy,
        work=work,
        report=report,
    )
    shaping = [*selection, *derived.hardened_innocents]
    judged = [*calibration, *derived.calibration]
    selected = [*shaping, *derived.copies, *derived.deployments, *derived.students]
    records = [
        *model_records("selection", selected, splits.controls),
        *model_records("calibration", judged, splits.controls),
    ]
    made = []
    for pack, (images, own) in enumerate(zip(packs, triggers, strict=True), start=1):
        candidates = _candidates(
            source, images, own.images, derived, selection, settings, rng, report, work
        )
        report("queries", 0, 1)
        queries = choose_queries(
            candidates,
            [_suspects(group) for group in (derived.copies, derived.students) if group],
            _suspects(derived.deployments),
            _suspects(shaping),
            num_queries=settings.num_queries,
            epsilon=settings.epsilon,
            rng=rng,
        )
        report("queries", 1, 1)
        arrays = collect_arrays(
            source,
            splits,
            own.carriers,
            own.images,
            own.probes,
            queries,
            selected,
            judged,
            report,
        )
        manifest = make_manifest(
            source,
            splits,
            settings,
            settings.facts() | settings.facts_of_pack(pack),
            records,
            method="mfue",
            default_score="likelihood-ratio",
            probes=None if own.probes is None else own.probes.settings,
            model_name=model_name,
            owner=owner,
            created=created,
            control_accuracy=control_accuracy,
        )
        made.append(
            Crafted(
                manifest=manifest,
                arrays=arrays,
                num_mimics_found=num_found,
                summary=own.summary + f"{len(arrays.queries)} queries",
                left_out=derived.left_out,
                models=(*selected, *judged),
            )
        )
    return tuple(made)


def _candidates(
    source: Source,
    images: ImageSet,
    triggers: NDArray[np.uint8],
    derived: DerivedPool,
    innocents: Sequence[PoolModel],
    settings: CraftSettings,
    rng: np.random.Generator,
    report: Report,
    work: Path | None,
) -> list[NDArray[np.uint8]]:
    """Return the images among which queries are chosen by kind, each ``[N, H, W, C]``."""
    natural = images.take(images.balanced_order(rng)[:MAX_CANDIDATES])
    if settings.candidates == "natural":
        return [natural.images]
    if settings.candidates == "triggers":
        return [triggers]
    clean = natural.take(np.arange(min(len(natural), round(SPARE_QUERIES * settings.num_queries))))
    contrast = craft_contrast(
        [networks(group) for group in _groups(derived)],
        [group for group in map(networks, (innocents, derived.hardened_innocents)) if group],
        clean.images,
        runner_up(source.model, clean.images, clean.labels),
        DescentSettings(radius=settings.query_radius, max_steps=settings.max_steps),
        epsilon=settings.epsilon,
        views=views_of(is_mirrored=derived.is_mirrored),
        work=work,
        on_step=lambda done, total: report("contrast queries", done, total),
    )
    if settings.candidates == "contrast":
        return [contrast.images]
    crafted = np.concatenate([triggers, contrast.images])
    if settings.candidates == "mixed":
        return [natural.images, crafted]
    return [np.concatenate([natural.images, crafted])]


def _groups(derived: DerivedPool) -> list[list[PoolModel]]:
    """Group what queries are crafted with; hardened copies by themselves if innocents are, too."""
    is_paired = bool(derived.hardened_innocents)
    hardened = [model for model in derived.copies if is_paired and model.stratum == HARDENED]
    others = [model for model in derived.copies if model not in hardened]
    return [group for group in (others, hardened, derived.students) if group]


def _suspects(models: Sequence[PoolModel]) -> list[Suspect]:
    return [model.suspect for model in models]
