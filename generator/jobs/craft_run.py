"""A crafting run from its description to a signed bundle on disk.

What can be wrong is found before anything is trained: images are listed, the model answers some of
them, the work is counted. What is finished is kept in the folder of ``--work``.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audit.bundle.bundle_file import creation_time, write_bundle
from audit.bundle.retraining import Recipe
from audit.bundle.weights import Weights
from audit.signing.canonical import array_sha256
from audit.signing.keys import load_private_key
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.images.reading import Reading, read_images
from generator.images.splits import ListedSplits, Splits
from generator.jobs.ancestry import with_ancestor
from generator.jobs.chosen_method import ChosenMethod
from generator.jobs.crafting import CraftJob, chosen_of
from generator.jobs.mfue import Crafted, Report, craft
from generator.jobs.own_audit import audit_own_source
from generator.jobs.owner_images import (
    OwnerImages,
    read_splits,
    reading_for,
    split_owner_images,
)
from generator.jobs.plan import (
    LONG_SECONDS,
    Plan,
    Sizes,
    duration,
    fit_budget,
    make_plan,
    parse_duration,
    plan_lines,
)
from generator.jobs.reference_recipe import recipe_of, retraining_of
from generator.jobs.remarks import remarks
from generator.jobs.run_references import (
    held_back,
    num_wanted,
    with_trained,
    with_usual_alpha,
)
from generator.jobs.weights_sketch import make_weights, sketch_seed, sketch_words
from generator.jobs.work_folder import usual_work_folder, work_folder
from generator.pools.given_references import load_references
from generator.pools.reference_kinds import kinds_of
from generator.pools.references import PoolModel
from generator.sources.check import SourceCheck, check_on_images
from generator.sources.preprocess import read_contract, usual_preprocess
from generator.sources.programs import open_source
from generator.sources.source import Source
from generator.training.device import prepare_device
from generator.training.ranks import current_ranks
from generator.training.speed import measure_speed

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is known before the work begins."""

    source: Source
    check: SourceCheck
    controls: ImageSet
    listed: ListedSplits
    reading: Reading
    references: list[PoolModel]
    """That the owner gives."""
    device: torch.device


def run_job(job: CraftJob, *, report: Report, tell: Tell) -> str:
    """Craft, sign and write the bundle.

    Args:
        job: What to do.
        report: Progress by stage.
        tell: Says what a user should know on the way.

    Returns:
        A summary in one line.

    Raises:
        GenerationError: Anything that stops crafting; nothing is written then.
        AuditError: The key cannot be read, or the bundle cannot be written.
    """
    key = load_private_key(job.key, _passphrase(job.passphrase_env))
    if not job.out.absolute().parent.is_dir():
        raise GenerationError(f"out: there is no folder {job.out.absolute().parent}")
    ranks, chosen = current_ranks(), chosen_of(job)
    if job.budget is not None and ranks.size > 1:
        raise GenerationError("budget: expected with one process only, got several by torchrun")
    place = job.work or usual_work_folder(job.out)
    with work_folder(place, is_locked=ranks.is_first) as work:
        prepared = _prepare(job, work, tell)
        job = with_usual_alpha(job, prepared.references)
        job = _planned(job, prepared, tell)
        splits = read_splits(_listed(job, prepared), prepared.reading, tell)
        recipe = _recipe(job, prepared, splits.training)
        references = with_trained(
            job,
            prepared.source,
            prepared.references,
            splits,
            seed=job.seed if job.seed_from is None else recipe.seed(job.seed_from),
            accuracy=prepared.check.accuracy,
            work=work,
            report=report,
            tell=tell,
        )
        references, spare = held_back(job, references, len(prepared.references))
        crafted = _crafted(job, chosen, prepared.source, splits, references, work, report)
        if job.seed_from is not None:
            retraining = retraining_of(recipe, job.seed_from, references, prepared.device)
            crafted = tuple(pack.with_retraining(retraining) for pack in crafted)
        if crafted[0].num_mimics_found:
            tell(f"Went on from {crafted[0].num_mimics_found} mimics of an earlier run in {work}.")
        # What is true of the pools is true of every pack: said once.
        for remark in dict.fromkeys(remark for pack in crafted for remark in remarks(pack)):
            tell(f"{remark[0].upper()}{remark[1:]}.")
        if not ranks.is_first:
            return crafted[0].summary  # everybody has the same bundles; one writes them
        # All of them before any is written: packs are one set.
        for pack in crafted:
            audit_own_source(
                pack.manifest, pack.arrays, key, prepared.source, spare, report=report, tell=tell
            )
        weights = _sketched(job, prepared.source, crafted[0], report, tell) if job.sketch else None
        digests = [
            write_bundle(path, pack.manifest, pack.arrays, key, weights=weights)[:16]
            for path, pack in zip(job.outputs, crafted, strict=True)
        ]
    bundles = f"bundle {digests[0]}" if len(digests) == 1 else f"packs {', '.join(digests)}"
    return (
        f"{crafted[0].summary}, {len(references)} references; {bundles}, signed by "
        f"{key.public_key.key_id[:16]}"
    )


