"""The innocents of a crafting run: how many there must be, who is trained, who is held back."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from audit.verdict.guessing import least_share
from audit.verdict.p_values import innocents_needed
from generator.errors import GenerationError
from generator.images.splits import Splits
from generator.jobs.crafting import CraftJob, chosen_of
from generator.jobs.mfue import Report
from generator.pools.preconditions import accuracy_of
from generator.pools.references import PoolModel, num_lineages, train_references
from generator.sources.source import Source

_MIN_WITH_GRADIENTS = 4
"""Crafting against innocents needs some whose gradients can be had; ONNX files have none."""
_WITHIN_REACH = 0.5
"""Less far than this, from scratch, is a sign of an ancestor."""
_CARRIED_ALPHA = 0.05
"""One innocent in twenty: what a bundle states by itself where it can."""
_MAX_REPLACED = 6
"""References that learnt nothing and are replaced, at most."""
_LEARNT = 0.25
"""A reference takes part if it is so far on the way from chance to the source's accuracy."""


def with_usual_alpha(job: CraftJob, references: Sequence[PoolModel]) -> CraftJob:
    """Take the smaller usual rate where the innocents that are given carry it.

    To train as many only for a smaller rate is the owner's to decide: it takes twice the time.
    """
    if "alpha" in job.model_fields_set:
        return job
    needed = innocents_needed(_CARRIED_ALPHA) * (2 if _are_halved(job) else 1)
    if num_lineages(references) < needed:
        return job
    return job.model_copy(update={"alpha": _CARRIED_ALPHA})


def _are_halved(job: CraftJob) -> bool:
    """Return whether half of the innocents shape the queries."""
    chosen = chosen_of(job)
    return chosen is None or "innocents" in chosen.method.needs


def num_wanted(job: CraftJob, references: Sequence[PoolModel]) -> int:
    """Return how many references are to be trained."""
    if job.train_references is not None:
        return job.train_references
    num_needed = innocents_needed(job.alpha)
    if _are_halved(job):
        num_needed *= 2
        num_with_gradients = sum(reference.network is not None for reference in references)
        num_needed = max(num_needed, len(references) + _MIN_WITH_GRADIENTS - num_with_gradients)
    missing = max(0, num_needed - len(references))
    # One more, which the finished bundle is tried on.
    return missing + 1 if missing else 0


def held_back(
    job: CraftJob, references: list[PoolModel], num_given: int
) -> tuple[list[PoolModel], list[PoolModel]]:
    """Cut off the innocent that neither crafts nor calibrates, where one was trained for that."""
    is_ours = job.train_references is None and len(references) > num_given
    needed = innocents_needed(job.alpha)
    if _are_halved(job):
        needed *= 2
    if not is_ours or len(references) <= needed:
        return references, []
    return references[:-1], references[-1:]


def with_trained(
    job: CraftJob,
    source: Source,
    references: list[PoolModel],
    splits: Splits,
    *,
    seed: int,
    accuracy: float,
    work: Path,
    report: Report,
    tell: Callable[[str], None],
) -> list[PoolModel]:
    """Return the references: those that are given, and those that have to be trained.

    Args:
        job: What is wanted.
        source: The owner's model.
        references: That are given.
        splits: The owner's images by purpose.
        seed: Of those that are trained.
        accuracy: The source's.
        work: Folder for finished ones.
        report: Progress.
        tell: Says what a user should know on the way.

    Raises:
        GenerationError: The source cannot be reached from scratch, so that it has an ancestor.
    """
    wanted = num_wanted(job, references)
    if not wanted:
        return references
    chance = 1 / len(splits.controls.class_names)
    if source.ancestor is None:
        tell(f"Training {wanted} innocent references of the same architecture from scratch.")
    else:
        tell(f"Fine-tuning {wanted} innocent references from {source.ancestor.name}.")

    best = 0.0

    def judge(model: nn.Module) -> float:
        nonlocal best
        found = accuracy_of(model, splits.controls)
        best = max(best, found)
        return found

    def trained(num: int, floor: float, max_replaced: int) -> list[PoolModel]:
        return train_references(
            source,
            splits.training,
            num_references=num,
            epochs=job.reference_epochs,
            learning_rate=job.reference_learning_rate,
            seed=seed,
            judge=judge,
            floor=floor,
            max_replaced=max_replaced,
            work=work,
            on_step=lambda done, total: report("references", done, total),
            tell=tell if max_replaced else lambda text: None,
        )

    above_chance = max(0.0, accuracy - chance)
    # Nobody at chance takes part: told of after hours, it would end the run.
    least = least_share(splits.controls.labels)
    is_asked = job.ancestor is None and not references
    # The first one has the full recipe; it is kept, and taken up with the others.
    if is_asked and not trained(1, chance + _WITHIN_REACH * above_chance, 0):
        raise GenerationError(_out_of_reach(best, accuracy))
    floor = max(least, chance + _LEARNT * above_chance)
    return references + trained(wanted, floor, _MAX_REPLACED)


def _out_of_reach(from_scratch: float, accuracy: float) -> str:
    """Say that the source has an ancestor; innocents that share it would be called derived."""
    return (
        "references: trained from scratch on these images the same network gets "
        f"{from_scratch:.0%} right, the model {accuracy:.0%}. If it was fine-tuned from a public "
        "checkpoint, name that with --ancestor: innocents that share it would be called derived "
        "otherwise. If not, give more --reference-epochs, another --reference-learning-rate or "
        "models of the same task (--references), or say --ancestor none"
    )
