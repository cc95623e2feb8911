"""One audit as a row of the JSON document and of the table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import numpy as np

from adapters.printable import printable
from adapters.suspect import ABSENT_CLASSES, MERGED_CLASSES, Suspect, SuspectIdentity
from adapters.tariff import Tariff
from audit.asking.class_order import order_text
from audit.asking.events import AuditEvent, OrderFound, Started
from audit.asking.options import AuditOptions
from audit.asking.run import run_audit
from audit.bundle.manifest import BundleContents
from audit.commands.terminal.progress import AuditProgress
from audit.exit_codes import code_for_verdict
from audit.journal.attempt_log import Spending, spending
from audit.journal.audits import audit_summaries, final_outcome
from audit.journal.journal import Journal
from audit.scores.absent_classes import absent_in_words, read_absent, without_classes
from audit.scores.merged_classes import groups_in_words, read_groups
from audit.verdict.outcome import Outcome
from audit.verdict.p_values import benjamini_hochberg


def audit_row(
    bundle: BundleContents,
    suspect: Suspect,
    path: Path,
    options: AuditOptions,
    *,
    journal: Path,
    stamp: Callable[[bytes], bytes] | None = None,
    is_shown: bool = True,
) -> dict[str, Any]:
    """Audit one suspect, with progress on a terminal.

    Args:
        bundle: What to ask.
        suspect: Whom; stays open.
        path: File that describes the suspect.
        options: How; an order of classes that is found goes to standard error, and so do which of
            several outputs is read, classes that count as one, and the number of refusals.
        journal: SQLite file for the answers.
        stamp: See `audit.asking.run.run_audit`.
        is_shown: Show progress.

    Returns:
        The suspect's entry under ``audits``: everything but ``run`` depends on the bundle and the
        answers alone.
    """
    started: list[str] = []
    order: dict[str, str] = {}

    def follow(event: AuditEvent) -> None:
        if isinstance(event, Started):
            started.append(event.audit)
        if isinstance(event, OrderFound):
            order["class_order"] = order_text(event.order.order)
            for sentence in event.order.sentences:
                click.echo(printable(f"{path.name}: {sentence}"), err=True)
        progress.show(event)

    others = suspect.identity.details.get("other_outputs")
    if others is not None:
        read = suspect.identity.details["output"]
        told = f"{path.name}: read from the output {read}; also has {others}"
        click.echo(printable(told), err=True)
    with (
        AuditProgress(printable(path.name), is_shown=is_shown) as progress,
        closing(Journal(journal)) as opened,
    ):
        run_audit(opened, bundle, suspect, options, stamp=stamp, on_event=follow)
    finished, identity = progress.finished, suspect.identity
    assert finished is not None, "run_audit returns after Finished"
    for told in _notes(bundle, identity.details, finished.outcome):
        click.echo(printable(f"{path.name}: {told}"), err=True)
    return _row(
        identity,
        path,
        order,
        finished.outcome,
        is_complete=finished.is_complete,
        run={
            "audit": started[-1],
            "seconds": round(progress.seconds, 3),
            "resumed_answers": progress.num_resumed,
            "attempts": finished.num_attempts,
            "spent": _spent(finished.spending),
        },
    )


def finished_row(
    suspect: Suspect, path: Path, audit: str, *, journal: Path, tariff: Tariff | None
) -> dict[str, Any]:
    """Return the row of an audit that came to its end earlier; nothing is asked.

    Args:
        suspect: Whom it is of.
        path: File that describes the suspect.
        audit: Its id.
        journal: SQLite file that holds it.
        tariff: What requests cost; None for a file.
    """
    with closing(Journal(journal)) as opened:
        outcome = final_outcome(opened, audit)
        assert outcome is not None, "it is finished"
        num_answers = next(one for one in audit_summaries(opened) if one.audit == audit).num_answers
        num_attempts = opened.count_attempts(audit)
        spent = None if tariff is None else spending(opened, audit, tariff)
    return _row(
        suspect.identity,
        path,
        {},
        Outcome.model_validate_json(outcome),
        is_complete=True,
        run={
            "audit": audit,
            "seconds": 0.0,
            "resumed_answers": num_answers,
            "attempts": num_attempts,
            "spent": _spent(spent),
        },
    )


def _row(
    identity: SuspectIdentity,
    path: Path,
    order: Mapping[str, str],
    outcome: Outcome,
    *,
    is_complete: bool,
    run: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "suspect": {
            "path": str(path),
            "kind": identity.kind,
            "name": identity.name,
            "digest": identity.digest,
            "details": {**identity.details, **order},
        },
        "outcome": outcome.model_dump(mode="json"),
        "is_complete": is_complete,
        "exit_code": code_for_verdict(outcome.verdict, is_complete=is_complete),
        "run": dict(run),
    }


def _notes(bundle: BundleContents, details: Mapping[str, str], outcome: Outcome) -> Iterator[str]:
    """Yield what became of answers that are not simply classes."""
    if ABSENT_CLASSES in details:
        absent = read_absent(details[ABSENT_CLASSES], bundle.manifest.task.num_classes)
        yield absent_in_words(without_classes(bundle, absent), absent)
    if MERGED_CLASSES in details:
        names = bundle.manifest.task.class_names
        yield groups_in_words(read_groups(details[MERGED_CLASSES], len(names)), names)
    score = outcome.scores[0] if outcome.scores else None
    if score is not None and score.num_refused:
        yield (
            f"refused {score.num_refused} of {score.num_queries} queries, which count as the "
            "answers that speak most against derivation"
        )


def _spent(spending: Spending | None) -> dict[str, Any] | None:
    """Return what the vendor charges for, amounts as exact decimals; None for a file."""
    if spending is None:
        return None
    return {
        "requests": spending.num_requests,
        "images": spending.num_images,
        "cost": f"{spending.cost:f}" if spending.currency else None,
        "currency": spending.currency or None,
    }


def shown_p_value(outcome: Mapping[str, Any]) -> float | None:
    """Return the p-value of a verdict: of all that may accuse; None where nothing could."""
    if (weights := outcome.get("weights")) is not None:
        joint: float | None = weights["joint_p_value"]
        return joint
    if not outcome["scores"]:
        return None
    whole = outcome.get("steps") or outcome["scores"][0]
    return float(whole["p_value"])


def adjust_p_values(rows: Sequence[dict[str, Any]]) -> None:
    """Give each audit of several its p-value for having asked them all; changes the rows."""
    audited = [row for row in rows if "outcome" in row]
    for row in audited:
        row["adjusted_p_value"] = None
    p_values = [(row, shown_p_value(row["outcome"])) for row in audited]
    scored = [(row, p_value) for row, p_value in p_values if p_value is not None]
    found = benjamini_hochberg(np.array([p_value for _, p_value in scored]))
    for (row, _), adjusted in zip(scored, found, strict=True):
        row["adjusted_p_value"] = float(adjusted)
