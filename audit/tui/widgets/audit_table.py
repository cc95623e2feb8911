"""Audits that the journal remembers."""

from datetime import datetime
from typing import Any

from rich.text import Text

from audit.records.from_journal import StoredAudit
from audit.tui.widgets.item_table import Column, ItemTable
from audit.tui.words import VERDICT_COLOURS, theme_colour, verdict_of


def when(audit: StoredAudit) -> str:
    """Return an audit's start in the time of the place."""
    return datetime.fromtimestamp(audit.started).astimezone().strftime("%Y-%m-%d %H:%M")


def verdict_text(table: ItemTable[Any], audit: StoredAudit) -> Text:
    """Return what an audit found, in the colour of its verdict."""
    told = verdict_of(audit.outcome, audit.state)
    if audit.outcome is None:
        return Text(told, style=theme_colour(table.app, "text-muted"))
    return Text(told, style=theme_colour(table.app, VERDICT_COLOURS[audit.outcome.verdict]))


def score_value(audit: StoredAudit) -> float:
    """Return the deciding score, minus infinity where there is none."""
    if audit.outcome is None or not audit.outcome.scores:
        return float("-inf")
    return audit.outcome.scores[0].value


def number(value: float | None) -> Text:
    """Return a score for a column."""
    told = "-" if value is None or value == float("-inf") else f"{value:z.3f}"
    return Text(told, justify="right")


class AuditTable(ItemTable[StoredAudit]):
    """Newest first."""

    def __init__(self, *, id: str | None = None) -> None:
        columns = (
            Column[StoredAudit](title="Verdict", cell=lambda audit: verdict_text(self, audit)),
            Column[StoredAudit](title="Suspect", cell=lambda audit: short_name(audit.suspect)),
            Column[StoredAudit](
                title="Score", cell=lambda audit: number(score_value(audit)), order=score_value
            ),
            Column[StoredAudit](
                title="Answers",
                cell=lambda audit: Text(str(audit.num_answers), justify="right"),
                order=lambda audit: audit.num_answers,
            ),
            Column[StoredAudit](title="Model", cell=lambda audit: audit.model_name),
            Column[StoredAudit](title="Started", cell=when, order=lambda audit: audit.started),
        )
        super().__init__(columns, id=id)

    def key_of(self, item: StoredAudit) -> Any:
        """Return the audit's id."""
        return item.audit


def short_name(suspect: str) -> str:
    """Return a name that fits a column: an address without its scheme."""
    return suspect.removeprefix("https://").removeprefix("http://")
