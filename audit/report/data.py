"""What a report shows, in the order of its pages, as plain values; no markup."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from adapters.printable import printable
from adapters.suspect import REFUSED
from audit.bundle.manifest import BundleContents, class_name
from audit.bundle.query_order import START
from audit.errors import SignatureInvalidError
from audit.records.check import Check, held, unchecked
from audit.records.endpoint_identity import said, shown
from audit.records.record import Record, read_record, seconds
from audit.records.verify import LIMITS, Result, verify_record
from audit.report.stronger import stronger
from audit.report.words import Agreement, Words, words
from audit.scores.evidence import QueryEvidence, shown_evidence
from audit.signing.keys import Trust
from audit.verdict.outcome import Outcome
from audit.verdict.steps import crafted_score

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_TELLING = 12
"""Queries on the contact sheet."""
MIN_TILE_PX = 96


@dataclass(frozen=True, kw_only=True)
class TellingQuery:
    """A query whose answer says much."""

    index: int
    png: str
    """Base64."""
    suspect_class: str
    source_class: str
    innocent_class: str
    """The innocent models' most frequent answer, and how many of them gave it."""
    evidence: float
    """In the unit of the score; larger speaks for derivation."""


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything on a report's pages but the figures."""

    record: Record
    outcome: Outcome | None
    words: Words
    result: Result | None
    """None if there was no bundle to verify with."""
    checks: tuple[Check, ...]
    limits: tuple[str, ...]
    stronger: tuple[str, ...]
    """What would make the evidence stronger, the cheapest first."""
    bundle: BundleContents | None
    evidence: QueryEvidence | None
    telling: tuple[TellingQuery, ...]
    facts: Mapping[str, tuple[tuple[str, str], ...]]
    """Tables of names and values, by title."""


def report_data(
    record_path: Path,
    bundle_path: Path | None,
    trust: Trust,
    *,
    commitment_path: Path | None = None,
    certificates: Sequence["Certificate"] = (),
) -> ReportData:
    """Verify a record as far as possible and collect what a report shows.

    Args:
        record_path: The record.
        bundle_path: Its bundle; without it nothing is computed again and no image is shown.
        trust: Keys that count.
        commitment_path: See `audit.records.verify.verify_record`, as the next one.
        certificates: Likewise.

    Raises:
        SignatureInvalidError: The record does not hold; there is nothing to report.
        UntrustedKeyError: It is signed by a key that is not trusted.
        AuditError: A file cannot be read.
    """
    record = read_record(record_path, trust)
    bundle: BundleContents | None = None
    result: Result | None = None
    limits: tuple[str, ...] = LIMITS
    checks: tuple[Check, ...] = (
        held("signature of the record", f"Signed by the trusted key {record.signer_key_id}."),
        held("hash chain", f"{len(record.rows)} answers, unchanged since they were signed."),
        unchecked("recomputation", "This report was made without the bundle (--bundle)."),
    )
    if bundle_path is not None:
        verification = verify_record(
            record_path,
            bundle_path,
            trust,
            commitment_path=commitment_path,
            certificates=certificates,
        )
        checks, limits, result = verification.checks, verification.limits, verification.result
        if result is Result.REFUSED:
            raise SignatureInvalidError(f"record: refused: {checks[-1].text}")
        assert verification.record is not None, "a record that is not refused was read"
        record, bundle = verification.record, verification.bundle
    evidence = None
    if bundle is not None:
        evidence = shown_evidence(
            bundle, record.answers, record.opening.scores, num_first=_stopped_after(record)
        )
    return ReportData(
        record=record,
        outcome=record.closing.outcome,
        words=words(record, agreement_of(bundle, evidence) if bundle and evidence else None),
        result=result,
        checks=checks,
        limits=limits,
        stronger=stronger(record, checks),
        bundle=bundle,
        evidence=evidence,
        telling=_telling(bundle, evidence) if bundle and evidence else (),
        facts=facts_of(record),
    )


def _stopped_after(record: Record) -> int | None:
    outcome = record.closing.outcome
    return crafted_score(outcome).stopped_after if outcome and outcome.scores else None


def telling_order(evidence: QueryEvidence) -> NDArray[np.int64]:
    """Return positions of the answers that say most, in either direction, most telling first."""
    order = np.argsort(-evidence.weights, kind="stable")
    return np.asarray(order[:MAX_TELLING], dtype=np.int64)


