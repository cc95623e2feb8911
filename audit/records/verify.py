"""Verify a record: signature, chain, bundle, questions, order, times, and the verdict again.

Needs neither torch nor onnxruntime and asks nobody. Everything that was looked at becomes a
`Check`; the first thing that is wrong ends the verification, because what follows would rest on it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from audit.bundle.bundle_file import read_bundle
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.records.against_bundle import (
    check_absent_classes,
    check_bundle,
    check_count,
    check_deciding_score,
    check_merged_classes,
    check_order,
    check_questions,
    check_recomputation,
    check_rule,
    check_times,
)
from audit.records.check import Check, Status, failed, held
from audit.records.class_order_check import check_class_order
from audit.records.completeness import check_completeness, check_end
from audit.records.dates import check_bundle_timestamp, check_chain_timestamp, check_commitment
from audit.records.endpoint_identity import check_server
from audit.records.record import Record, State, check_signature, parse_lines, read_bytes
from audit.records.weights_check import check_weights
from audit.scores.merged_classes import as_asked
from audit.signing.keys import Trust
from audit.verdict.outcome import Outcome

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_Value = TypeVar("_Value")

LIMITS = (
    "That the suspect gave these answers: the auditor wrote them down and signed. A hash chain "
    "shows that nothing was changed after signing; it does not show that nobody invented rows. Ask "
    "the suspect again (--onnx for a file) to see for yourself.",
    "That this was the only audit: others of the same suspect may have been made and not shown.",
    "That the innocent models behind the p-value are independent of the source and of a kind with "
    "the suspect: the owner chose them and signed for them. Their provenance is in the bundle.",
)
"""What no signature can show; told with every record."""
ENDPOINT = "endpoint"
"""Kind of a suspect that answers over a network."""
ENDPOINT_LIMIT = (
    "Who runs the endpoint and which model stood behind it: the record holds its address, its TLS "
    "certificate and what its answers said about themselves, as the auditor noted them down."
)
FUNCTION = "python"
"""Kind of a suspect that the auditor's own code asked."""
FUNCTION_LIMIT = (
    "Whom the auditor's code asked, and what it was answered: the answers came through a function "
    "of the auditor's own, which the record names with the SHA-256 of its file. Nobody can ask the "
    "suspect again from the record alone; get the file and read it, then run it yourself."
)
OWNER_IS_AUDITOR = (
    "An independent auditor: the record is signed with the key that signed the bundle, so it is "
    "the owner's own word."
)


class Result(StrEnum):
    """What a verification says about a record."""

    HOLDS = "holds"
    INCOMPLETE = "incomplete"
    """Genuine as far as it goes, but the audit was not brought to a decision."""
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """All that was looked at."""

    result: Result
    checks: tuple[Check, ...]
    limits: tuple[str, ...]
    """What could not be checked and never can be, each one a sentence."""
    record: Record | None
    """None if its signature or chain is wrong: then nothing in it means anything."""
    bundle: BundleContents | None
    outcome: Outcome | None
    """Computed here from the answers."""


def verify_record(
    record_path: Path,
    bundle_path: Path,
    trust: Trust,
    *,
    commitment_path: Path | None = None,
    certificates: Sequence["Certificate"] = (),
    now: float | None = None,
) -> Verification:
    """Verify a record against its bundle.

    Args:
        record_path: The record.
        bundle_path: The bundle it was made with.
        trust: Keys that count, the auditor's and the owner's.
        commitment_path: The owner's published commitment.
        certificates: Of time-stamping authorities that count.
        now: Unix time; by default the machine's.

    Returns:
        The checks; what is wrong with record or bundle is a failed check, never an exception.

    Raises:
        AuditError: A file cannot be opened.
    """
    data = read_bytes(record_path)
    found = _Checks()
    signed = found.get(
        "signature of the record",
        lambda: check_signature(data, trust),
        lambda lines: f"Signed by the trusted key {lines.signer_key_id}.",
    )
    record = bundle = None
    if signed is not None:
        record = found.get(
            "hash chain",
            lambda: parse_lines(signed),
            lambda record: (
                f"{len(record.rows)} answers, each naming the one before; none was changed, "
                "added, removed or moved after signing."
            ),
        )
    if record is not None:
        bundle = found.get(
            "signature of the bundle",
            lambda: read_bundle(bundle_path, trust),
            lambda bundle: (
                f"Signed by the trusted key {bundle.signer_key_id}; all digests in it are right."
            ),
        )
    outcome: Outcome | None = None
    if record and bundle:
        signed_bundle = bundle
        found.add(lambda: check_bundle(record, signed_bundle))
        found.add(lambda: check_questions(record, signed_bundle))
        merged = check_merged_classes(record, signed_bundle)
        if merged is not None:
            found.add(lambda: merged)
        absent = check_absent_classes(record, signed_bundle)
        if absent is not None:
            found.add(lambda: absent)
        if (weights := check_weights(record, signed_bundle)) is not None:
            found.add(lambda: weights)
        if not found.has_failed:
            bundle = as_asked(signed_bundle, record.opening.settings)
        if not found.has_failed and (order := check_class_order(record, bundle)) is not None:
            found.add(lambda: order)
        found.add(lambda: check_order(record, bundle))
        found.add(lambda: check_count(record))
        found.add(lambda: check_times(record, now=time.time() if now is None else now))
        found.add(lambda: check_completeness(record, bundle))
        found.add(lambda: check_end(record, bundle))
        found.add(lambda: check_deciding_score(record, bundle))
        found.add(lambda: check_rule(record, bundle))
        if not found.has_failed:
            check, outcome = check_recomputation(record, bundle)
            found.add(lambda: check)
        if record.opening.suspect.kind == ENDPOINT:
            found.add(lambda: check_server(record))
        found.add(lambda: check_bundle_timestamp(record, certificates))
        found.add(
            lambda: check_chain_timestamp(
                record, certificates, now=time.time() if now is None else now
            )
        )
        found.add(lambda: check_commitment(commitment_path, record, bundle, trust, certificates))
    return Verification(
        result=_result(found, record),
        checks=tuple(found.checks),
        limits=_limits(record, bundle),
        record=record,
        bundle=bundle,
        outcome=outcome,
    )


class _Checks:
    """Collects checks and stops looking after the first failure."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    @property
    def has_failed(self) -> bool:
        return any(check.status is Status.FAILED for check in self.checks)

    def get(
        self, name: str, read: Callable[[], _Value], told: Callable[[_Value], str]
    ) -> _Value | None:
        """Read something; reading it is the check."""
        try:
            value = read()
        except AuditError as error:
            self.checks.append(failed(name, str(error)))
            return None
        self.checks.append(held(name, told(value)))
        return value

    def add(self, check: Callable[[], Check]) -> None:
        """Make a check, if nothing has failed yet."""
        if not self.has_failed:
            self.checks.append(check())


def _result(found: _Checks, record: Record | None) -> Result:
    if found.has_failed or record is None:
        return Result.REFUSED
    return Result.HOLDS if record.closing.state is State.COMPLETE else Result.INCOMPLETE


def _limits(record: Record | None, bundle: BundleContents | None) -> tuple[str, ...]:
    if record is None or bundle is None:
        return ()
    limits = list(LIMITS)
    if record.opening.suspect.kind == ENDPOINT:
        limits.append(ENDPOINT_LIMIT)
    if record.opening.suspect.kind == FUNCTION:
        limits.append(FUNCTION_LIMIT)
    if record.signer_key_id == bundle.signer_key_id:
        limits.append(OWNER_IS_AUDITOR)
    return tuple(limits)
