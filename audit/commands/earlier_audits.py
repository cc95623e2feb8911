"""No audit is paid twice by accident: what the journal holds of it is told before another begins.

Files cost nothing, and begin anew as often as somebody likes.
"""

import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click

from adapters.printable import printable
from adapters.suspect import Suspect
from adapters.tariff import Tariff, money
from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.bundle.manifest import BundleContents
from audit.errors import NothingToResumeError, UnfinishedAuditError
from audit.journal.attempt_log import spending
from audit.journal.audits import audit_summaries
from audit.journal.journal import Journal

_SUSPECT_OPTIONS = ("--onnx", "--suspect", "--endpoint", "--python")


@dataclass(frozen=True, kw_only=True)
class EarlierAudits:
    """The newest audits like one that is about to begin, by id; None where there is none."""

    unfinished: str | None
    finished: str | None
    """Told only where none is unfinished."""


def earlier_audits(
    bundle: BundleContents, suspect: Suspect, journal: Path, options: AuditOptions
) -> EarlierAudits:
    """Return what a journal holds of an audit.

    Args:
        bundle: What is asked.
        suspect: Who is asked.
        journal: SQLite file.
        options: Of the audit that is about to begin.
    """
    settled = replace(options.settled_for(bundle, suspect), resume=True)
    with closing(Journal(journal)) as opened:
        try:
            session = AuditSession(bundle, suspect, opened, settled)
        except NothingToResumeError as error:
            return EarlierAudits(unfinished=None, finished=error.finished)
        return EarlierAudits(unfinished=session.earlier, finished=None)


def told_unfinished(audit: str, journal: Path, tariff: Tariff) -> str | None:
    """Return what is kept of an unfinished audit; None where it has no answer to keep.

    Args:
        audit: Its id.
        journal: SQLite file.
        tariff: What requests cost.
    """
    with closing(Journal(journal)) as opened:
        known = next(one for one in audit_summaries(opened) if one.audit == audit)
        spent = spending(opened, audit, tariff)
    if not known.num_answers:
        return None
    began = datetime.fromtimestamp(known.started, UTC).strftime("%Y-%m-%d %H:%M UTC")
    cost = f", which cost {money(spent.cost, spent.currency)}" if spent.currency else ""
    return (
        f"an audit of {printable(known.suspect.name)} with this bundle began {began} and is "
        f"unfinished: {known.num_answers} answers are kept{cost}"
    )


def goes_on(told: str) -> bool:
    """Ask whether to go on with an unfinished audit.

    Args:
        told: From `told_unfinished`.

    Raises:
        UnfinishedAuditError: Nobody is here to say.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UnfinishedAuditError(
            f"audit: {told}. --resume goes on and asks none of them again, --new begins another "
            "audit. Nothing was sent"
        )
    click.echo(f"{told[0].upper()}{told[1:]}.", err=True)
    return click.confirm("Go on with it? (No asks everything again.)", default=True, err=True)


def commands_to_go_on(arguments: Sequence[str], now: Path, later: Sequence[Path]) -> list[str]:
    """Return the command lines that finish what was interrupted.

    Args:
        arguments: Of the command line that began it, without the program.
        now: The suspect that was being asked.
        later: Those that were not asked yet.

    Example:
        >>> commands_to_go_on(
        ...     ["audit", "b", "--endpoint", "x y.toml", "--new", "--endpoint=z.toml"],
        ...     Path("x y.toml"), [Path("z.toml")],
        ... )
        ["kinprint audit b --endpoint 'x y.toml' --resume", 'kinprint audit b --endpoint=z.toml']
    """
    plain = [one for one in arguments if one not in ("--new", "--resume")]
    lines = [[*_only(plain, [now]), "--resume"]]
    if later:
        lines.append(_only(plain, later))
    return [shlex.join(["kinprint", *line]) for line in lines]


def _only(arguments: Sequence[str], suspects: Sequence[Path]) -> list[str]:
    """Return the arguments without the suspects that are not among these."""
    kept: list[str] = []
    rest = iter(arguments)
    for one in rest:
        name, has_value, value = one.partition("=")
        if name not in _SUSPECT_OPTIONS:
            kept.append(one)
            continue
        given = [one] if has_value else [one, next(rest, "")]
        if Path(value if has_value else given[-1]) in suspects:
            kept += given
    return kept
