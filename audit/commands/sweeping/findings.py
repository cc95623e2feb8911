"""A sweep's table as findings, for exports that other tools read."""

from pathlib import Path

from audit.atomic_file import write_atomically
from audit.errors import AuditError
from audit.journal.sweep_results import ResultRow, all_results
from audit.journal.sweep_table import SweepTable
from audit.report.sarif import Finding, sarif_bytes
from audit.verdict.outcome import Verdict

_MAX_FINDINGS = 1_000_000
_OTHER_TASK = "mismatched"


def write_sarif(table: SweepTable, path: Path) -> None:
    """Write a sweep's findings as SARIF.

    Raises:
        AuditError: The table cannot be read, or the file not be written.
    """
    try:
        write_atomically(path, [sarif_bytes(findings_of_sweep(table))])
    except OSError as error:
        raise AuditError(f"sarif: cannot write {path}: {error.strerror}") from error


def findings_of_sweep(table: SweepTable) -> list[Finding]:
    """Return a finding for each pair that was asked, the most suspicious first.

    Pairs of different tasks are none: nobody would ask them.

    Raises:
        AuditError: The table cannot be read.
    """
    sha256 = {one.path: one.bundle for one in table.bundles()}
    rows = all_results(table, _MAX_FINDINGS)
    return [_finding(row, sha256[row.bundle_path]) for row in rows if row.status != _OTHER_TASK]


def _finding(row: ResultRow, sha256: str) -> Finding:
    return Finding(
        path=row.suspect,
        text=row.reason or row.status,
        bundle_sha256=sha256,
        model_name=row.model,
        verdict=None if row.verdict is None else Verdict(row.verdict),
        p_value=row.p_value,
        properties={
            "adjustedPValue": row.adjusted_p_value,
            "controlAccuracy": row.control_accuracy,
            "numQuestions": row.num_questions,
            "score": row.score,
        },
    )