def plan_job(job: CraftJob, *, tell: Tell) -> list[str]:
    """Look at everything and count the work; train and write nothing.

    Args:
        job: What would be done.
        tell: Says what a user should know.

    Returns:
        The plan, a line each.

    Raises:
        GenerationError: Anything that would stop crafting before it begins.
    """
    prepared = _prepare(job, None, tell)
    job = with_usual_alpha(job, prepared.references)
    if job.budget is not None:
        job = _within_budget(job, prepared, tell)
    lines = plan_lines(_plan(job, prepared))
    if job.seed_from is not None:
        (images,), _ = read_images([_listed(job, prepared).training], prepared.reading)
        lines.append(
            f"Recipe of the innocents: {_recipe(job, prepared, images).sha256}. Publish it, and "
            "take for --seed-from a public value that nobody knew then."
        )
    return lines


def _listed(job: CraftJob, prepared: Prepared) -> ListedSplits:
    listed = prepared.listed
    if job.max_images is None:
        return listed
    most = min(job.max_images, len(listed.training))
    return replace(listed, training=listed.training.take(np.arange(most)))


def _recipe(job: CraftJob, prepared: Prepared, images: ImageSet) -> Recipe:
    has_all = bool(prepared.references) and not num_wanted(job, prepared.references)
    if job.seed_from is not None and has_all:
        raise GenerationError(
            "seed-from: expected references that are trained here, got enough by --references; "
            "leave one of the two out"
        )
    return recipe_of(
        prepared.source,
        images,
        split_seed=job.seed,
        epochs=job.reference_epochs,
        learning_rate=job.reference_learning_rate,
    )


def _prepare(job: CraftJob, work: Path | None, tell: Tell) -> Prepared:
    """List the images, decode a few, and let the model answer them."""
    contract = read_contract(
        job.normalise, job.preprocess or usual_preprocess(job.model, job.normalise)
    )
    device = prepare_device(job.device)
    rng = np.random.default_rng([job.seed, 0x1A6E5])
    reading = reading_for(contract, skip_unreadable=job.skip_unreadable, cache=work)
    owner = OwnerImages(
        images=job.images,
        held_out=job.held_out,
        class_names=job.classes.split(",") if job.classes else None,
        max_images=job.max_images,
    )
    listed = split_owner_images(owner, reading, rng, tell)
    (controls,), _ = read_images([listed.controls], reading)
    reading = replace(reading, channels=3 if controls.images.shape[3] == 3 else 1)
    source = open_source(
        job.model, job.weights, contract, controls.images, num_classes=len(controls.class_names)
    )
    source = with_ancestor(source, job.ancestor, tell)
    source.model.to(device)
    check = check_on_images(source, controls)
    tell(f"{source.architecture}: {check.accuracy:.1%} of {len(controls)} control images right.")
    for note in check.notes:
        tell(note)
    references = []
    if job.references is not None:
        references = load_references(
            job.references, controls, contract=contract, device=device, tell=tell
        )
    return Prepared(
        source=source,
        check=check,
        controls=controls,
        listed=listed,
        reading=reading,
        references=references,
        device=device,
    )


