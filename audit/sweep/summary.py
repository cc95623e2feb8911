"""What a sweep found, in numbers small enough for a screen whatever the size of the sweep."""

from dataclasses import asdict, dataclass
from typing import Any

from audit.sweep.table import SweepTable

MAX_RANKED = 20
MAX_REASONS = 5

RANKING = "COALESCE(verdict, '') != 'derived', p_value, score DESC, suspect"
"""Order of pairs that were asked: derived ones first, then the least likely under innocence."""


@dataclass(frozen=True, kw_only=True)
class RankedPair:
    """One name and one bundle."""

    suspect: str
    model: str
    verdict: str
    score: float | None
    p_value: float
    adjusted_p_value: float | None
    is_accused: bool
    """Derived, and still significant for having asked so many."""
    record: str | None
    audit: str | None


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why pairs have no outcome."""

    task: str
    """Of the bundle."""
    status: str
    reason: str
    num_pairs: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A sweep in numbers; pairs are counted once per name."""

    num_names: int
    num_suspects: int
    """Different ones."""
    bundles: tuple[str, ...]
    """Names of the models, with their tasks."""
    by_result: dict[str, int]
    """Pairs by verdict, or by status where there is none."""
    fdr: float
    num_accused: int
    """Pairs that are derived, and significant at that rate for having asked so many."""
    smallest_p_value: float | None
    """That a pair of this sweep could have."""
    ranked: tuple[RankedPair, ...]
    reasons: tuple[Reason, ...]
    """The most frequent ones per status and task."""
    is_comparable: bool
    """False if no pair at all is about one task."""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def summarise(table: SweepTable, *, fdr: float) -> Summary:
    """Count what is in a sweep's table now.

    Args:
        table: The table.
        fdr: Share of innocents among the accused that is allowed.

    Raises:
        AuditError: The table cannot be read.
    """
    ((num_names, num_suspects),) = table.rows(
        "SELECT COUNT(*), COUNT(DISTINCT suspect) FROM files WHERE seen = ?", (table.listing,)
    )
    by_result = {
        str(row["result"]): int(row["num"])
        for row in table.rows(
            "SELECT CASE WHEN status = 'asked' THEN verdict ELSE status END AS result, "
            "COUNT(*) AS num FROM results GROUP BY 1 ORDER BY num DESC, 1"
        )
    }
    ((num_accused,),) = table.rows(
        "SELECT COUNT(*) FROM results WHERE verdict = 'derived' AND adjusted_p_value <= ?", (fdr,)
    )
    ((smallest,),) = table.rows("SELECT MIN(smallest_p_value) FROM results")
    ranked = table.rows(
        f"SELECT * FROM results WHERE p_value IS NOT NULL ORDER BY {RANKING} LIMIT ?", (MAX_RANKED,)
    )
    return Summary(
        num_names=int(num_names),
        num_suspects=int(num_suspects),
        bundles=tuple(
            f"{row['model_name']} ({row['task']})"
            for row in table.rows("SELECT * FROM bundles WHERE is_present ORDER BY model_name")
        ),
        by_result=by_result,
        fdr=fdr,
        num_accused=int(num_accused),
        smallest_p_value=smallest,
        ranked=tuple(ranked_pair(row, fdr) for row in ranked),
        reasons=_reasons(table),
        is_comparable=not by_result or set(by_result) != {"mismatched"},
    )


def ranked_pair(row: Any, fdr: float) -> RankedPair:
    """Return a row of ``results`` as it is ranked."""
    adjusted = row["adjusted_p_value"]
    is_derived = row["verdict"] == "derived"
    return RankedPair(
        suspect=row["suspect"],
        model=row["model"],
        verdict=row["verdict"],
        score=row["score"],
        p_value=row["p_value"],
        adjusted_p_value=adjusted,
        is_accused=is_derived and adjusted is not None and adjusted <= fdr,
        record=row["record"],
        audit=row["audit"],
    )


def _reasons(table: SweepTable) -> tuple[Reason, ...]:
    rows = table.rows(
        "SELECT * FROM (SELECT task, status, reason, COUNT(*) AS num, ROW_NUMBER() OVER "
        "(PARTITION BY task, status ORDER BY COUNT(*) DESC, reason) AS place FROM results JOIN "
        "bundles ON bundles.bundle = bundle_sha256 WHERE status IN ('mismatched', 'failed', "
        "'broken off', 'stopped') GROUP BY task, status, reason) WHERE place <= ? "
        "ORDER BY status, task, place",
        (MAX_REASONS,),
    )
    return tuple(
        Reason(
            task=row["task"], status=row["status"], reason=row["reason"], num_pairs=int(row["num"])
        )
        for row in rows
    )
