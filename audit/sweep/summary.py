"""What a sweep found, in numbers small enough for a screen whatever the size of the sweep."""

from dataclasses import asdict, dataclass
from typing import Any

from audit.journal.sweep_results import (
    Reason,
    ResultRow,
    num_accused,
    num_by_result,
    ranked_results,
    reasons,
    smallest_p_value,
)
from audit.journal.sweep_table import SweepTable

MAX_RANKED = 20
MAX_REASONS = 5


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
    by_result = num_by_result(table)
    return Summary(
        num_names=table.num_names,
        num_suspects=table.num_suspects,
        bundles=tuple(f"{one.model_name} ({one.task})" for one in table.bundles()),
        by_result=by_result,
        fdr=fdr,
        num_accused=num_accused(table, fdr),
        smallest_p_value=smallest_p_value(table),
        ranked=tuple(ranked_pair(row, fdr) for row in ranked_results(table, MAX_RANKED)),
        reasons=reasons(table, MAX_REASONS),
        is_comparable=not by_result or set(by_result) != {"mismatched"},
    )


def ranked_pair(row: ResultRow, fdr: float) -> RankedPair:
    """Return a row that has a p-value as it is ranked."""
    adjusted = row.adjusted_p_value
    is_derived = row.verdict == "derived"
    assert row.verdict is not None, "whatever has a p-value"
    assert row.p_value is not None, "only such rows are ranked"
    return RankedPair(
        suspect=row.suspect,
        model=row.model,
        verdict=row.verdict,
        score=row.score,
        p_value=row.p_value,
        adjusted_p_value=adjusted,
        is_accused=is_derived and adjusted is not None and adjusted <= fdr,
        record=row.record,
        audit=row.audit,
    )