def _planned(job: CraftJob, prepared: Prepared, tell: Tell) -> CraftJob:
    """Tell the plan of a long run, and return the job as its budget allows it."""
    if job.budget is not None:
        job = _within_budget(job, prepared, tell)
    if not current_ranks().is_first:
        return job
    plan = _plan(job, prepared)
    if plan.seconds > LONG_SECONDS:
        for line in plan_lines(plan):
            tell(line)
        if job.budget is None:
            tell("--budget 2h would make it fit into a time; --plan shows this and does nothing.")
    return job


def _within_budget(job: CraftJob, prepared: Prepared, tell: Tell) -> CraftJob:
    assert job.budget is not None
    seconds, speed = parse_duration(job.budget), _Measured(prepared)

    def plan_with(changes: dict[str, Any]) -> Plan:
        return _plan(job.model_copy(update=changes), prepared, speed)

    changes, lost = fit_budget(seconds, plan_with, sorted(job.model_fields_set))
    for words in lost:
        tell(f"To fit into {duration(seconds)}: {words}.")
    return job.model_copy(update=changes)


class _Measured:
    """The model's speed, measured once."""

    def __init__(self, prepared: Prepared) -> None:
        self.speed = measure_speed(prepared.source.model, prepared.controls)


def _plan(job: CraftJob, prepared: Prepared, measured: _Measured | None = None) -> Plan:
    listed, source = prepared.listed, prepared.source
    num_training = len(listed.training)
    sizes = Sizes(
        num_training=min(num_training, job.max_images or num_training),
        num_tuning=len(listed.tuning),
        num_candidates=len(listed.candidates),
        num_given=len(prepared.references),
        num_trained=num_wanted(job, prepared.references),
        reference_epochs=job.reference_epochs,
        image_bytes=int(np.prod(prepared.controls.images.shape[1:])),
        model_bytes=4 * source.num_parameters,
        kinds=kinds_of(source),
    )
    speed = (measured or _Measured(prepared)).speed
    return make_plan(job.settings(), sizes, speed, is_mfue=chosen_of(job) is None)


def _crafted(
    job: CraftJob,
    chosen: ChosenMethod | None,
    source: Source,
    splits: Splits,
    references: Sequence[PoolModel],
    work: Path,
    report: Report,
) -> tuple[Crafted, ...]:
    name = job.name or (job.weights or Path(job.model)).stem
    created = job.created or creation_time()
    if chosen is None:
        return craft(
            source,
            splits,
            references,
            job.settings(),
            model_name=name,
            owner=job.owner,
            created=created,
            work=work,
            report=report,
        )
    from generator.jobs.fingerprint import craft_fingerprint

    return craft_fingerprint(
        source,
        splits,
        references,
        job.settings(),
        chosen.method,
        chosen.options,
        model_name=name,
        owner=job.owner,
        created=created,
        work=work,
        report=report,
    )


def _sketched(
    job: CraftJob, source: Source, crafted: Crafted, report: Report, tell: Tell
) -> Weights:
    arrays = crafted.arrays
    weights = make_weights(
        source,
        crafted.models,
        image_shape=arrays.controls.shape[1:],
        # Queries follow from the owner's images: whoever has the weights alone does not know them.
        seed=sketch_seed(str(job.seed), source.weights_sha256, array_sha256(arrays.queries)),
        report=report,
    )
    tell(sketch_words(crafted.manifest, weights))
    return weights


def _passphrase(variable: str | None) -> str | None:
    if variable is None:
        return None
    value = os.environ.get(variable)
    if not value:
        raise GenerationError(f"passphrase-env: {variable} is not set, or empty")
    return value
