"""Everything derived from the source that takes part: who shapes queries, who sets thresholds.

And the innocents that are changed as copies are, so that queries tell lineage and nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from generator.images.splits import Splits
from generator.pools.copies import CopyImages, halves, make_copies
from generator.pools.deployments import make_deployments
from generator.pools.hardened_innocents import harden_innocents
from generator.pools.preconditions import accuracy_of, comparable_models, keeps_accuracy_mirrored
from generator.pools.references import PoolModel, networks, require_enough
from generator.pools.students import CALIBRATION, SELECTION, StudentKind, make_students
from generator.settings import CraftSettings
from generator.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class DerivedPool:
    """Derived models by use; no model, setting or kind of student serves both."""

    copies: list[PoolModel]
    """Changed copies that shape queries."""
    deployments: list[PoolModel]
    """The source behind servers that change images, and in ensembles; these choose queries."""
    students: list[PoolModel]
    """Extracted models that shape queries, where they are wanted."""
    calibration: list[PoolModel]
    """Copies and deployments, and students where students shape queries, that set thresholds."""
    hardened_innocents: list[PoolModel]
    """What hardened copies are set against; these shape queries, too."""
    is_mirrored: bool
    """Whether the source keeps its accuracy on mirrored images."""
    left_out: tuple[str, ...]
    """Sentences about models that lost their accuracy and take no part."""


def make_derived_pool(
    source: Source,
    mimics: Sequence[nn.Module],
    splits: Splits,
    settings: CraftSettings,
    *,
    innocents: Sequence[PoolModel],
    control_accuracy: float,
    with_copies: bool = True,
    with_pairs: bool = True,
    with_students: bool = True,
    work: Path | None,
    report: Callable[[str, int, int], None],
) -> DerivedPool:
    """Make the pool and leave out what an audit could not compare.

    Args:
        source: The owner's model.
        mimics: Snapshots under adversarial fine-tuning, in order.
        splits: The owner's images by purpose.
        settings: Of copies and students, the miss rate, and how good a suspect must be.
        innocents: Those that shape queries; partners of ensembles.
        control_accuracy: The source's.
        with_copies: Whether copies shape queries.
        with_pairs: Whether innocents are hardened as copies are.
        with_students: Whether students do, if the settings make any.
        work: Folder for finished copies and students.
        report: Progress.

    Raises:
        GenerationError: Too few models calibrate.
    """
    floor = settings.min_control_agreement * control_accuracy
    is_mirrored = keeps_accuracy_mirrored(source, splits.controls)
    made = make_copies(
        source.model,
        mimics,
        CopyImages(tuning=splits.tuning, training=splits.training),
        seed=settings.seed,
        hardening_epochs=settings.hardening_epochs,
        with_selection=with_copies,
        is_good=lambda model: accuracy_of(model, splits.controls) >= floor,
        work=work,
        on_step=lambda done, total: report("derived models", done, total),
    )
    deployments, served = make_deployments(
        source.model,
        networks(innocents),
        seed=settings.seed,
        is_mirrored=is_mirrored,
    )
    hardened_innocents = []
    if with_copies and with_pairs:
        hardened_innocents = harden_innocents(
            innocents,
            halves(splits.training, settings.seed)[0],
            splits.controls,
            epochs=settings.hardening_epochs,
            learning_rate=made.hardening_rate,
            seed=settings.seed,
            work=work,
        )
    left_out: list[str] = []

    def comparable(models: Sequence[PoolModel]) -> list[PoolModel]:
        kept, told = comparable_models(models, splits.controls, floor=floor)
        left_out.extend(told)
        return kept

    def taught(kinds: Sequence[StudentKind], stage: str) -> list[PoolModel]:
        students = make_students(
            source,
            splits.training,
            kinds,
            epochs=settings.student_epochs if with_students else 0,
            learning_rate=settings.student_learning_rate,
            seed=settings.seed,
            work=work,
            on_step=lambda done, total: report(stage, done, total),
        )
        return comparable(students)

    copies, calibration = comparable(made.selection), comparable([*made.calibration, *served])
    # A source that is in half precision already is its own half copy.
    used = {model.weights_sha256: model.name for model in copies}
    left_out += [
        f"{model.name} has the weights of {used[model.weights_sha256]}, which shapes queries, and "
        "takes no part"
        for model in calibration
        if model.weights_sha256 in used
    ]
    calibration = [model for model in calibration if model.weights_sha256 not in used]
    deployments = comparable(deployments) if with_copies else []
    # No kind of student serves both uses (`generator.pools.students`).
    students = taught(SELECTION, "students")
    calibration += taught(CALIBRATION, "students that calibrate")
    require_enough(len(calibration), settings.beta, "derived")
    return DerivedPool(
        copies=copies,
        deployments=deployments,
        students=students,
        calibration=calibration,
        hardened_innocents=comparable(hardened_innocents),
        is_mirrored=is_mirrored,
        left_out=tuple(left_out),
    )
