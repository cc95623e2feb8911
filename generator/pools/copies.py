"""Copies for the likelihood ratio: the source after what thieves do to its weights.

Two disjoint families: one shapes the queries, the other only sets thresholds. No two members share
a setting, so that a calibration model is never a copy of a selection model.

What ruins one network leaves another as it was. No thief keeps a ruined copy, and such a one says
nothing about suspects: a change that costs too much accuracy is made again, more mildly.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from generator.images.labelled import ImageSet
from generator.pools.references import PoolModel, torch_pool_model
from generator.pools.removal import (
    add_weight_noise,
    fine_tune,
    harden_in_steps,
    prune,
    prune_and_tune,
    quantise_weights,
    round_to_half,
)
from generator.training.checkpoints import kept_or_made, run_digest
from generator.training.device import seeded
from generator.training.ranks import current_ranks

SELECTION_RADII, CALIBRATION_RADII = (3, 6), (2, 4, 8)
"""Of hardened copies, in 1/255."""
HARDENED = "adversarially fine-tuned"
"""Their stratum."""
_LONG_EPOCHS = 12
"""Of a thief who fine-tunes until little is left."""
_RATES, _SHARES, _NOISES, _MORE_BITS = (1, 1 / 4, 1 / 16), (1, 0.85, 0.7), (1, 0.5, 0.25), (0, 1, 2)
"""By mildness: factors of learning rates, of pruned shares and of noise, and bits more."""
_SUFFIXES = ("", "-milder", "-mildest")
_HARDENING_RATE = 0.02
"""Peak rate of SGD."""


@dataclass(frozen=True, kw_only=True)
class CopyImages:
    """What copies learn from."""

    tuning: ImageSet
    """Images that the source never saw."""
    training: ImageSet
    """The owner's, of which there are more: hardening takes many."""


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One way of changing weights, which may leave several copies."""

    names: tuple[str, ...]
    stratum: str
    make: Callable[[], list[nn.Module]]
    training: tuple[ImageSet, Any] | None = None
    """Images and settings on which its copies depend besides the source; None where they are made
    at once and need not be kept."""
    mildness: int = 0
    milder: "Callable[[], _Job] | None" = None
    """The same change with less of it; None where it is at its mildest."""

    def paths(self, source: nn.Module, work: Path | None) -> list[Path]:
        """Return where its copies are kept."""
        if work is None or self.training is None:
            return []
        images, settings = self.training
        run = run_digest(source, images, [*self.names, settings])[:16]
        return [work / f"copy-{name}-{run}.safetensors" for name in self.names]


@dataclass(frozen=True, kw_only=True)
class MadeCopies:
    """Copies by use."""

    selection: list[PoolModel]
    calibration: list[PoolModel]
    hardening_rate: float
    """Peak rate at which copies for selection were hardened."""


def make_copies(
    source: nn.Module,
    mimics: Sequence[nn.Module],
    images: CopyImages,
    *,
    seed: int,
    hardening_epochs: float,
    with_selection: bool = True,
    is_good: Callable[[nn.Module], bool] = lambda model: True,
    work: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> MadeCopies:
    """Make copies for selection and for calibration.

    Args:
        source: Logits from pixels in [0, 1].
        mimics: Snapshots under adversarial fine-tuning, in order.
        images: What copies learn from; none of them is a candidate for queries.
        seed: Source of every random draw.
        hardening_epochs: Passes over half of the training images for each radius; 0 hardens none.
        with_selection: Whether to make those for selection; without, there are none.
        is_good: Says whether a copy kept what makes it worth stealing.
        work: Folder for copies that were trained.
        on_step: Called with (models done, models in all).
    """
    tuning, training = (halves(part, seed) for part in (images.tuning, images.training))
    first = _Thief(source, tuning[0], training[0], seed, hardening_epochs)
    second = _Thief(source, tuning[1], training[1], seed, hardening_epochs)
    # A mimic serves one purpose; small pools have fewer than two for each.
    last, num = len(mimics) - 1, len(mimics)
    for_selection = sorted({num // 2, last})
    for_calibration = sorted({0, 3 * num // 4} - set(for_selection))

    def snapshot(number: int) -> _Job:
        return _Job(names=(f"mimic-{number}",), stratum="mimics", make=lambda: [mimics[number]])

    selection = [
        _Job(names=("source",), stratum="copy", make=lambda: [source]),
        *map(snapshot, for_selection),
        first.pruned(25),
        first.pruned(45),
        first.pruned(60, epochs=4),
        first.tuned("tuned-01", epochs=4),
        first.tuned("tuned-long-03", epochs=_LONG_EPOCHS, learning_rate=0.03),
        first.tuned("retrained-head-a", epochs=6, retrain_last_layer=True),
        *first.hardened(SELECTION_RADII),
        first.noisy(20),
        first.rounded(5),
    ]
    calibration = [
        *map(snapshot, for_calibration),
        *(second.pruned(percent) for percent in (15, 35, 50)),
        *(second.pruned(percent, epochs=5) for percent in (55, 70)),
        second.tuned("tuned-002", learning_rate=0.002),
        second.tuned("tuned-02", learning_rate=0.02),
        second.tuned("tuned-long-05", epochs=_LONG_EPOCHS, learning_rate=0.05),
        second.tuned("head-only", last_layer_only=True, retrain_last_layer=True),
        second.tuned("retrained-head-b", epochs=6, retrain_last_layer=True),
        *second.hardened(CALIBRATION_RADII),
        second.noisy(15),
        second.rounded(8),
        _Job(names=("half",), stratum="half precision", make=lambda: [round_to_half(source)]),
    ]
    jobs = [*(selection if with_selection else []), *calibration]
    made, mildness = _make(jobs, source, is_good, work, on_step)
    num_selecting = sum(len(job.names) for job in selection) if with_selection else 0
    hardened = [
        mild
        for job, mild in zip(jobs, mildness, strict=True)
        if job.stratum == HARDENED and len(job.names) == len(SELECTION_RADII)
    ]
    return MadeCopies(
        selection=made[:num_selecting],
        calibration=made[num_selecting:],
        hardening_rate=_HARDENING_RATE * _RATES[hardened[0] if hardened else 0],
    )


def halves(images: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """Part images: copies that shape queries and those that calibrate learn from different ones."""
    order = np.random.default_rng([seed, 1]).permutation(len(images))
    return images.take(order[: len(order) // 2]), images.take(order[len(order) // 2 :])


@dataclass(frozen=True)
class _Thief:
    """Changes copies with images of its own."""

    source: nn.Module
    tuning: ImageSet
    training: ImageSet
    seed: int
    hardening_epochs: float
    mildness: int = 0

    def tuned(self, name: str, *, learning_rate: float = 0.01, **options: float | bool) -> _Job:
        rate, asked = learning_rate * _RATES[self.mildness], options
        if self.mildness and options.get("retrain_last_layer"):
            # What a fresh head lacks is not caution but images: it begins as the source's.
            rate = learning_rate * _RATES[self.mildness - 1]
            asked = options | {"retrain_last_layer": False}

        def make() -> list[nn.Module]:
            draws = seeded(self.seed, name)
            return [
                fine_tune(self.source, self.tuning, generator=draws, learning_rate=rate, **asked)  # type: ignore[arg-type]  # options of `fine_tune`
            ]

        return _Job(
            names=(name,),
            stratum="fine-tuned",
            make=make,
            training=(self.tuning, [self.seed, rate, asked]),
            mildness=self.mildness,
            milder=self._milder(
                lambda one: one.tuned(name, learning_rate=learning_rate, **options)
            ),
        )

    def pruned(self, percent: int, epochs: float = 0) -> _Job:
        name, share = f"pruned-{percent}", percent / 100 * _SHARES[self.mildness]
        rate = 0.01 * _RATES[self.mildness]
        milder = self._milder(lambda one: one.pruned(percent, epochs))
        if not epochs:
            return _Job(
                names=(name,),
                stratum="pruned",
                make=lambda: [prune(self.source, share)],
                mildness=self.mildness,
                milder=milder,
            )

        def make() -> list[nn.Module]:
            draws = seeded(self.seed, name, "tuned")
            return [
                prune_and_tune(
                    self.source,
                    share,
                    self.tuning,
                    generator=draws,
                    epochs=epochs,
                    learning_rate=rate,
                )
            ]

        return _Job(
            names=(f"{name}-tuned",),
            stratum="pruned, fine-tuned",
            make=make,
            training=(self.tuning, [self.seed, epochs, share, rate]),
            mildness=self.mildness,
            milder=milder,
        )

    def hardened(self, radii: Sequence[int]) -> list[_Job]:
        if not self.hardening_epochs:
            return []
        names = tuple(f"hardened-{radius}" for radius in radii)
        rate = _HARDENING_RATE * _RATES[self.mildness]

        def make() -> list[nn.Module]:
            return harden_in_steps(
                self.source,
                self.training,
                [radius / 255 for radius in radii],
                generator=seeded(self.seed, *names),
                epochs=self.hardening_epochs,
                learning_rate=rate,
            )

        return [
            _Job(
                names=names,
                stratum=HARDENED,
                make=make,
                training=(self.training, [self.seed, self.hardening_epochs, rate]),
                mildness=self.mildness,
                milder=self._milder(lambda one: one.hardened(radii)[0]),
            )
        ]

    def noisy(self, percent: int) -> _Job:
        name, size = f"noise-{percent}", percent / 100 * _NOISES[self.mildness]

        def make() -> list[nn.Module]:
            draws = seeded(self.seed, name)
            return [add_weight_noise(self.source, size, generator=draws)]

        return _Job(
            names=(name,),
            stratum="weight noise",
            make=make,
            mildness=self.mildness,
            milder=self._milder(lambda one: one.noisy(percent)),
        )

    def rounded(self, bits: int) -> _Job:
        left = bits + _MORE_BITS[self.mildness]
        return _Job(
            names=(f"rounded-{bits}",),
            stratum="quantised",
            make=lambda: [quantise_weights(self.source, left)],
            mildness=self.mildness,
            milder=self._milder(lambda one: one.rounded(bits)),
        )

    def _milder(self, again: "Callable[[_Thief], _Job]") -> Callable[[], _Job] | None:
        if self.mildness + 1 == len(_SUFFIXES):
            return None
        return lambda: again(replace(self, mildness=self.mildness + 1))


def _make(
    jobs: Sequence[_Job],
    source: nn.Module,
    is_good: Callable[[nn.Module], bool],
    work: Path | None,
    on_step: Callable[[int, int], None] | None,
) -> tuple[list[PoolModel], list[int]]:
    """Do the jobs, each in one of the processes, and share what comes out.

    Returns:
        The copies, and how mildly each job was done.
    """
    ranks = current_ranks()
    models: list[list[nn.Module]] = []
    mildness = torch.zeros(len(jobs), device=next(source.parameters()).device)
    for number, job in enumerate(jobs):
        # Somebody else's are places of the right shape, which `share` fills.
        some = [copy.deepcopy(source) for _ in job.names]
        if ranks.owner(number) == ranks.rank:
            some, mildness[number] = _done(job, source, is_good, work)
        models.append(some)
        if on_step is not None:
            on_step(number + 1, len(jobs))
    # Only the process that did a job knows how mildly, and all have to call its copies alike.
    found = [int(one) for one in ranks.add_up(mildness).round()]
    made = []
    for number, (job, some) in enumerate(zip(jobs, models, strict=True)):
        for name, model in zip(job.names, some, strict=True):
            ranks.share(model, ranks.owner(number))
            called = f"{name}{_SUFFIXES[found[number]]}"
            made.append(
                torch_pool_model(
                    model,
                    name=called,
                    role="derived",
                    stratum=job.stratum,
                    provenance=f"derived from the source: {job.stratum} ({called})",
                )
            )
    return made, found


def _done(
    job: _Job, source: nn.Module, is_good: Callable[[nn.Module], bool], work: Path | None
) -> tuple[list[nn.Module], int]:
    """Do a job, again and more mildly while it leaves a copy that is not good."""
    while True:
        places = [copy.deepcopy(source) for _ in job.names]
        some = kept_or_made(places, job.paths(source, work), job.make)
        if job.milder is None or all(map(is_good, some)):
            return some, job.mildness
        job = job.milder()
