"""Figures of a report as inline SVG. The file that owns matplotlib here.

Deterministic: no dates, ids from the figure's name. Colours are CSS variables of the page, so that
a figure follows its light and dark theme; shapes tell the same as colours. Text stays text.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

_WIDTH_IN = 7.6
_COLOURS = {
    "ink": "#010203",
    "muted": "#010204",
    "line": "#010205",
    "innocent": "#010206",
    "derived": "#010207",
    "suspect": "#010208",
}
"""Stand-ins that are replaced by ``var(--name)``."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.family": "sans-serif",
    "font.size": 10,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": _COLOURS["ink"],
    "axes.edgecolor": _COLOURS["muted"],
    "axes.labelcolor": _COLOURS["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _COLOURS["muted"],
    "ytick.color": _COLOURS["muted"],
    "xtick.labelcolor": _COLOURS["ink"],
    "ytick.labelcolor": _COLOURS["ink"],
    "legend.frameon": False,
}


_MARKERS = {
    "derived": ("^", _COLOURS["derived"]),
    "independent": ("o", _COLOURS["innocent"]),
    "no copy": ("o", _COLOURS["innocent"]),
}
"""Shape and colour of a verdict; the others speak for nothing and are grey crosses."""


@dataclass(frozen=True, kw_only=True)
class DatedScore:
    """An audit in a timeline's figure."""

    time: float
    """Unix time."""
    verdict: str
    value: float | None
    """None where the audit has no such score."""
    derived_above: float | None
    independent_below: float | None
    changed: float | None
    """Share of the answers that changed since the audit before; None where none can be
    compared."""


def scores_figure(
    groups: Mapping[str, Sequence[float]],
    *,
    num_innocent: int,
    suspect: float,
    derived_above: float | None,
    independent_below: float | None,
    label: str,
    alternative: str,
) -> str:
    """Draw every model's score, one row per kind, and the suspect's as a line through all rows.

    Args:
        groups: Scores by kind, kinds of innocent models first.
        num_innocent: Number of kinds that are innocent.
        suspect: The suspect's score.
        derived_above: Threshold, None if there is none.
        independent_below: Likewise.
        label: Of the horizontal axis.
        alternative: What a reader who does not see it must know.

    Returns:
        One ``<svg>`` element.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": "scores"}):
        figure = Figure(figsize=(_WIDTH_IN, 1.5 + 0.36 * len(groups)), layout="constrained")
        axes = figure.add_subplot()
        for row, values in enumerate(groups.values()):
            name, marker = ("innocent", "o") if row < num_innocent else ("derived", "^")
            axes.plot(
                values,
                np.full(len(values), row),
                linestyle="",
                marker=marker,
                markersize=7,
                markerfacecolor="none",
                markeredgewidth=1.4,
                markeredgecolor=_COLOURS[name],
            )
        axes.axvline(suspect, color=_COLOURS["suspect"], linewidth=2)
        axes.plot([suspect], [len(groups)], marker="D", markersize=9, color=_COLOURS["suspect"])
        _thresholds(axes.axvline, derived_above, independent_below)
        axes.set_yticks(range(len(groups) + 1), [*groups, "the suspect"])
        axes.set_ylim(-0.6, len(groups) + 0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(label)
        _margin(axes, [suspect, derived_above, independent_below])
        return _svg(figure, "scores", alternative)


def evidence_figure(
    suspect: NDArray[np.float64],
    innocent: NDArray[np.float64],
    derived: NDArray[np.float64],
    *,
    derived_above: NDArray[np.float64],
    independent_below: NDArray[np.float64],
    label: str,
    alternative: str,
) -> str:
    """Draw how a mean over queries settles, query by query, between what would decide.

    Args:
        suspect: What its answer to each query is worth, ``[Q]``.
        innocent: Of the innocent models, ``[R, Q]``.
        derived: Of the derived models, ``[S, Q]``.
        derived_above: Boundary after 1 to Q queries, infinite where there is none, ``[Q]``.
        independent_below: Likewise.
        label: Of the vertical axis.
        alternative: See `scores_figure`.

    Returns:
        One ``<svg>`` element.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": "evidence"}):
        figure = Figure(figsize=(_WIDTH_IN, 3.4), layout="constrained")
        axes = figure.add_subplot()
        count = np.arange(1, len(suspect) + 1)
        ends = {"suspect": float(suspect.mean())}
        for models, name, dashes in (
            (innocent, "innocent", (None, None)),
            (derived, "derived", (4, 2)),
        ):
            if not len(models):
                continue
            means = np.cumsum(models, axis=1) / count  # [R, Q]
            low, high = means.min(axis=0), means.max(axis=0)
            axes.fill_between(count, low, high, color=_COLOURS[name], alpha=0.16, linewidth=0)
            for edge in (low, high):
                axes.plot(count, edge, color=_COLOURS[name], linewidth=1, dashes=dashes)
            ends[name] = float(means[:, -1].mean())
        axes.plot(count, np.cumsum(suspect) / count, color=_COLOURS["suspect"], linewidth=2.2)
        _end_labels(axes, ends, x=len(suspect))
        # Boundaries come from far away and must not flatten what they close in on.
        low, high = axes.get_ylim()
        for boundary in (derived_above, independent_below):
            shown = np.where(np.isfinite(boundary), boundary, np.nan)
            axes.plot(count, shown, color=_COLOURS["muted"], linewidth=1.2, linestyle=":")
        axes.set_ylim(low, high)
        axes.set_xlabel("queries answered")
        axes.set_ylabel(label)
        axes.set_xlim(1, max(2, len(suspect)))
        return _svg(figure, "evidence", alternative)


