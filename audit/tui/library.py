"""What Home lists: bundles, suspects and sweeps of a folder, audits of the journal.

Runs in a thread.
"""

from dataclasses import dataclass
from pathlib import Path

from audit.errors import AuditError
from audit.journal.audits import delete_audit
from audit.journal.journal import Journal
from audit.records.from_journal import StoredAudit, stored_audits
from audit.signing.keys import Trust
from audit.suspects.found_files import (
    FoundBundle,
    FoundSuspect,
    bundle_files,
    find_suspects,
    read_found_bundle,
)
from audit.tui.desk import Desk
from audit.tui.sweep_data import FoundSweep, SweepFinder


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What was found."""

    bundles: tuple[FoundBundle, ...]
    suspects: tuple[FoundSuspect, ...]
    audits: tuple[StoredAudit, ...]
    problem: str
    """What could not be read, or empty."""
    sweeps: tuple[FoundSweep, ...] = ()


class Library:
    """Reads a bundle again only when its file or the trusted keys change."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int, Trust], FoundBundle] = {}
        self._sweeps = SweepFinder()

    def scan(self, desk: Desk) -> Listing:
        """Look into the folder and the journal; what is wrong is told, not raised."""
        problem, bundles = "", tuple[FoundBundle, ...]()
        audits = tuple[StoredAudit, ...]()
        try:
            bundles = self._bundles(desk)
        except AuditError as error:
            problem = str(error)
        try:
            audits = read_audits(desk.journal)
        except AuditError as error:
            problem = str(error)
        if not desk.folder.is_dir():
            problem = f"folder: expected one at {desk.folder}, got none; press f for another"
        return Listing(
            bundles=bundles,
            suspects=find_suspects(desk.folder),
            audits=audits,
            problem=problem,
            sweeps=self._sweeps.find(desk.folder),
        )

    def forget(self, desk: Desk, audit: str) -> None:
        """Delete an audit from the journal."""
        journal = Journal(desk.journal)
        try:
            delete_audit(journal, audit)
        finally:
            journal.close()

    def _bundles(self, desk: Desk) -> tuple[FoundBundle, ...]:
        trust = desk.trust()
        paths = list(bundle_files(desk.folder))
        first = desk.first_bundle
        if first is not None and first not in paths:
            paths.insert(0, first)
        known: dict[tuple[Path, int, int, Trust], FoundBundle] = {}
        for path in paths:
            try:
                status = path.stat()
            except OSError:
                continue  # gone since it was listed
            key = (path, status.st_mtime_ns, status.st_size, trust)
            known[key] = self._known.get(key) or read_found_bundle(path, trust)
        self._known = known
        return tuple(known.values())

    def bundles(self, desk: Desk) -> tuple[FoundBundle, ...]:
        """Return the bundles of the folder; none where it cannot be read."""
        try:
            return self._bundles(desk)
        except AuditError:
            return ()

    def bundle(self, path: Path, trust: Trust) -> FoundBundle:
        """Read one bundle, unless it is known as it stands."""
        try:
            status = path.stat()
        except OSError:
            return read_found_bundle(path, trust)
        key = (path, status.st_mtime_ns, status.st_size, trust)
        return self._known.get(key) or self._known.setdefault(key, read_found_bundle(path, trust))


def read_audits(journal_path: Path) -> tuple[StoredAudit, ...]:
    """Return the audits of a journal; none if there is no journal yet.

    Raises:
        JournalError: It cannot be read.
    """
    if not journal_path.exists():
        return ()
    journal = Journal(journal_path)
    try:
        return stored_audits(journal)
    finally:
        journal.close()
