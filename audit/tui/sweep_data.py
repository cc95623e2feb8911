"""What the screen of a sweep shows, read from its folder. Runs in a thread."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from audit.errors import AuditError
from audit.journal.sweep_results import ResultRow, all_results, pair_counts
from audit.journal.sweep_table import SweepTable
from audit.sweep.run import JOURNAL, TABLE
from audit.sweep.summary import Summary, summarise
from audit.verdict.outcome import Verdict

MAX_ROWS = 1000
"""Pairs that are listed; the most suspicious ones."""
FDR = 0.1


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One name and one bundle."""

    suspect: str
    """Path."""
    name: str
    model: str
    bundle_path: Path
    status: str
    verdict: Verdict | None
    score: float | None
    p_value: float | None
    adjusted_p_value: float | None
    num_questions: int | None
    reason: str
    audit: str | None


@dataclass(frozen=True, kw_only=True)
class SweepView:
    """A sweep as it stands."""

    summary: Summary
    rows: tuple[SweepRow, ...]
    num_pairs: int
    """All of them."""


@dataclass(frozen=True, kw_only=True)
class FoundSweep:
    """A folder of results, in short."""

    folder: Path
    num_asked: int
    """Pairs that were asked, once per suspect and bundle."""
    num_derived: int
    asked: float
    """When the newest pair was, Unix time; 0 if none was."""
    problem: str = ""
    """Why it cannot be read, or empty."""


def sweep_folders(folder: Path) -> list[Path]:
    """Return a folder's sweeps, it and those right below it, the last one written to first."""
    found: list[tuple[float, Path]] = []
    try:
        with os.scandir(folder) as entries:
            places = [folder, *(Path(entry.path) for entry in entries if entry.is_dir())]
    except OSError:
        return []
    for place in places:
        if times := _written(place):
            found.append((max(times), place))
    return [place for _, place in sorted(found, reverse=True)]


class SweepFinder:
    """Lists the sweeps of a folder; one is read again only when it was written to."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[float, ...], FoundSweep]] = {}

    def find(self, folder: Path) -> tuple[FoundSweep, ...]:
        """Return the sweeps of a folder, the last one written to first."""
        known: dict[Path, tuple[tuple[float, ...], FoundSweep]] = {}
        for place in sweep_folders(folder):
            times = _written(place)
            before = self._known.get(place)
            known[place] = (
                before if before is not None and before[0] == times else (times, _in_short(place))
            )
        self._known = known
        return tuple(found for _, found in known.values())


def _written(folder: Path) -> tuple[float, ...]:
    """Return when a sweep's table and its log were written to; nothing if there is no table."""
    times: list[float] = []
    for name in (TABLE, f"{TABLE}-wal"):
        with suppress(OSError):
            times.append((folder / name).stat().st_mtime)
    return tuple(times) if is_sweep(folder) else ()


def _in_short(folder: Path) -> FoundSweep:
    try:
        table = SweepTable(folder / TABLE, is_read_only=True)
        try:
            counts = pair_counts(table)
        finally:
            table.close()
    except AuditError as error:
        return FoundSweep(folder=folder, num_asked=0, num_derived=0, asked=0.0, problem=str(error))
    return FoundSweep(
        folder=folder,
        num_asked=counts.num_asked,
        num_derived=counts.num_derived,
        asked=counts.last_ended or 0.0,
    )


def read_sweep(folder: Path) -> SweepView:
    """Read a sweep, also one that runs.

    Args:
        folder: Its results.

    Raises:
        AuditError: There is none, or it cannot be read.
    """
    if not is_sweep(folder):
        raise AuditError(f"sweep: expected {TABLE} in {folder}, found none")
    table = SweepTable(folder / TABLE, is_read_only=True)
    try:
        summary = summarise(table, fdr=FDR)
        return SweepView(
            summary=summary,
            rows=tuple(_row(row) for row in all_results(table, MAX_ROWS)),
            num_pairs=sum(summary.by_result.values()),
        )
    finally:
        table.close()


def is_sweep(folder: Path) -> bool:
    """Return whether a folder holds the results of a sweep."""
    return (folder / TABLE).is_file()


def sweep_journal(folder: Path) -> Path:
    """Return the journal of a sweep."""
    return folder / JOURNAL


def _row(row: ResultRow) -> SweepRow:
    return SweepRow(
        suspect=row.suspect,
        name=os.path.basename(row.suspect),
        model=row.model,
        bundle_path=Path(row.bundle_path),
        status=row.status,
        verdict=None if row.verdict is None else Verdict(row.verdict),
        score=row.score,
        p_value=row.p_value,
        adjusted_p_value=row.adjusted_p_value,
        num_questions=row.num_questions,
        reason=row.reason or "",
        audit=row.audit if row.status == "asked" else None,
    )
