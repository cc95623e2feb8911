"""Innocent models to compare with: made from the owner's images, or taken as ONNX files.

Half of them shape the queries, the other half only sets thresholds.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from adapters.suspect import Suspect
from audit.bundle.manifest import ModelRecord
from audit.bundle.retraining import RetrainedModel
from audit.verdict.p_values import innocents_needed
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.pools.reference_kinds import (
    MadeReference,
    ReferenceRecipe,
    make_reference,
    untrained_reference,
)
from generator.sources.source import Source, weights_digest
from generator.sources.torch_suspect import TorchSuspect
from generator.training.checkpoints import restore, run_digest, store
from generator.training.ranks import current_ranks

Role = Literal["innocent", "derived"]


@dataclass(frozen=True, kw_only=True)
class PoolModel:
    """A model that takes part in crafting: who it is, and how it is asked."""

    name: str
    role: Role
    stratum: str
    provenance: str
    weights_sha256: str
    suspect: Suspect
    """Gives probabilities."""
    lineage: str | None = None
    """Network that it and others were made from; None for its own."""
    network: nn.Module | None = None
    """Pixels in [0, 1] to logits, where gradients can be had."""
    retrained: RetrainedModel | None = None
    """How it is told from others of its recipe; None where no recipe makes it again."""

    def record(self, use: Literal["selection", "calibration"], accuracy: float) -> ModelRecord:
        """Return the model's entry in the manifest."""
        return ModelRecord(
            name=self.name,
            role=self.role,
            use=use,
            stratum=self.stratum,
            lineage=self.lineage,
            provenance=self.provenance,
            weights_sha256=self.weights_sha256,
            control_accuracy=accuracy,
        )


def torch_pool_model(
    model: nn.Module,
    *,
    name: str,
    role: Role,
    stratum: str,
    provenance: str,
    lineage: str | None = None,
    retrained: RetrainedModel | None = None,
) -> PoolModel:
    """Wrap a torch model that takes pixels in [0, 1]."""
    return PoolModel(
        name=name,
        role=role,
        stratum=stratum,
        lineage=lineage,
        provenance=provenance,
        weights_sha256=weights_digest(model),
        suspect=TorchSuspect(name, model),
        network=model,
        retrained=retrained,
    )


def networks(models: Sequence[PoolModel]) -> list[nn.Module]:
    """Return those whose gradients can be had."""
    return [model.network for model in models if model.network is not None]


