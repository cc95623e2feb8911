"""Verdicts as SARIF 2.1.0, which code scanning services and security teams collect.

A suspect is a file that a result points at, a verdict a rule: derived is an error, or a warning
where its p-value is not small; inconclusive a warning; independent a note that nothing was found.
What could not be judged is a notification of the run, not a result. Everything that came from
elsewhere is made printable.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from adapters.printable import json_text, printable
from audit.verdict.outcome import Verdict

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_STRONG = 0.05
"""A derived suspect with a larger p-value is a warning: weak evidence must not stop a build as
strong evidence does."""
_RULES = {
    Verdict.DERIVED: (
        "KIN001",
        "DerivedModel",
        "The model answers like one that was derived from the bundle's source.",
    ),
    Verdict.INCONCLUSIVE: (
        "KIN002",
        "Inconclusive",
        "The answers decide neither for nor against derivation.",
    ),
    Verdict.INDEPENDENT: (
        "KIN003",
        "IndependentModel",
        "The model answers like one that was made without the source.",
    ),
    Verdict.NOT_COMPARABLE: (
        "KIN004",
        "NotComparable",
        "The model does badly on ordinary images of the task.",
    ),
    Verdict.NO_COPY: (
        "KIN005",
        "NoCopy",
        "The model is no copy of the source; whether it learnt from its answers was not asked.",
    ),
}
_CLEAR = frozenset({Verdict.INDEPENDENT, Verdict.NO_COPY})
"""Verdicts that pass."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one suspect came to with one bundle."""

    path: str
    """The suspect's file, or the file that describes its endpoint."""
    text: str
    """In words: what was found, or why nothing was."""
    bundle_sha256: str
    model_name: str
    verdict: Verdict | None = None
    """None where there is none, because of an error."""
    properties: Mapping[str, Any] | None = None
    """Numbers: scores, p-values."""
    p_value: float | None = None


def sarif_bytes(findings: Sequence[Finding]) -> bytes:
    """Return a SARIF log of one run."""
    judged = [finding for finding in findings if finding.verdict is not None]
    failed = [finding for finding in findings if finding.verdict is None]
    run = {
        "tool": {
            "driver": {
                "name": "Kinprint",
                "version": version("kinprint"),
                "rules": [
                    {
                        "id": identity,
                        "name": name,
                        "shortDescription": {"text": text},
                        "defaultConfiguration": {"level": _default_level(verdict)},
                    }
                    for verdict, (identity, name, text) in _RULES.items()
                ],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not failed,
                "toolExecutionNotifications": [_notification(finding) for finding in failed],
            }
        ],
        "results": [_result(finding) for finding in judged],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json_text(json.dumps(log, indent=2)).encode() + b"\n"


def findings_of(bundle: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Return the findings of ``kinprint audit``.

    Args:
        bundle: The document's entry ``bundle`` (`audit.documents.audit_document`).
        rows: Its entry ``audits``.
    """
    return [_finding(bundle, row) for row in rows]


def _p_value(outcome: Mapping[str, Any]) -> float | None:
    """Return the p-value of the deciding score, or of answers and weights together."""
    if (weights := outcome.get("weights")) is not None:
        joint: float | None = weights["joint_p_value"]
        return joint
    return outcome["scores"][0]["p_value"] if outcome["scores"] else None


def _finding(bundle: Mapping[str, Any], row: Mapping[str, Any]) -> Finding:
    told = {"bundle_sha256": bundle["sha256"], "model_name": bundle["model_name"]}
    path = row["suspect"]["path"]
    if "error" in row:
        return Finding(path=path, text=row["error"], **told)
    outcome = row["outcome"]
    scores = outcome["scores"]
    verdict, text = Verdict(outcome["verdict"]), outcome["text"]
    if not row["is_complete"]:
        verdict, text = Verdict.INCONCLUSIVE, f"Stopped by its budget. {text}"
    return Finding(
        path=path,
        text=text,
        verdict=verdict,
        p_value=_p_value(outcome),
        properties={
            "controlAccuracy": outcome["control"]["accuracy"],
            "numQuestions": outcome["num_questions"],
            "scores": {
                score["name"]: {"value": score["value"], "pValue": score["p_value"]}
                for score in scores
            },
        },
        **told,
    )


def _result(finding: Finding) -> dict[str, Any]:
    assert finding.verdict is not None, "only what was judged is a result"
    identity = _RULES[finding.verdict][0]
    clear = finding.verdict in _CLEAR
    return {
        "ruleId": identity,
        "ruleIndex": list(_RULES).index(finding.verdict),
        "kind": "pass" if clear else "fail",
        # A result that passes has no level but this one (SARIF 2.1.0, section 3.27.10).
        "level": "none" if clear else _level(finding),
        "message": {"text": printable(finding.text)},
        "locations": [_location(finding.path)],
        # The same finding in another run: one alert, not one a night.
        "partialFingerprints": {"kinprint/v1": _fingerprint(finding, identity)},
        "properties": {
            "bundle": finding.bundle_sha256,
            "source": printable(finding.model_name),
            "pValue": finding.p_value,
            **(finding.properties or {}),
        },
    }


def _notification(finding: Finding) -> dict[str, Any]:
    return {
        "level": "error",
        "message": {"text": printable(finding.text)},
        "locations": [_location(finding.path)],
    }


def _default_level(verdict: Verdict) -> str:
    if verdict in _CLEAR:
        return "none"
    return "error" if verdict is Verdict.DERIVED else "warning"


def _level(finding: Finding) -> str:
    assert finding.verdict is not None, "callers have one"
    is_weak = finding.p_value is None or finding.p_value > _STRONG
    if finding.verdict is Verdict.DERIVED and is_weak:
        return "warning"
    return _default_level(finding.verdict)


def _location(path: str) -> dict[str, Any]:
    # A URI in which nothing but unreserved characters and slashes stands raw; relative paths stay
    # relative, so that a scanner finds the file in its checkout.
    uri = quote(Path(path).as_posix(), safe="/")
    if uri.startswith("/"):
        uri = f"file://{uri}"
    return {"physicalLocation": {"artifactLocation": {"uri": uri}}}


def _fingerprint(finding: Finding, identity: str) -> str:
    told = f"{finding.bundle_sha256}\n{finding.path}\n{identity}"
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()
