"""Audits of one suspect by one bundle over time: since when does it answer as it does?

Every record is verified before it is used, and one that is not used is named with the reason.
Times in a record are the auditor's word; a trusted time-stamp makes one of them somebody else's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from audit.bundle.bundle_file import read_bundle
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError, SignatureInvalidError
from audit.records.change import Change, change_between, is_one_suspect
from audit.records.check import Status
from audit.records.record import Record, State, seconds
from audit.records.verify import Result, Verification, verify_record
from audit.signing.keys import Trust
from audit.verdict.outcome import ScoreOutcome, Verdict
from audit.verdict.steps import crafted_score

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

SUFFIX = ".kinrecord"
DECISIVE = (Verdict.DERIVED, Verdict.INDEPENDENT, Verdict.NO_COPY)
"""Verdicts that say something of the suspect; the others speak for nothing."""
_STAMP_CHECK = "timestamp of the answers"


@dataclass(frozen=True, kw_only=True, eq=False)
class DatedAudit:
    """One verified record."""

    path: Path
    record: Record
    bundle: BundleContents
    """As this audit asked with it."""
    is_stamped: bool
    """Whether a trusted time-stamping authority saw the answers; else the time is the auditor's
    word."""

    @property
    def time(self) -> float:
        """Return the Unix time at which the audit began."""
        return seconds(self.record.opening.started)

    @property
    def verdict(self) -> Verdict | None:
        """Return what the audit found; None where it was not brought to a decision."""
        closing = self.record.closing
        if closing.outcome is None or closing.state is not State.COMPLETE:
            return None
        return closing.outcome.verdict

    @property
    def score(self) -> ScoreOutcome | None:
        """Return the score of the crafted queries where two steps decide, else the deciding one.

        Audits in two steps end at either; the first step is what all of them have. None where
        nothing can be compared.
        """
        outcome = self.record.closing.outcome
        if outcome is None or not outcome.scores:
            return None
        return crafted_score(outcome)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A record that says nothing here."""

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class Since:
    """From when on no audit that decides contradicts the last one."""

    verdict: Verdict
    first: DatedAudit
    """The first of them."""
    before: DatedAudit | None
    """The last audit that decided otherwise; None if none did."""
    num_agreeing: int
    """Audits from the first on that decide; "independent" and "no copy" do not contradict each
    other."""
    num_silent: int
    """Audits from the first on that decide nothing."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Audits of one suspect, the earliest first."""

    audits: tuple[DatedAudit, ...]
    """At least one."""
    changes: tuple[Change, ...]
    """From each audit to the next."""
    since: Since | None
    """None where no audit decides."""
    left_out: tuple[LeftOut, ...]


def verified_audit(
    path: Path, bundle_path: Path, trust: Trust, certificates: Sequence["Certificate"] = ()
) -> DatedAudit:
    """Verify a record and take it for comparisons.

    Raises:
        SignatureInvalidError: It does not hold.
        AuditError: It cannot be read.
    """
    verification = verify_record(path, bundle_path, trust, certificates=certificates)
    if verification.result is Result.REFUSED:
        raise SignatureInvalidError(f"record: {path}: refused: {verification.checks[-1].text}")
    return _dated(path, verification)


