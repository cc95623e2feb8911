"""Everything derived from the source that takes part: who shapes queries, who sets thresholds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from audit.verdict.p_values import innocents_needed
from generator.images.splits import Splits
from generator.pools.copies import make_derived
from generator.pools.preconditions import comparable_models
from generator.pools.references import PoolModel, require_enough
from generator.pools.students import CALIBRATION, SELECTION, StudentKind, make_students
from generator.settings import CraftSettings
from generator.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class DerivedPool:
    """Derived models by use; no model, setting or kind of student serves both."""

    copies: list[PoolModel]
    """Changed copies that shape queries."""
    students: list[PoolModel]
    """Extracted models that shape queries, where they are wanted."""
    calibration: list[PoolModel]
    """Copies, and students where students shape queries, that set thresholds."""


def make_derived_pool(
    source: Source,
    mimics: Sequence[nn.Module],
    splits: Splits,
    settings: CraftSettings,
    *,
    control_accuracy: float,
    with_copies: bool = True,
    with_students: bool = True,
    work: Path | None,
    report: Callable[[str, int, int], None],
) -> DerivedPool:
    """Make the pool and leave out what an audit could not compare.

    Args:
        source: The owner's model.
        mimics: Snapshots under adversarial fine-tuning, in order.
        splits: The owner's images by purpose.
        settings: Of the students, the miss rate, and how good a suspect must be.
        control_accuracy: The source's.
        with_copies: Whether copies shape queries.
        with_students: Whether students do, if the settings make any.
        work: Folder for finished students.
        report: Progress.

    Raises:
        GenerationError: Too few models calibrate.
    """
    floor = settings.min_control_agreement * control_accuracy
    copies, calibration = make_derived(
        source.model,
        mimics,
        splits.tuning,
        seed=settings.seed,
        with_selection=with_copies,
        on_step=lambda done, total: report("derived models", done, total),
    )
    # So many are kept in any case: beta has to be supported by somebody.
    calibration = comparable_models(
        calibration, splits.controls, floor=floor, at_least=innocents_needed(settings.beta)
    )

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
        return comparable_models(students, splits.controls, floor=floor)

    # No kind of student serves both uses (`generator.pools.students`).
    students = taught(SELECTION, "students")
    calibration += taught(CALIBRATION, "students that calibrate")
    require_enough(len(calibration), settings.beta, "derived")
    return DerivedPool(copies=copies, students=students, calibration=calibration)
