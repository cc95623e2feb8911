"""A timeline of audits for people and scripts: one page with a plot, or one JSON document."""

import json
from typing import Any

from markupsafe import Markup

from adapters.printable import json_text
from audit.records.change import Change
from audit.records.change_words import change_sentences
from audit.records.timeline import DatedAudit, Timeline
from audit.records.timeline_words import begun, timeline_sentences
from audit.report.page import page_style, page_template
from audit.report.score_words import SCORE_WORDS

SCHEMA_VERSION = 1
"""Of the JSON document."""
NO_VERDICT = "no result"
"""Stands for the verdict of an audit that was not brought to a decision."""


def audit_document(audit: DatedAudit) -> dict[str, Any]:
    """Return one audit as the JSON documents have it."""
    record, score = audit.record, audit.score
    outcome = record.closing.outcome
    return {
        "record": str(audit.path),
        "digest": record.digest,
        "audit": record.opening.audit,
        "begun": record.opening.started,
        "is_stamped": audit.is_stamped,
        "signer": record.signer_key_id,
        "suspect": record.opening.suspect.model_dump(mode="json"),
        "verdict": None if audit.verdict is None else audit.verdict.value,
        "p_value": None if outcome is None else outcome.p_value,
        "smallest_p_value": None if outcome is None else outcome.smallest_p_value,
        "score": None
        if score is None
        else {
            "name": score.name,
            "value": score.value,
            "derived_above": score.derived_above,
            "independent_below": score.independent_below,
        },
        "num_answers": len(record.rows),
    }


def change_document(change: Change) -> dict[str, Any]:
    """Return what changed between two audits as the JSON documents have it."""
    odd, agreement = change.odd, change.agreement
    return {
        "sameness": change.sameness.value,
        "answers": [
            {
                "kind": one.kind,
                "num": one.num,
                "num_changed": one.num_changed,
                "interval": list(one.interval),
            }
            for one in change.answers
        ],
        "changed": list(change.changed),
        "asked_twice": None
        if odd is None
        else {"num_odd": odd.num, "num_between": odd.num_between, "p_value": odd.p_value},
        "unrelated": None
        if agreement is None
        else {
            "num": agreement.num,
            "num_agreeing": agreement.num_agreeing,
            "p_value": agreement.p_value,
            "smallest_p_value": agreement.smallest_p_value,
        },
    }


def render_json(timeline: Timeline) -> str:
    """Return the timeline as one JSON document."""
    since = timeline.since
    document = {
        "schema_version": SCHEMA_VERSION,
        "since": None
        if since is None
        else {
            "verdict": since.verdict.value,
            "first": since.first.record.digest,
            "begun": since.first.record.opening.started,
            "before": since.before and since.before.record.digest,
            "num_agreeing": since.num_agreeing,
            "num_silent": since.num_silent,
        },
        "audits": [audit_document(audit) for audit in timeline.audits],
        "changes": [change_document(change) for change in timeline.changes],
        "left_out": [{"record": str(one.path), "reason": one.reason} for one in timeline.left_out],
        "text": list(timeline_sentences(timeline)),
    }
    return json_text(json.dumps(document, indent=2)) + "\n"


def render_html(timeline: Timeline) -> str:
    """Return the timeline as one HTML file without scripts that asks for nothing from outside."""
    newest = timeline.audits[-1]
    rows = timeline_rows(timeline)
    return page_template("timeline.html.j2").render(
        timeline=timeline,
        suspect=newest.record.opening.suspect.name,
        model=newest.record.opening.bundle.manifest.model_name,
        bundle=newest.record.opening.bundle.sha256,
        sentences=timeline_sentences(timeline),
        rows=rows,
        changes=[
            (row[0], change_sentences(change, alpha=audit.bundle.manifest.alpha))
            for row, audit, change in zip(
                rows[1:], timeline.audits[1:], timeline.changes, strict=True
            )
            if change.num_changed
        ],
        style=page_style(),
        figure=Markup(_figure(timeline, rows)),  # our own drawing, whose texts are escaped there
    )


def timeline_rows(timeline: Timeline) -> list[tuple[str, ...]]:
    """Return time, verdict, score, p, changed answers and record of each audit."""
    changes: list[Change | None] = [None, *timeline.changes]
    return [
        (
            moment,
            NO_VERDICT if audit.verdict is None else audit.verdict.value,
            "-" if audit.score is None else f"{audit.score.value:z.3f}",
            _p_value(audit),
            "-" if change is None or not change.num else f"{change.num_changed} of {change.num}",
            audit.path.name,
        )
        for moment, audit, change in zip(begun(timeline), timeline.audits, changes, strict=True)
    ]


def _p_value(audit: DatedAudit) -> str:
    outcome = audit.record.closing.outcome
    return "-" if outcome is None or outcome.p_value is None else f"{outcome.p_value:.3g}"


def _figure(timeline: Timeline, rows: list[tuple[str, ...]]) -> str:
    from audit.report.figures import DatedScore, timeline_figure

    named = [audit.score.name for audit in timeline.audits if audit.score is not None]
    # Two scores have no common axis: the most frequent one is drawn, the table has the others.
    name = max(named, key=named.count, default=None)
    points = []
    for audit, row, change in zip(timeline.audits, rows, [None, *timeline.changes], strict=True):
        score = audit.score if audit.score is not None and audit.score.name == name else None
        points.append(
            DatedScore(
                time=audit.time,
                verdict=row[1],
                value=score.value if score else None,
                derived_above=score.derived_above if score else None,
                independent_below=score.independent_below if score else None,
                changed=change.num_changed / change.num if change and change.num else None,
            )
        )
    told = "; ".join(f"{row[0]}: {row[1]}" for row in rows)
    return timeline_figure(
        points,
        label="score" if name is None else SCORE_WORDS[name].unit,
        alternative=f"Verdicts over time: {told}.",
    )
