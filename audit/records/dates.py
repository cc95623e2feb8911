"""Dates that somebody else vouches for: timestamps inside a record, and a published commitment."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audit.bundle.commitment import owners_commitment
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError, SignatureInvalidError
from audit.records.check import Check, failed, held, unchecked
from audit.records.record import Record, seconds, utc
from audit.signing.keys import Trust

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def check_bundle_timestamp(record: Record, certificates: Sequence["Certificate"]) -> Check:
    """A third party saw the bundle before the first question."""
    name = "timestamp of the bundle"
    token = record.opening.bundle.timestamp
    if token is None:
        return unchecked(
            name,
            "The record has none: that the bundle is older than the audit is the owner's word.",
        )
    check, time = _checked(name, token, record.opening.bundle.sha256, certificates)
    if time is None or not record.rows:
        return check
    first = seconds(record.rows[0].asked)
    if time > first + 1:
        return failed(name, f"made at {utc(time)}, after the first question at {utc(first)}")
    return held(
        name,
        f"A time-stamping authority saw the bundle at {utc(time)}, before the first question "
        f"({utc(first)}).",
    )


def check_chain_timestamp(
    record: Record, certificates: Sequence["Certificate"], *, now: float
) -> Check:
    """A third party saw the answers."""
    name = "timestamp of the answers"
    token = record.closing.timestamp
    if token is None:
        return unchecked(name, "The record has none: the times in it are the auditor's word.")
    check, time = _checked(name, token, record.closing.previous, certificates)
    if time is None:
        return check
    if record.rows and time < seconds(record.rows[-1].asked) - 300:
        return failed(name, f"made at {utc(time)}, before the answers that it is about")
    if time > now + 300:
        return failed(name, f"expected a time not after {utc(now)}, got {utc(time)}")
    return held(name, f"A time-stamping authority saw the answers at {utc(time)}.")


def check_commitment(
    path: Path | None,
    record: Record,
    bundle: BundleContents,
    trust: Trust,
    certificates: Sequence["Certificate"],
) -> Check:
    """The owner committed to the bundle before the first question."""
    name = "commitment"
    if path is None:
        return unchecked(name, "None was given (--commitment).")
    try:
        commitment = owners_commitment(path, bundle, trust)
        claimed = seconds(commitment.committed)
    except AuditError as error:
        return failed(name, str(error))
    first = seconds(record.rows[0].asked if record.rows else record.opening.started)
    among = ""
    if commitment.num_packs > 1:
        among = f" (pack {commitment.pack} of {commitment.num_packs})"
    if commitment.timestamp is not None and certificates:
        check, time = _checked(name, commitment.timestamp, commitment.subject_sha256, certificates)
        if time is None:
            return check
        if time > first:
            return failed(name, f"made at {utc(time)}, after the first question at {utc(first)}")
        return held(
            name,
            f"The owner committed to this bundle{among} {_days(first - time)} before the first "
            f"question; a time-stamping authority saw it at {utc(time)}.",
        )
    if claimed > first:
        return failed(name, f"made at {utc(claimed)}, after the first question at {utc(first)}")
    return unchecked(
        name,
        f"The owner's signed commitment{among} says {utc(claimed)}, {_days(first - claimed)} "
        "before the first question. That date is the owner's word: ask where and when it was "
        "published.",
    )


def _checked(
    name: str, token: str, imprint: str, certificates: Sequence["Certificate"]
) -> tuple[Check, float | None]:
    """Check a token; the time is None if it failed or nobody can say."""
    from audit.signing.timestamps import check_imprint, verified_time

    try:
        if certificates:
            time = verified_time(token, imprint, certificates)
            return held(name, utc(time)), time
        claimed = check_imprint(token, imprint)
    except SignatureInvalidError as error:
        return failed(name, str(error)), None
    except AuditError as error:
        return unchecked(name, str(error)), None
    return unchecked(
        name,
        f"There is one that says {utc(claimed)}; whose it is cannot be said without the "
        "authority's certificate (--tsa-cert).",
    ), None


def _days(duration_s: float) -> str:
    if duration_s >= 2 * 86400:
        return f"{duration_s / 86400:.0f} days"
    if duration_s >= 7200:
        return f"{duration_s / 3600:.0f} hours"
    return f"{max(duration_s, 0) / 60:.0f} minutes"
