"""The values of a sweep as rows of its table, and back."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from audit.bundle.manifest import BundleContents
from audit.journal.sweep_rows import BundleRow, NameRow, PairRow
from audit.journal.sweep_table import SweepTable
from audit.scores.weight_kinship import NAME as WEIGHT_KINSHIP
from audit.suspects.found_files import SuspectKind, output_path
from audit.sweep.listing import Entry
from audit.sweep.tasks import PairResult, SuspectTask
from audit.verdict.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A name whose suspect is to be asked with some bundles."""

    file: int
    """Number of the row, in the order of the listing."""
    entry: Entry
    suspect: str | None
    """Its key, where it is known from an earlier run and the file is the same."""
    sha256: str | None


def candidates(table: SweepTable) -> Iterator[Candidate]:
    """Yield the names of the last listing in its order."""
    for row in table.files():
        entry = Entry(
            path=Path(row.name.path),
            kind=SuspectKind(row.name.kind),
            stamp=row.name.stamp,
            problem=row.name.problem,
        )
        yield Candidate(file=row.number, entry=entry, suspect=row.suspect, sha256=row.sha256)


def bundle_row(path: Path, contents: BundleContents, asked_as: str) -> BundleRow:
    """Return a bundle as the table has it.

    Args:
        path: Its file.
        contents: What is in it.
        asked_as: Tells two ways of asking apart (`SweepSettings.asked_as`).
    """
    manifest = contents.manifest
    return BundleRow(
        bundle=contents.manifest_sha256,
        path=str(path),
        model_name=manifest.model_name,
        owner=manifest.owner,
        task=task_in_words(contents),
        alpha=manifest.verdict_alpha,
        asked_as=asked_as,
    )


def name_row(entry: Entry) -> NameRow:
    """Return a name as the table has it."""
    return NameRow(
        path=str(entry.path), kind=entry.kind.value, stamp=entry.stamp, problem=entry.problem
    )


def output_rows(names: Iterable[NameRow], outputs: Iterable[str]) -> list[NameRow]:
    """Return a name for each output of a suspect, under each of its own names."""
    outputs = tuple(outputs)
    return [
        replace(name, path=str(output_path(Path(name.path), output)), kind=SuspectKind.OUTPUT.value)
        for name in names
        for output in outputs
    ]


def pair_row(
    task: SuspectTask, pair: PairResult, *, worker: str, records: Mapping[str, str]
) -> PairRow:
    """Return what became of a pair as the table has it.

    Args:
        task: The task.
        pair: One of its pairs.
        worker: Who asked.
        records: Path of the record by audit, relative to the sweep's folder.
    """
    outcome = pair.outcome
    name, score = _shown_score(outcome)
    return PairRow(
        suspect=task.suspect,
        bundle=pair.bundle,
        status=pair.status,
        verdict=outcome.verdict.value if outcome else None,
        score_name=name,
        score=score,
        p_value=outcome.p_value if outcome else None,
        smallest_p_value=outcome.smallest_p_value if outcome else None,
        control_accuracy=outcome.control.accuracy if outcome else None,
        num_questions=outcome.num_questions if outcome else None,
        cost=pair.cost,
        currency=pair.currency,
        seconds=round(pair.seconds, 4),
        exit_code=pair.exit_code,
        reason=pair.reason,
        audit=pair.audit,
        record=records.get(pair.audit or ""),
        worker=worker,
    )


def _shown_score(outcome: Outcome | None) -> tuple[str | None, float | None]:
    """Return the score of the answers, or of the weights where answers say nothing."""
    if outcome is not None and outcome.scores:
        return outcome.scores[0].name, outcome.scores[0].value
    if outcome is not None and outcome.weights is not None and outcome.weights.value is not None:
        return WEIGHT_KINSHIP, outcome.weights.value
    return None, None


def task_in_words(bundle: BundleContents) -> str:
    """Return what a bundle's images and classes are.

    Example: ``32x32x3, 10 classes``.
    """
    task = bundle.manifest.task
    return f"{task.height}x{task.width}x{task.channels}, {task.num_classes} classes"
