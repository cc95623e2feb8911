"""From asked suspects to the tables of a paper, with intervals, as Markdown and JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from audit.verdict.p_values import clopper_pearson
from benchmarks.arena.asking import Asked
from benchmarks.arena.metrics import (
    Scores,
    Separation,
    aruc,
    auc,
    bootstrap,
    equal_error_rate,
    true_positive_rate,
)

PAPER_AUC = {
    "mfue-w": 1.00,
    "mfue-b": 1.00,
    "adv-tra": 0.94,
    "metafinger": 0.81,
    "ipguard": 0.63,
    "cae": 0.58,
}
"""Xu et al., MFUE, KDD 2026, Table 1, CIFAR-10."""
MEASURES: dict[str, Callable[[Scores, Scores], float]] = {
    "AUC": auc,
    "ARUC": aruc,
    "TPR at 1 % FPR": lambda guilty, cleared: true_positive_rate(guilty, cleared, 0.01),
    "TPR at 10 % FPR": lambda guilty, cleared: true_positive_rate(guilty, cleared, 0.10),
    "EER": equal_error_rate,
}
GROUPS = (
    *("weight changes", "deployment changes", "input processing", "ensembles", "extraction"),
    "innocents",
)
EXTRACTED, PROCESSED = "extracted", ("temperature", "decimals", "DP-Logits")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One score of one bundle over everybody."""

    bundle: str
    score: str
    rows: Sequence[Asked]

    @property
    def title(self) -> str:
        """Return how the tables call it."""
        is_own = self.bundle.startswith(self.score) or self.score in ("matching-rate",)
        return self.bundle if is_own else f"{self.bundle}: {self.score}"

    def values(self, chosen: Sequence[Asked]) -> dict[str, Scores]:
        """Return the scores of some suspects by kind."""
        kinds: dict[str, list[float]] = {}
        for row in chosen:
            kinds.setdefault(row.kind, []).append(row.scores[self.score])
        return {kind: np.array(values) for kind, values in kinds.items()}


def columns(rows: Sequence[Asked]) -> list[Column]:
    """Return every score of every bundle, in the order of the rows."""
    found: dict[tuple[str, str], list[Asked]] = {}
    for row in rows:
        for score in row.scores:
            found.setdefault((row.bundle, score), []).append(row)
    return [Column(bundle=b, score=s, rows=some) for (b, s), some in found.items()]


def is_collapsed(row: Asked, below: float) -> bool:
    """Say whether a suspect is hardly a classifier any more."""
    return row.control_accuracy < below * row.source_accuracy


def group_of(row: Asked) -> str:
    """Return the group of a suspect in the main table."""
    if not row.is_derived:
        return "innocents"
    if row.kind.startswith(EXTRACTED):
        return "extraction"
    if row.kind.startswith("ensemble"):
        return "ensembles"
    if " + " in row.suspect:
        is_output = any(word in row.kind for word in PROCESSED)
        return "deployment changes" if is_output else "input processing"
    return "weight changes"


def separation_table(
    column: Column, groups: Sequence[str], *, below: float, seed: int
) -> dict[str, Separation]:
    """Return every measure of a score over derived suspects of some groups and all innocents.

    Suspects whose accuracy collapsed are left out.
    """
    kept = [row for row in column.rows if not is_collapsed(row, below)]
    guilty = column.values([row for row in kept if group_of(row) in groups])
    cleared = column.values([row for row in kept if not row.is_derived])
    if not guilty or not cleared:
        return {}
    found = {}
    for name, measure in MEASURES.items():
        values = np.concatenate([*guilty.values(), *cleared.values()])
        if name == "ARUC" and (values.min() < 0 or values.max() > 1):
            continue
        found[name] = bootstrap(measure, guilty, cleared, seed=seed)
    return found


def auc_by_kind(column: Column, *, below: float) -> dict[str, tuple[float, int]]:
    """Return the AUC of each kind of derived suspects against all innocents, and their number."""
    guilty, cleared = _kept(column, below)
    return {kind: (auc(values, cleared), len(values)) for kind, values in guilty.items()}


def auc_by_suspect(column: Column, group: str, *, below: float) -> dict[str, float]:
    """Return the AUC of each derived suspect of a group, alone, against all innocents."""
    _, cleared = _kept(column, below)
    return {
        row.suspect: auc(np.array([row.scores[column.score]]), cleared)
        for row in column.rows
        if group_of(row) == group and not is_collapsed(row, below)
    }


def _kept(column: Column, below: float) -> tuple[dict[str, Scores], Scores]:
    """Return the scores of derived suspects by kind and those of all innocents."""
    kept = [row for row in column.rows if not is_collapsed(row, below)]
    cleared = column.values([row for row in kept if not row.is_derived])
    guilty = column.values([row for row in kept if row.is_derived])
    return guilty, np.concatenate(list(cleared.values()))


def auc_by_accuracy(
    column: Column, groups: Sequence[str], *, width: float = 0.05
) -> list[tuple[float, int, int, float]]:
    """Return (lower end, derived, innocent, AUC) of every accuracy band that holds both."""
    bands = []
    for start in np.arange(0.0, 1.0, width):
        inside = [row for row in column.rows if start <= row.control_accuracy < start + width]
        guilty = [row.scores[column.score] for row in inside if group_of(row) in groups]
        cleared = [row.scores[column.score] for row in inside if not row.is_derived]
        if guilty and cleared:
            area = auc(np.array(guilty), np.array(cleared))
            bands.append((float(start), len(guilty), len(cleared), area))
    return bands


def decisions(
    rows: Sequence[Asked],
) -> dict[str, dict[str, int | float | tuple[float, float]]]:
    """Return by group how early-stopping audits ended and what they cost."""
    groups: dict[str, list[Asked]] = {}
    for row in sorted(rows, key=lambda row: GROUPS.index(group_of(row))):
        groups.setdefault(f"{group_of(row)}: {row.kind}", []).append(row)
    table: dict[str, dict[str, int | float | tuple[float, float]]] = {}
    for name, some in groups.items():
        queries = np.array([row.early_queries for row in some])
        told = [row.early_verdict for row in some]
        num_derived = told.count("derived")
        table[name] = {
            "suspects": len(some),
            "derived": num_derived,
            "independent": told.count("independent"),
            "inconclusive": told.count("inconclusive"),
            "not comparable": told.count("not comparable"),
            "queries, median": float(np.median(queries)),
            "queries, 95th percentile": float(np.percentile(queries, 95)),
            "called derived, 95 % interval": clopper_pearson(num_derived, len(some)),
        }
    return table


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def in_words(one: Separation | None) -> str:
    """Return a figure with its interval."""
    return "" if one is None else f"{one.value:.3f} ({one.low:.2f} to {one.high:.2f})"


def as_json(found: Mapping[str, Separation]) -> dict[str, dict[str, float]]:
    """Return figures as JSON takes them."""
    return {name: vars(one) for name, one in found.items()}