def race_figure(leads: NDArray[np.float64], source: int, *, alternative: str) -> str:
    """Draw how a line-up's members do, question by question: the source and its siblings.

    Args:
        leads: Scores less their mean, nats, ``[T, n]``.
        source: The source's place among the members.
        alternative: See `scores_figure`.

    Returns:
        One ``<svg>`` element.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": "race"}):
        figure = Figure(figsize=(_WIDTH_IN, 3.4), layout="constrained")
        axes = figure.add_subplot()
        # Everybody starts at 0, before the first question.
        lines = np.concatenate([np.zeros((len(leads), 1)), leads], axis=1)
        count = np.arange(lines.shape[1])
        for member in np.delete(np.arange(len(lines)), source):
            axes.plot(count, lines[member], color=_COLOURS["muted"], linewidth=0.9, alpha=0.6)
        axes.plot(count, lines[source], color=_COLOURS["derived"], linewidth=2.4)
        axes.annotate(
            "source",
            (count[-1], lines[source, -1]),
            xytext=(6, 0),
            textcoords="offset points",
            color=_COLOURS["derived"],
            weight="bold",
            va="center",
            annotation_clip=False,
        )
        axes.set_xlabel("questions answered")
        axes.set_ylabel("lead over the line-up's mean, nats")
        axes.set_xlim(0, max(2, count[-1]))
        return _svg(figure, "race", alternative)


def strata_figure(p_values: Mapping[str, float], *, alpha: float, alternative: str) -> str:
    """Draw the p-value within each kind of innocent models.

    Args:
        p_values: By kind.
        alpha: The bundle's false-positive rate.
        alternative: See `scores_figure`.

    Returns:
        One ``<svg>`` element.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": "strata"}):
        figure = Figure(figsize=(_WIDTH_IN, 1.0 + 0.36 * len(p_values)), layout="constrained")
        axes = figure.add_subplot()
        rows = np.arange(len(p_values))
        values = np.array(list(p_values.values()))
        axes.hlines(rows, 0, values, color=_COLOURS["innocent"], linewidth=2)
        axes.plot(values, rows, linestyle="", marker="o", markersize=7, color=_COLOURS["innocent"])
        for row, value in zip(rows, values, strict=True):
            axes.annotate(
                f"{value:.3g}",
                (value, row),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
            )
        axes.axvline(alpha, color=_COLOURS["muted"], linewidth=1, linestyle=":")
        axes.set_yticks(rows, list(p_values))
        axes.set_ylim(-0.6, len(p_values) - 0.4)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, 1.08)
        axes.set_xlabel(f"p-value (dotted line: the bundle's rate {alpha:g})")
        return _svg(figure, "strata", alternative)


