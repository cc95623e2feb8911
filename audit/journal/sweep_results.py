"""What people ask the table of a sweep: its results, ranked, counted and grouped."""

from dataclasses import dataclass, fields

from audit.journal.sweep_table import SweepTable

_RANKING = "COALESCE(verdict, '') != 'derived', p_value, score DESC, suspect"
"""Order of pairs that were asked: derived ones first, then the least likely under innocence."""


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """A row of ``results``, column by column: one name and one bundle (docs/sweeps.md)."""

    suspect: str
    """Path."""
    model: str
    bundle_path: str
    status: str
    """A `PairStatus`, or ``waiting``."""
    verdict: str | None
    score_name: str | None
    score: float | None
    p_value: float | None
    smallest_p_value: float | None
    """That this bundle can give."""
    adjusted_p_value: float | None
    """For having asked all pairs."""
    control_accuracy: float | None
    num_questions: int | None
    cost: str | None
    """Exact decimal."""
    currency: str | None
    seconds: float | None
    exit_code: int | None
    reason: str | None
    record: str | None
    """Path, relative to the sweep's folder."""
    audit: str | None
    kind: str
    suspect_sha256: str | None
    suspect_key: str | None
    bundle_sha256: str
    worker: str | None
    ended: float | None
    """Unix time, seconds."""
    file_id: int
    """Number of the name."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why pairs have no outcome."""

    task: str
    """Of the bundle."""
    status: str
    reason: str
    num_pairs: int


@dataclass(frozen=True, kw_only=True)
class PairCounts:
    """The pairs of all runs, once per suspect and bundle, also where no name leads to them now."""

    num_asked: int
    num_derived: int
    last_ended: float | None
    """When the newest one was asked, Unix time; None if there is none."""


_COLUMNS = ", ".join(field.name for field in fields(ResultRow))


def results_of_file(table: SweepTable, file: int) -> tuple[ResultRow, ...]:
    """Return the results of one name.

    Args:
        table: The table.
        file: Number of the name.

    Raises:
        AuditError: The table cannot be read.
    """
    return _results(table, "WHERE file_id = ?", file)


def results_of_suspect(
    table: SweepTable, suspect: str, bundles: tuple[str, ...]
) -> tuple[ResultRow, ...]:
    """Return the results of one suspect, under each of its names, with some bundles.

    Args:
        table: The table.
        suspect: Its key.
        bundles: SHA-256 of their manifests.

    Raises:
        AuditError: The table cannot be read.
    """
    places = ", ".join("?" * len(bundles))
    return _results(
        table, f"WHERE suspect_key = ? AND bundle_sha256 IN ({places})", suspect, *bundles
    )


def ranked_results(table: SweepTable, limit: int) -> tuple[ResultRow, ...]:
    """Return pairs that have a p-value, the most suspicious first.

    Args:
        table: The table.
        limit: Largest number of them.

    Raises:
        AuditError: The table cannot be read.
    """
    return _results(table, f"WHERE p_value IS NOT NULL ORDER BY {_RANKING} LIMIT ?", limit)


def all_results(table: SweepTable, limit: int) -> tuple[ResultRow, ...]:
    """Return pairs, the most suspicious first and those without a p-value last.

    Args:
        table: The table.
        limit: Largest number of them.

    Raises:
        AuditError: The table cannot be read.
    """
    return _results(table, f"ORDER BY p_value IS NULL, {_RANKING} LIMIT ?", limit)


def ranked_files(table: SweepTable, limit: int) -> tuple[int, ...]:
    """Return the numbers of names, by the most suspicious pair of each.

    Args:
        table: The table.
        limit: Largest number of them.

    Raises:
        AuditError: The table cannot be read.
    """
    rows = table.rows(
        "SELECT file_id FROM results GROUP BY file_id "
        "ORDER BY MIN(COALESCE(verdict, '') != 'derived'), MIN(COALESCE(p_value, 2)), "
        "MAX(CASE WHEN p_value IS NULL THEN -1e300 ELSE score END) DESC, MIN(suspect) LIMIT ?",
        (limit,),
    )
    return tuple(int(file) for (file,) in rows)


