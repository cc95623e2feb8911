"""Which audit of its suspect by its bundle an audit is, in one journal.

Every audit that is begun gets the next number, and keeps it: forgetting others lowers none.
"""

from audit.journal.journal_file import JournalFile


def next_number(file: JournalFile, bundle: str, suspect: str) -> int:
    """Count one more audit of a pair and return its number, from 1; call within a turn.

    Args:
        file: Of the journal.
        bundle: SHA-256 of the manifest.
        suspect: Digest of whom is asked.

    Raises:
        JournalError: The journal cannot be written.
    """
    file.write_rows(
        "INSERT INTO begun VALUES (?, ?, 1) "
        "ON CONFLICT (bundle, suspect) DO UPDATE SET num_audits = num_audits + 1",
        [(bundle, suspect)],
    )
    return num_begun(file, bundle, suspect)


def num_begun(file: JournalFile, bundle: str, suspect: str) -> int:
    """Return how many audits of a pair were begun, those included that are not finished."""
    rows = file.read_rows(
        "SELECT num_audits FROM begun WHERE bundle = ? AND suspect = ?", (bundle, suspect)
    )
    return int(rows[0][0]) if rows else 0