def _telling(bundle: BundleContents, evidence: QueryEvidence) -> tuple[TellingQuery, ...]:
    found: list[TellingQuery] = []
    for position in telling_order(evidence):
        index = int(evidence.queries[position])
        found.append(
            TellingQuery(
                index=index,
                png=_png(bundle.arrays.queries[index]),
                suspect_class=class_name(bundle, int(evidence.labels[position])),
                source_class=class_name(bundle, int(bundle.arrays.source_query_labels[index])),
                innocent_class=_innocent_class(bundle, index),
                evidence=float(evidence.suspect[position]),
            )
        )
    return tuple(found)


def _innocent_class(bundle: BundleContents, query: int) -> str:
    is_innocent = [model.role == "innocent" for model in bundle.manifest.calibration_models]
    labels = bundle.arrays.model_query_labels[is_innocent, query]
    if not len(labels):
        return "none to compare with"
    classes, counts = np.unique(labels, return_counts=True)
    most = int(counts.argmax())
    return f"{class_name(bundle, int(classes[most]))} ({counts[most]} of {len(labels)})"


def agreement_of(bundle: BundleContents, evidence: QueryEvidence) -> Agreement | None:
    """Return how often the source's answer was given; None without innocent models."""
    arrays = bundle.arrays
    source = arrays.source_query_labels[evidence.queries]
    is_innocent = [model.role == "innocent" for model in bundle.manifest.calibration_models]
    labels = arrays.model_query_labels[is_innocent][:, evidence.queries]  # [R, Q]
    counts = (labels == source).sum(axis=1)
    if not len(counts):
        return None
    return Agreement(
        num_queries=len(source),
        suspect=int((evidence.labels == source).sum()),
        innocent=(int(counts.min()), int(counts.max())),
    )


def _png(image: NDArray[np.uint8]) -> str:
    from PIL import Image

    height, width, channels = image.shape
    # Pillow takes grey images as [H, W]
    tile = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    factor = max(1, -(-MIN_TILE_PX // max(height, width)))
    tile = tile.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    tile.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def facts_of(record: Record) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return tables of names and values about a record, by title."""
    opening, closing = record.opening, record.closing
    manifest, suspect = opening.bundle.manifest, opening.suspect
    latencies = np.array([row.latency_s for row in record.rows])
    requests = {(row.run, row.request): row for row in record.rows}
    retried = sum(row.attempts > 1 for row in requests.values())
    refused = sum(row.label == REFUSED for row in record.rows)
    tables: dict[str, list[tuple[str, str]]] = {
        "Source": [
            ("model", manifest.model_name),
            ("owner", manifest.owner),
            ("architecture", manifest.source.architecture),
            ("parameters", f"{manifest.source.num_parameters:,}"),
            ("weights, SHA-256", manifest.source.weights_sha256),
            ("bundle", opening.bundle.sha256),
            ("bundle made", manifest.created),
            ("bundle signed by key", opening.bundle.signer_key_id),
        ],
        "Suspect": [
            ("kind", _KINDS.get(suspect.kind, "remote service")),
            ("name", suspect.name),
            ("file, SHA-256" if suspect.kind == "onnx" else "description, SHA-256", suspect.digest),
            ("answers used", opening.settings.get("capability", "").lower()),
            *opening.runs[-1].details.items(),
            *((f"said: {name}", shown(counts)) for name, counts in said(record.rows).items()),
        ],
        "Asking": [
            ("audit", opening.audit),
            ("number", opening.count.sentence),
            ("started", opening.started),
            ("first query", opening.settings.get(START, "")),
            ("ended", closing.finished or "not brought to an end"),
            ("ended by", closing.ended_by.value if closing.ended_by else ""),
            ("runs", str(len(opening.runs))),
            ("answers", str(len(record.rows))),
            ("refused", str(refused)),
            ("requests", f"{len(requests)}, of which {retried} were sent more than once"),
            ("latency", _latency(latencies)),
            ("longest silence", _silence(record)),
        ],
        "Record": [
            ("identity, SHA-256 of its closing line", record.digest),
            ("signed by key", record.signer_key_id),
            ("signed at", closing.written),
            ("state", closing.state.value),
        ],
        "Versions": list(opening.runs[-1].libraries.items()),
    }
    return {
        title: tuple((printable(name), printable(value)) for name, value in rows if value)
        for title, rows in tables.items()
    }


_KINDS = {"onnx": "ONNX file", "python": "a function of the auditor's own"}


def _latency(latencies: NDArray[np.float64]) -> str:
    if not len(latencies):
        return ""
    median, worst = np.median(latencies), latencies.max()
    return f"median {median * 1000:.3g} ms, at most {worst * 1000:.3g} ms"


def _silence(record: Record) -> str:
    times = [seconds(row.asked) for row in record.rows]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return f"{max(gaps):.3g} s between two questions" if gaps else ""