def train_references(
    source: Source,
    data: ImageSet,
    *,
    num_references: int,
    epochs: float,
    learning_rate: float,
    seed: int,
    judge: Callable[[nn.Module], float] = lambda model: 1.0,
    floor: float = 0.0,
    max_replaced: int = 6,
    work: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> list[PoolModel]:
    """Train innocents on the owner's images, from scratch (`generator.pools.reference_kinds`).

    One that learns too little is trained again at a quarter of the rate, and then replaced by
    another one.

    Args:
        source: Gives the architecture; its weights are not used.
        data: The owner's labelled images.
        num_references: How many; their kinds are taken in turn.
        epochs: Of the full recipe.
        learning_rate: Peak rate of SGD.
        seed: Source of every random draw.
        judge: Returns a model's accuracy.
        floor: Least accuracy of one that takes part.
        max_replaced: Replace so many that learn too little, at most.
        work: Folder for finished ones; taken up again if they belong to the same run.
        on_step: Called with (steps done, steps in all).
        tell: Says which ones were replaced.

    Returns:
        So many, or fewer if too many of them do not learn.
    """
    recipe = ReferenceRecipe(epochs=epochs, learning_rate=learning_rate, seed=seed)
    ranks = current_ranks()
    references: list[PoolModel] = []
    # Numbers that nobody has used yet take the place of those that learnt nothing.
    numbers, most = list(range(num_references)), num_references + max_replaced
    while numbers:
        trained: list[tuple[MadeReference, int]] = []
        for place, number in enumerate(numbers):

            def report(step: int, total: int, place: int = place, num: int = len(numbers)) -> None:
                if on_step is not None:
                    # In thousandths of a model, since kinds differ in their number of steps.
                    done = (len(references) + place) * 1000 + 1000 * step // total
                    on_step(done, (len(references) + num) * 1000)

            if ranks.owner(number) == ranks.rank:
                trained.append(
                    _trained(source, data, number, recipe, judge, floor, work=work, report=report)
                )
            else:
                # Another process trains it; here is the place that its weights come into.
                trained.append((untrained_reference(source, data, number, recipe), 0))
        last, left = numbers[-1], 0
        for number, (made, attempt) in zip(numbers, trained, strict=True):
            # Only when all are trained, so that nobody waits for one while there is another.
            ranks.share(made.model, ranks.owner(number))
            attempt = int(ranks.add_up(torch.tensor(attempt)))
            accuracy = judge(made.model)
            if accuracy < floor:
                tell(
                    f"reference-{number:02d} ({made.kind.stratum}) learnt too little: "
                    f"{accuracy:.0%} right, expected {floor:.0%}; another one takes its place."
                )
                left += 1
                continue
            rate = f", at {_RATES[attempt]:g} of the rate" if attempt else ""
            references.append(
                torch_pool_model(
                    made.model,
                    name=f"reference-{number:02d}",
                    role="innocent",
                    stratum=made.kind.stratum,
                    provenance=made.provenance + rate,
                    retrained=RetrainedModel(number=number, rate=_RATES[attempt]),
                )
            )
        numbers = list(range(last + 1, min(last + 1 + left, most)))
    return references


_RATES = (1.0, 0.25)
"""Of the learning rate, tried in turn until a reference learns."""


def _trained(
    source: Source,
    data: ImageSet,
    number: int,
    recipe: ReferenceRecipe,
    judge: Callable[[nn.Module], float],
    floor: float,
    *,
    work: Path | None,
    report: Callable[[int, int], None],
) -> tuple[MadeReference, int]:
    """Return a reference, and by which of `_RATES` it learnt; the last one if by none."""
    made, attempt = None, 0
    for attempt, share in enumerate(_RATES):  # noqa: B007 (told with what is returned)
        milder = replace(recipe, learning_rate=recipe.learning_rate * share)
        made = _from_checkpoint_or_new(source, data, number, milder, work, report)
        if judge(made.model) >= floor:
            break
    assert made is not None, "there is a rate"
    return made, attempt


def _from_checkpoint_or_new(
    source: Source,
    data: ImageSet,
    number: int,
    recipe: ReferenceRecipe,
    work: Path | None,
    report: Callable[[int, int], None],
) -> MadeReference:
    if work is None:
        return make_reference(source, data, number, recipe, on_step=report)
    found = untrained_reference(source, data, number, recipe)
    told = [asdict(recipe), asdict(found.kind), number]
    path = work / f"reference-{run_digest(found.model, data, told)[:16]}.safetensors"
    if restore(found.model, path):
        return found
    made = make_reference(source, data, number, recipe, on_step=report)
    store(made.model, path)
    return made


def split_for_use(
    models: Sequence[PoolModel],
) -> tuple[list[PoolModel], list[PoolModel]]:
    """Split models into selection and calibration, stratum by stratum and lineage by lineage.

    Where a stratum is odd, the surplus goes to calibration first. A lineage is never in both: what
    shaped the queries says nothing about its own kin.
    """
    selection: dict[str, list[PoolModel]] = {}
    calibration: dict[str, list[PoolModel]] = {}
    for stratum in sorted({model.stratum for model in models}):
        for number, model in enumerate(models):
            if model.stratum != stratum:
                continue
            unit = model.lineage or f"/{number}"
            # Whoever has fewer gets the next one, across strata, so that the halves stay equal.
            fewer = calibration if len(calibration) <= len(selection) else selection
            side = next((one for one in (selection, calibration) if unit in one), fewer)
            side.setdefault(unit, []).append(model)
    return [*chain(*selection.values())], [*chain(*calibration.values())]


def num_lineages(models: Sequence[PoolModel]) -> int:
    """Return how many networks some models come from."""
    return len({model.lineage or f"/{number}" for number, model in enumerate(models)})


def require_enough(
    num_calibration: int, rate: float, role: Role, *, is_halved: bool = True
) -> None:
    """Refuse an error rate that so few calibration models cannot support.

    Args:
        num_calibration: How many there are.
        rate: The rate.
        role: Of these models.
        is_halved: Whether as many again serve to craft.

    Raises:
        GenerationError: States how many are needed.
    """
    needed = innocents_needed(rate)
    if num_calibration < needed:
        field = "alpha" if role == "innocent" else "beta"
        given = f"half of all {role} models calibrate, so give {2 * needed}"
        if not is_halved:
            given = f"give {needed} ('kinprint references' makes them)"
        raise GenerationError(
            f"{field}: {rate:g} needs at least {needed} {role} calibration models, got "
            f"{num_calibration}; {given} or raise --{field} to {1 / (num_calibration + 1):.3f}"
        )
