"""The arena's pictures."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from benchmarks.arena.asking import Asked
from benchmarks.arena.tables import Column, group_of, is_collapsed

matplotlib.use("agg")
from cycler import cycler
from matplotlib import pyplot
from matplotlib.colors import TABLEAU_COLORS

_COLOURS = {
    "innocents": "#4c78a8",
    "weight changes": "#e45756",
    "deployment changes": "#f58518",
    "input processing": "#b279a2",
    "ensembles": "#9d755d",
    "extraction": "#54a24b",
}
_LINES = cycler(linestyle=["-", "--", ":"]) * cycler(color=list(TABLEAU_COLORS.values()))
_MARKS = {"innocents": "o", "weight changes": "^", "extraction": "s"}


def draw_roc(columns: Sequence[Column], path: Path, *, below: float) -> None:
    """Draw the ROC curve of every score over everything derived from weights."""
    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    axes.set_prop_cycle(_LINES)
    for column in columns:
        kept = [row for row in column.rows if not is_collapsed(row, below)]
        guilty = np.array(
            [row.scores[column.score] for row in kept if group_of(row) in ("weight changes",)]
        )
        cleared = np.array([row.scores[column.score] for row in kept if not row.is_derived])
        thresholds = np.unique(np.concatenate([guilty, cleared]))[::-1]
        hits = [0.0, *((guilty >= at).mean() for at in thresholds)]
        alarms = [0.0, *((cleared >= at).mean() for at in thresholds)]
        axes.plot(alarms, hits, label=column.title, linewidth=1.5)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def draw_accuracy(column: Column, path: Path) -> None:
    """Draw score against accuracy: a score that only sees weak training would slope."""
    figure, axes = pyplot.subplots(figsize=(7, 5), layout="constrained")
    for group, colour in _COLOURS.items():
        rows: list[Asked] = [row for row in column.rows if group_of(row) == group]
        axes.scatter(
            [row.control_accuracy for row in rows],
            [row.scores[column.score] for row in rows],
            c=colour,
            marker=_MARKS.get(group, "x"),
            label=f"{group} ({len(rows)})",
            s=28,
        )
    axes.set(xlabel="accuracy on the control images", ylabel=column.title)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def draw_heat_map(
    names: Sequence[str], kinds: Sequence[str], values: Sequence[Sequence[float]], path: Path
) -> None:
    """Draw AUC by score and attack, with the numbers in it; an empty frame without attacks."""
    grid = np.array(values, dtype=np.float64).reshape(len(names), len(kinds))
    figure, axes = pyplot.subplots(
        figsize=(2 + 0.62 * len(kinds), 1.6 + 0.36 * len(names)), layout="constrained"
    )
    if kinds:
        axes.imshow(grid, cmap="RdYlGn", vmin=0, vmax=1, aspect="auto")
    for row, line in enumerate(grid):
        for place, value in enumerate(line):
            if np.isfinite(value):
                axes.text(place, row, f"{value:.2f}", ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(kinds)), kinds, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def draw_noise(
    columns: Sequence[Column], values: dict[str, dict[float, float]], path: Path
) -> None:
    """Draw AUC against the noise on the logits."""
    figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
    axes.set_prop_cycle(_LINES)
    for column in columns:
        found = values.get(column.title)
        if found:
            axes.plot(list(found), list(found.values()), marker="o", label=column.title)
    axes.set(xlabel="standard deviation of noise on the logits", ylabel="AUC", ylim=(0, 1.02))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
