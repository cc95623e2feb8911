"""Records of one endpoint at several times, made of drafts whose answers are known."""

import dataclasses
from pathlib import Path

from audit.records.audit_count import AuditCount
from audit.records.record import Draft, RecordedSuspect, record_bytes, seconds, utc
from worlds.record_builder import AUDITOR_KEY, STARTED

ENDPOINT = "https://vendor.example/v1/classify"
_DAY_S = 86400


def dated(draft: Draft, number: int, *, days: int = 0, total: int = 1) -> Draft:
    """Return a draft as the audit of `ENDPOINT` with a number, so many days later."""
    opening = draft.opening.model_copy(
        update={
            "audit": f"{number:016x}",
            "started": _later(draft.opening.started, days),
            "count": AuditCount(number=min(number, total), total=total),
            "suspect": RecordedSuspect(
                kind="endpoint", name=ENDPOINT, digest=draft.opening.suspect.digest
            ),
            "runs": tuple(
                run.model_copy(update={"started": _later(run.started, days)})
                for run in draft.opening.runs
            ),
        }
    )
    return dataclasses.replace(
        draft,
        opening=opening,
        rows=[{**row, "asked": _later(str(row["asked"]), days)} for row in draft.rows],
        finished=None if draft.finished is None else _later(draft.finished, days),
    )


def write_dated(folder: Path, draft: Draft, number: int, *, days: int, total: int = 1) -> Path:
    """Sign such a record into a folder and return its path."""
    path = folder / f"{number:02d}.kinrecord"
    written = utc(STARTED + days * _DAY_S + 61)
    path.write_bytes(
        record_bytes(dated(draft, number, days=days, total=total), AUDITOR_KEY, written=written)
    )
    return path


def _later(time: str, days: int) -> str:
    return utc(seconds(time) + days * _DAY_S)