def num_ranked(table: SweepTable) -> int:
    """Return the number of pairs that have a p-value.

    Raises:
        AuditError: The table cannot be read.
    """
    ((num,),) = table.rows("SELECT COUNT(*) FROM results WHERE p_value IS NOT NULL")
    return int(num)


def num_by_result(table: SweepTable) -> dict[str, int]:
    """Return the number of pairs by verdict, or by status without one; the largest first.

    Raises:
        AuditError: The table cannot be read.
    """
    rows = table.rows(
        "SELECT CASE WHEN status = 'asked' THEN verdict ELSE status END AS result, "
        "COUNT(*) AS num FROM results GROUP BY 1 ORDER BY num DESC, 1"
    )
    return {str(row["result"]): int(row["num"]) for row in rows}


def num_accused(table: SweepTable, fdr: float) -> int:
    """Return the number of derived pairs that are significant for having asked so many.

    Args:
        table: The table.
        fdr: Share of innocents among the accused that is allowed.

    Raises:
        AuditError: The table cannot be read.
    """
    ((num,),) = table.rows(
        "SELECT COUNT(*) FROM results WHERE verdict = 'derived' AND adjusted_p_value <= ?", (fdr,)
    )
    return int(num)


def smallest_p_value(table: SweepTable) -> float | None:
    """Return the smallest p-value that a pair could have, None before the first one.

    Raises:
        AuditError: The table cannot be read.
    """
    ((smallest,),) = table.rows("SELECT MIN(smallest_p_value) FROM results")
    return None if smallest is None else float(smallest)


def reasons(table: SweepTable, limit: int) -> tuple[Reason, ...]:
    """Return why pairs have no outcome, the most frequent reasons first.

    Args:
        table: The table.
        limit: Largest number of them per status and task.

    Raises:
        AuditError: The table cannot be read.
    """
    rows = table.rows(
        "SELECT * FROM (SELECT task, status, reason, COUNT(*) AS num, ROW_NUMBER() OVER "
        "(PARTITION BY task, status ORDER BY COUNT(*) DESC, reason) AS place FROM results JOIN "
        "bundles ON bundles.bundle = bundle_sha256 WHERE status IN ('mismatched', 'failed', "
        "'broken off', 'stopped') GROUP BY task, status, reason) WHERE place <= ? "
        "ORDER BY status, task, place",
        (limit,),
    )
    return tuple(
        Reason(
            task=row["task"], status=row["status"], reason=row["reason"], num_pairs=int(row["num"])
        )
        for row in rows
    )


def exit_codes(table: SweepTable) -> frozenset[int]:
    """Return the exit codes that single audits of the pairs would have ended with.

    Raises:
        AuditError: The table cannot be read.
    """
    rows = table.rows("SELECT DISTINCT exit_code FROM results WHERE exit_code IS NOT NULL")
    return frozenset(int(code) for (code,) in rows)


def pair_counts(table: SweepTable) -> PairCounts:
    """Count the pairs of all runs.

    Raises:
        AuditError: The table cannot be read.
    """
    (row,) = table.rows(
        "SELECT COUNT(verdict) AS asked, MAX(ended) AS ended, "
        "COALESCE(SUM(verdict = 'derived'), 0) AS derived FROM pairs"
    )
    return PairCounts(num_asked=row["asked"], num_derived=row["derived"], last_ended=row["ended"])


def _results(table: SweepTable, which: str, *values: object) -> tuple[ResultRow, ...]:
    rows = table.rows(f"SELECT {_COLUMNS} FROM results {which}", values)
    return tuple(ResultRow(**dict(row)) for row in rows)
