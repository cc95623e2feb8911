"""A record as a CycloneDX 1.6 ML-BOM, which inventories of software and models import.

The suspect is the component. Only where it was found derived does its pedigree name the source as
an ancestor; in every case a claim with the auditor's verdict points at the record as its evidence.
No p-value is given as a CycloneDX confidence, which is a probability of being right. Everything
that came from elsewhere is made printable.
"""

import json
import uuid
from typing import Any

from adapters.printable import json_text, printable
from audit.records.record import Record
from audit.records.verify import ENDPOINT
from audit.report.data import ReportData
from audit.verdict.outcome import Verdict

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_NAMESPACE = uuid.UUID("5c4b7f4e-63a1-5d0b-9d0a-2f0c6a4f1b7e")
"""Of serial numbers: the same record gives the same document."""
_SUSPECT, _AUDITOR, _RECORD = "suspect", "auditor", "record"


def render_cyclonedx(data: ReportData) -> str:
    """Return the document."""
    record = data.record
    document = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(_NAMESPACE, record.digest).urn,
        "version": 1,
        "metadata": {
            "timestamp": record.closing.written,
            "tools": {"components": [_tool(record)]},
        },
        "components": [_suspect(record)],
        "declarations": _declarations(record),
    }
    return json_text(json.dumps(document, indent=2)) + "\n"


def _tool(record: Record) -> dict[str, Any]:
    version = record.opening.runs[-1].libraries.get("kinprint")
    tool = {"type": "application", "name": "kinprint"}
    return tool | ({"version": printable(version)} if version else {})


def _suspect(record: Record) -> dict[str, Any]:
    suspect, outcome = record.opening.suspect, record.closing.outcome
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": _SUSPECT,
        "name": printable(suspect.name),
        "properties": _properties(_numbers(record)),
    }
    if suspect.kind == ENDPOINT:
        # What is hashed is the endpoint's description: no file of this component has that digest.
        component["properties"] += _properties({"descriptionSha256": suspect.digest})
        component["externalReferences"] = [{"type": "distribution", "url": suspect.name}]
    else:
        component["hashes"] = [{"alg": "SHA-256", "content": suspect.digest}]
    if outcome is not None and outcome.verdict is Verdict.DERIVED:
        component["pedigree"] = {
            "ancestors": [_source(record)],
            "notes": printable(outcome.text),
        }
    return component


def _source(record: Record) -> dict[str, Any]:
    manifest = record.opening.bundle.manifest
    return {
        "type": "machine-learning-model",
        "name": printable(manifest.model_name),
        "manufacturer": {"name": printable(manifest.owner)},
        "properties": _properties(
            {
                "architecture": manifest.source.architecture,
                "weightsSha256": manifest.source.weights_sha256,
            }
        ),
    }


def _numbers(record: Record) -> dict[str, object]:
    opening, closing = record.opening, record.closing
    outcome = closing.outcome
    told: dict[str, object] = {
        "state": closing.state.value,
        "source": opening.bundle.manifest.model_name,
        "bundle": opening.bundle.sha256,
        "record": record.digest,
        "numAnswers": closing.num_answers,
    }
    if outcome is None:
        return told
    told |= {"verdict": outcome.verdict.value, "alpha": outcome.alpha, "beta": outcome.beta}
    if outcome.p_value is not None:
        told |= {"pValue": outcome.p_value, "smallestPValue": outcome.smallest_p_value}
    return told | {f"score:{score.name}": score.value for score in outcome.scores}


def _declarations(record: Record) -> dict[str, Any]:
    outcome, signer = record.closing.outcome, record.signer_key_id
    source = record.opening.bundle.manifest.model_name
    found = "no verdict: the audit was interrupted" if outcome is None else outcome.text
    return {
        "assessors": [
            {
                "bom-ref": _AUDITOR,
                "thirdParty": signer != record.opening.bundle.signer_key_id,
                "organization": {"name": f"holder of the key {signer}"},
            }
        ],
        "attestations": [
            {
                "summary": "Audit of whether the model is derived from another one.",
                "assessor": _AUDITOR,
                "map": [{"claims": ["claim"]}],
            }
        ],
        "claims": [
            {
                "bom-ref": "claim",
                "target": _SUSPECT,
                "predicate": printable(f"Compared with {source}: {found}"),
                "evidence": [_RECORD],
            }
        ],
        "evidence": [
            {
                "bom-ref": _RECORD,
                "propertyName": "kinprint:record",
                "description": f"Kinprint record with the identity {record.digest}, signed by the "
                f"key {signer}; kinprint verify computes its verdict again.",
                "created": record.closing.written,
            }
        ],
    }


def _properties(values: dict[str, object]) -> list[dict[str, str]]:
    return [
        {"name": f"kinprint:{name}", "value": printable(str(value))}
        for name, value in values.items()
    ]
