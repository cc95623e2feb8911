"""What ``kinprint audit --record`` needs before and after the questions."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from audit.commands.option_groups import RecordOptions
from audit.commands.terminal.passphrase import passphrase_from
from audit.errors import AuditError
from audit.journal.journal import Journal, default_journal
from audit.records.from_journal import export_record
from audit.signing.keys import PrivateKey, load_private_key
from audit.signing.timestamps import stamp_at


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Where a record goes and who signs it."""

    path: Path
    key: PrivateKey
    stamp: Callable[[bytes], bytes] | None

    def write(self, journal: Path, audit: str) -> AuditError | None:
        """Sign and write the record of an audit that has ended.

        Returns:
            Why it could not be written, to be raised after the verdict is told; the audit is kept.
        """
        try:
            opened = Journal(journal)
            try:
                export_record(opened, audit, self.path, self.key, stamp=self.stamp)
            finally:
                opened.close()
        except AuditError as error:
            return type(error)(
                f"{error}; the audit is kept, write its record with kinprint record export {audit} "
                f"OUT.kinrecord{'' if journal == default_journal() else f' --journal {journal}'}"
            )
        click.echo(f"record: {self.path}", err=True)
        return None


def prepare_recording(options: RecordOptions, *, num_suspects: int) -> Recording | None:
    """Check everything about a record that can be wrong, before anything is asked.

    Returns:
        None if no record is wanted.

    Raises:
        click.UsageError: The options do not fit each other, or the folder cannot be written.
        AuditError: The key cannot be used, or the extra for timestamps is missing.
    """
    path, auditor_key, timestamp_url = (
        options.record_path,
        options.auditor_key,
        options.timestamp_url,
    )
    if path is None:
        if auditor_key or options.passphrase_env or timestamp_url:
            raise click.UsageError("--auditor-key and --timestamp-url need --record OUT.kinrecord")
        return None
    if auditor_key is None:
        raise click.UsageError("--record: needs --auditor-key KEY, because a record is signed")
    if num_suspects != 1:
        raise click.UsageError(
            f"--record: expected one suspect, got {num_suspects}; use kinprint record export for "
            "several"
        )
    if os.path.lexists(path):
        raise click.UsageError(
            f"--record: {path} exists, and evidence is not replaced; choose another name"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise click.UsageError(f"--record: cannot write to the folder {path.parent}")
    return Recording(
        path=path,
        key=load_private_key(auditor_key, passphrase_from(options.passphrase_env)),
        stamp=None if timestamp_url is None else stamp_at(timestamp_url),
    )