def timeline_figure(audits: Sequence[DatedScore], *, label: str, alternative: str) -> str:
    """Draw scores between their thresholds over time, and below how many answers changed.

    Args:
        audits: The earliest first, at least one.
        label: Of the scores' axis.
        alternative: See `scores_figure`.

    Returns:
        One ``<svg>`` element.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": "timeline"}):
        figure = Figure(figsize=(_WIDTH_IN, 4.4), layout="constrained")
        scores, changes = figure.subplots(2, sharex=True, height_ratios=[3, 1])
        times = [datetime.fromtimestamp(audit.time, UTC) for audit in audits]
        for limit in ("derived_above", "independent_below"):
            known = [
                (time, value)
                for time, audit in zip(times, audits, strict=True)
                if (value := getattr(audit, limit)) is not None
            ]
            if known:
                # A dash for each audit: one that stopped early has thresholds of its own.
                scores.plot(*zip(*known, strict=True), "_", markersize=16, color=_COLOURS["muted"])
        for time, audit in zip(times, audits, strict=True):
            if audit.value is not None:
                marker, colour = _MARKERS.get(audit.verdict, ("x", _COLOURS["muted"]))
                scores.plot([time], [audit.value], marker, markersize=9, color=colour)
            if audit.changed is not None:
                changes.vlines([time], 0, 100 * audit.changed, color=_COLOURS["ink"], linewidth=5)
                changes.plot(
                    [time], [100 * audit.changed], "o", markersize=4, color=_COLOURS["ink"]
                )
        scores.set_ylabel(label)
        scores.margins(x=0.06, y=0.12)
        changes.set_ylabel("changed, %")
        changes.set_ylim(-6, 106)
        locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
        changes.xaxis.set_major_locator(locator)
        formatter = ConciseDateFormatter(locator, tz=UTC)  # type: ignore[no-untyped-call]
        changes.xaxis.set_major_formatter(formatter)
        return _svg(figure, "timeline", alternative)


def _thresholds(draw: object, derived_above: float | None, independent_below: float | None) -> None:
    assert callable(draw)
    for value in dict.fromkeys((derived_above, independent_below)):
        if value is not None:
            draw(value, color=_COLOURS["muted"], linewidth=1.2, linestyle=":")


def _end_labels(axes: Axes, ends: Mapping[str, float], *, x: int) -> None:
    """Write names beside the right ends of curves, moved apart where they would touch."""
    low, high = axes.get_ylim()
    apart = 0.085 * (high - low)
    lowest = -np.inf
    for name, value in sorted(ends.items(), key=lambda end: end[1]):
        lowest = max(value, lowest + apart)
        axes.annotate(
            "suspect" if name == "suspect" else f"{name} models",
            (x, lowest),
            xytext=(6, 0),
            textcoords="offset points",
            color=_COLOURS[name],
            weight="bold" if name == "suspect" else "normal",
            va="center",
            annotation_clip=False,
        )


def _margin(axes: Axes, values: Sequence[float | None]) -> None:
    low, high = axes.get_xlim()
    known = [value for value in values if value is not None]
    low, high = min([low, *known]), max([high, *known])
    pad = 0.04 * max(high - low, 1e-3)
    axes.set_xlim(low - pad, high + pad)


def _svg(figure: Figure, name: str, alternative: str) -> str:
    buffer = io.StringIO()
    figure.savefig(
        buffer,
        format="svg",
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # no prolog and no document type inside HTML
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:)?href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = text.replace('xmlns:xlink="http://www.w3.org/1999/xlink" ', "")
    text = text.replace('xmlns="http://www.w3.org/2000/svg" ', "")
    for variable, colour in _COLOURS.items():
        text = text.replace(colour, f"var(--{variable})")
    opening, rest = text.split(">", 1)
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    return (
        f'{opening} role="img" aria-labelledby="{name}-alt">'
        f'<title id="{name}-alt">{escape(alternative)}</title>{rest}'
    )
