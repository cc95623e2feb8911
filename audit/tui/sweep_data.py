"""What the screen of a sweep shows, read from its folder. Runs in a thread."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.errors import AuditError
from audit.outcome import Verdict
from audit.sweep.run import JOURNAL, TABLE
from audit.sweep.summary import RANKING, Summary, summarise
from audit.sweep.table import SweepTable

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


def newest_sweep(folder: Path) -> Path | None:
    """Return the folder of the sweep that was last written to, in a folder or right below it."""
    found: list[tuple[float, Path]] = []
    try:
        with os.scandir(folder) as entries:
            places = [folder, *(Path(entry.path) for entry in entries if entry.is_dir())]
    except OSError:
        return None
    for place in places:
        with suppress(OSError):
            found.append(((place / TABLE).stat().st_mtime, place))
    return max(found)[1] if found else None


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
        rows = table.rows(
            f"SELECT * FROM results ORDER BY p_value IS NULL, {RANKING} LIMIT ?", (MAX_ROWS,)
        )
        return SweepView(
            summary=summary,
            rows=tuple(_row(row) for row in rows),
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


def _row(row: Any) -> SweepRow:
    return SweepRow(
        suspect=row["suspect"],
        name=os.path.basename(row["suspect"]),
        model=row["model"],
        bundle_path=Path(row["bundle_path"]),
        status=row["status"],
        verdict=None if row["verdict"] is None else Verdict(row["verdict"]),
        score=row["score"],
        p_value=row["p_value"],
        adjusted_p_value=row["adjusted_p_value"],
        num_questions=row["num_questions"],
        reason=row["reason"] or "",
        audit=row["audit"] if row["status"] == "asked" else None,
    )
