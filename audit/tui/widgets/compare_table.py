"""Audits of one bundle on one scale of scores."""

from math import inf
from typing import Any

from rich.text import Text

from audit.records.from_journal import StoredAudit
from audit.tui.widgets.audit_table import number, score_value, short_name, verdict_text, when
from audit.tui.widgets.item_table import Column, ItemTable
from audit.tui.words import theme_colour
from audit.verdict.outcome import ScoreOutcome

SCALE_CELLS = 30


class CompareTable(ItemTable[StoredAudit]):
    """The highest score first."""

    def __init__(self, *, id: str | None = None) -> None:
        self._low, self._high = 0.0, 1.0
        columns = (
            Column[StoredAudit](title="Suspect", cell=lambda audit: short_name(audit.suspect)),
            Column[StoredAudit](title="Verdict", cell=lambda audit: verdict_text(self, audit)),
            Column[StoredAudit](
                title="Score", cell=lambda audit: number(score_value(audit)), order=score_value
            ),
            Column[StoredAudit](title="Scale", cell=self._scale, order=score_value),
            Column[StoredAudit](
                title="Derived above",
                cell=lambda audit: number(_above(audit)),
                order=lambda audit: _above(audit) or -inf,
            ),
            Column[StoredAudit](
                title="p",
                cell=lambda audit: number(None if (one := _score(audit)) is None else one.p_value),
                order=lambda audit: 2.0 if (one := _score(audit)) is None else one.p_value,
            ),
            Column[StoredAudit](
                title="Answers",
                cell=lambda audit: Text(str(audit.num_answers), justify="right"),
                order=lambda audit: audit.num_answers,
            ),
            Column[StoredAudit](title="Started", cell=when, order=lambda audit: audit.started),
        )
        super().__init__(columns, id=id)

    def key_of(self, item: StoredAudit) -> Any:
        """Return the audit's id."""
        return item.audit

    def show(self, audits: tuple[StoredAudit, ...]) -> None:
        """Draw the audits on the scale that holds them all."""
        values: list[float] = []
        for audit in audits:
            if (score := _score(audit)) is not None:
                values += [score.value]
                values += [
                    line
                    for line in (score.derived_above, score.independent_below)
                    if line is not None
                ]
        self._low, self._high = (min(values), max(values)) if values else (0.0, 1.0)
        self.items = tuple(sorted(audits, key=score_value, reverse=True))

    def _scale(self, audit: StoredAudit) -> Text:
        score = _score(audit)
        if score is None:
            return Text("")
        cells = ["·"] * SCALE_CELLS
        for line, sign in ((score.independent_below, "┊"), (score.derived_above, "│")):
            if line is not None:
                cells[self._at(line)] = sign
        cells[self._at(score.value)] = "◆"
        return Text("".join(cells), style=theme_colour(self.app, "text-muted"))

    def _at(self, value: float) -> int:
        span = self._high - self._low or 1.0
        return round((value - self._low) / span * (SCALE_CELLS - 1))


def _score(audit: StoredAudit) -> ScoreOutcome | None:
    return audit.outcome.scores[0] if audit.outcome and audit.outcome.scores else None


def _above(audit: StoredAudit) -> float | None:
    score = _score(audit)
    return None if score is None else score.derived_above