def make_timeline(
    paths: Sequence[Path],
    bundle_path: Path,
    trust: Trust,
    *,
    suspect: str | None = None,
    certificates: Sequence["Certificate"] = (),
    now: float | None = None,
) -> Timeline:
    """Verify records and put those of one suspect in order.

    Args:
        paths: Records, in any order.
        bundle_path: The bundle that they were made with.
        trust: Keys that count.
        suspect: Name of the suspect, or its digest; None if the records are about one only.
        certificates: Of time-stamping authorities that count.
        now: Unix time; by default the machine's.

    Raises:
        AuditError: No record holds, several suspects and none named, or a bundle that does not.
    """
    # A bundle that nobody trusts is one fault, not one for every record.
    bundle_id = read_bundle(bundle_path, trust).manifest_sha256
    audits: list[DatedAudit] = []
    left_out: list[LeftOut] = []
    for path in paths:
        try:
            verification = verify_record(
                path, bundle_path, trust, certificates=certificates, now=now
            )
        except AuditError as error:
            left_out.append(LeftOut(path=path, reason=str(error)))
            continue
        record = verification.record
        if record is not None and record.opening.bundle.sha256 != bundle_id:
            model = record.opening.bundle.manifest.model_name
            left_out.append(LeftOut(path=path, reason=f"made with another bundle, of {model!r}"))
        elif verification.result is Result.REFUSED:
            left_out.append(LeftOut(path=path, reason=f"refused: {verification.checks[-1].text}"))
        else:
            audits.append(_dated(path, verification))
    audits = _of_one_suspect(audits, suspect, left_out)
    audits = _once(audits, left_out)
    audits.sort(key=lambda audit: (audit.time, audit.record.digest))
    return Timeline(
        audits=tuple(audits),
        changes=tuple(
            change_between(one.record, other.record, other.bundle)
            for one, other in pairwise(audits)
        ),
        since=_since(audits),
        left_out=tuple(left_out),
    )


def _dated(path: Path, verification: Verification) -> DatedAudit:
    assert verification.record is not None, "a record that is not refused was read"
    assert verification.bundle is not None
    return DatedAudit(
        path=path,
        record=verification.record,
        bundle=verification.bundle,
        is_stamped=any(
            check.name == _STAMP_CHECK and check.status is Status.HELD
            for check in verification.checks
        ),
    )


def _of_one_suspect(
    audits: list[DatedAudit], named: str | None, left_out: list[LeftOut]
) -> list[DatedAudit]:
    if not audits:
        reasons = "; ".join(f"{one.path.name}: {one.reason}" for one in left_out)
        raise AuditError(
            "records: expected records that hold and were made with this bundle, got none"
            + (f" ({reasons})" if reasons else "")
        )
    suspects = [audit.record.opening.suspect for audit in audits]
    chosen = [one for one in suspects if named is None or named in (one.name, one.digest)]
    if not chosen:
        raise AuditError(f"--suspect: expected one of {_names(audits)}, got {named!r}")
    kept: list[DatedAudit] = []
    for audit in audits:
        suspect = audit.record.opening.suspect
        if is_one_suspect(suspect, chosen[0]):
            kept.append(audit)
        elif named is None:
            raise AuditError(
                f"records: expected audits of one suspect, got several: {_names(audits)}; name one "
                "with --suspect"
            )
        else:
            left_out.append(
                LeftOut(path=audit.path, reason=f"about another suspect, {suspect.name!r}")
            )
    return kept


def _names(audits: list[DatedAudit]) -> str:
    return ", ".join(dict.fromkeys(repr(audit.record.opening.suspect.name) for audit in audits))


def _once(audits: list[DatedAudit], left_out: list[LeftOut]) -> list[DatedAudit]:
    """Keep the longest record of each audit: one that was resumed may have several."""
    kept: dict[str, DatedAudit] = {}
    for audit in sorted(audits, key=lambda one: -len(one.record.rows)):
        longest = kept.setdefault(audit.record.opening.audit, audit)
        if longest is not audit:
            left_out.append(
                LeftOut(path=audit.path, reason=f"of the same audit as {longest.path.name}")
            )
    return list(kept.values())


def _since(audits: Sequence[DatedAudit]) -> Since | None:
    deciding = [audit for audit in audits if audit.verdict in DECISIVE]
    if not deciding:
        return None
    last = deciding[-1].verdict
    assert last is not None
    others = [
        place
        for place, audit in enumerate(deciding)
        if (audit.verdict is Verdict.DERIVED) is not (last is Verdict.DERIVED)
    ]
    agreeing = deciding[others[-1] + 1 :] if others else deciding
    first = agreeing[0]
    return Since(
        verdict=last,
        first=first,
        before=deciding[others[-1]] if others else None,
        num_agreeing=len(agreeing),
        num_silent=len(audits) - list(audits).index(first) - len(agreeing),
    )
