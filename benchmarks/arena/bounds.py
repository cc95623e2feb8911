"""Where suspects score beside the models that set a bundle's bounds, kind by kind."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audit.bundle.bundle_file import read_bundle
from audit.scores.comparison import whole_scores
from audit.scores.query_scores import deciding_query_score
from benchmarks.arena.fingerprints import trust_of
from benchmarks.arena.tables import Column, is_collapsed, markdown_table

_HEADER = ["who", "kind", "models", "lowest", "median", "highest"]


def bounds_table(column: Column, path: Path, *, below: float) -> list[list[str]]:
    """Return the scores of calibration models and suspects by kind, innocents first.

    Args:
        column: One score of a bundle.
        path: The bundle's file.
        below: Suspects with less than this share of the source's accuracy are left out.

    Returns:
        Rows under `_HEADER`; none where the bundle does not decide by this score.
    """
    bundle = read_bundle(path, trust_of())
    if column.score != deciding_query_score(bundle):
        return []
    found: dict[tuple[str, str], list[float]] = {}
    calibrating = bundle.manifest.calibration_models
    for model, value in zip(calibrating, whole_scores(bundle, column.score), strict=True):
        found.setdefault((f"calibrating {model.role}", model.stratum), []).append(float(value))
    for row in column.rows:
        if not is_collapsed(row, below):
            who = "derived suspect" if row.is_derived else "innocent suspect"
            found.setdefault((who, row.kind), []).append(row.scores[column.score])
    order = ["calibrating innocent", "innocent suspect", "calibrating derived", "derived suspect"]
    return [
        [who, kind, str(len(values)), *_in_words([min(values), np.median(values), max(values)])]
        for (who, kind), values in sorted(
            found.items(), key=lambda item: (order.index(item[0][0]), float(np.median(item[1])))
        )
    ]


def bounds_page(title: str, rows: Sequence[Sequence[str]]) -> str:
    """Return the table of one score as Markdown."""
    return f"## Scores beside those that set the bounds: {title}\n\n" + markdown_table(
        _HEADER, rows
    )


def _in_words(values: Sequence[float | np.floating]) -> list[str]:
    return [f"{value:.2f}" for value in values]
