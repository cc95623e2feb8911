"""Students of the source: what a thief has who only saw its answers.

Two disjoint groups, as in `generator.pools.copies`: one shapes queries, the other only sets
thresholds. In both, students differ in architecture and in what the source told them.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from generator.images.labelled import ImageSet
from generator.pools.extraction import Answers, extract
from generator.pools.references import PoolModel, torch_pool_model
from generator.sources.source import Source
from generator.sources.untrained import Architecture, untrained
from generator.training.checkpoints import restore, run_digest, store
from generator.training.device import seeded
from generator.training.loop import TrainingRecipe
from generator.training.ranks import current_ranks


@dataclass(frozen=True, kw_only=True)
class StudentKind:
    """One way of extracting."""

    architecture: Architecture
    answers: Answers

    @property
    def name(self) -> str:
        """Return what a student of the kind is called."""
        return f"student-{self.architecture}-{self.answers}"


_TOLD = {"soft": "probabilities", "hard": "labels"}
SELECTION = (
    StudentKind(architecture="source", answers="soft"),
    StudentKind(architecture="plain", answers="hard"),
    StudentKind(architecture="residual", answers="soft"),
)
CALIBRATION = (
    StudentKind(architecture="source", answers="hard"),
    StudentKind(architecture="plain", answers="soft"),
    StudentKind(architecture="residual", answers="hard"),
)


def make_students(
    source: Source,
    images: ImageSet,
    kinds: Sequence[StudentKind],
    *,
    epochs: float,
    learning_rate: float,
    seed: int,
    work: Path | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> list[PoolModel]:
    """Make one student of each kind.

    Args:
        source: The teacher.
        images: What it is asked about.
        kinds: Who is wanted.
        epochs: Of a student's training; 0 makes no students.
        learning_rate: Peak rate of SGD.
        seed: Source of every random draw.
        work: Folder for finished students; taken up again if they belong to the same run.
        on_step: Called with (steps done, steps in all).
    """
    if not epochs:
        return []
    recipe = TrainingRecipe(
        epochs=epochs, learning_rate=learning_rate, batch_size=min(128, max(16, len(images) // 20))
    )
    device = next(source.model.parameters()).device
    run = run_digest(source.model, images, [asdict(recipe), seed])
    ranks = current_ranks()
    models = []
    for number, kind in enumerate(kinds):

        def report(step: int, total: int, number: int = number) -> None:
            on_step(number * total + step, len(kinds) * total)

        # Another stream than the training's, so that neither moves the other's draws.
        weights_seed = seeded(seed, kind.name, "weights").initial_seed() % 2**31
        # In every process, so that there is a place for the weights that another one trains.
        student = untrained(source, kind.architecture, images, weights_seed).to(device)
        path = None if work is None else work / f"{kind.name}-{run[:16]}.safetensors"
        is_mine = ranks.owner(number) == ranks.rank
        if is_mine and not (path is not None and restore(student, path)):
            extract(
                *(source.model, student, images, recipe),
                answers=kind.answers,
                generator=seeded(seed, kind.name),
                on_step=report,
            )
            if path is not None:
                store(student, path)
        models.append(student)
    for number, student in enumerate(models):
        # Only when all are trained, as in `generator.pools.references`.
        ranks.share(student, ranks.owner(number))
    return [
        torch_pool_model(
            student,
            name=kind.name,
            role="derived",
            stratum="extracted",
            provenance=f"derived from the source: learnt its {_TOLD[kind.answers]} from scratch "
            f"({kind.architecture} architecture, {len(images)} images, {epochs:g} epochs)",
        )
        for kind, student in zip(kinds, models, strict=True)
    ]
