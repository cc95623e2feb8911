"""CycloneDX: valid by the official schema, and no ancestor is named without a verdict for it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from worlds.in_process import run
from worlds.record_builder import (
    GOLDEN_RECORD,
    TRUST,
    audited_contents,
    copy_rule,
    fixed_draft,
    innocent_rule,
    interrupted,
    signed,
)

from audit.records.record import Draft, RecordedSuspect
from audit.report.cyclonedx import render_cyclonedx
from audit.report.data import report_data


def valid(text: str) -> dict[str, Any]:
    """Return the document of a text that the official schema takes."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


def document_of(folder: Path, draft: Draft) -> dict[str, Any]:
    path = folder / "test.kinrecord"
    path.write_bytes(signed(draft))
    return valid(render_cyclonedx(report_data(path, None, TRUST)))


def values(component: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in component["properties"]}


@pytest.fixture(scope="module")
def derived() -> Draft:
    return fixed_draft(audited_contents(), copy_rule)


def test_a_derived_file_has_the_source_as_its_ancestor(tmp_path: Path) -> None:
    out, key = tmp_path / "suspect.cdx.json", Path(__file__).parents[1] / "data" / "auditor.pub"
    done = run("report", GOLDEN_RECORD, "--trust", key, "--format", "cyclonedx", "-o", out)
    assert done.returncode == 0, done.stderr
    document = valid(out.read_text(encoding="utf-8"))
    (suspect,) = document["components"]
    golden = json.loads(GOLDEN_RECORD.read_bytes().split(b"\n")[0])
    assert suspect["hashes"] == [{"alg": "SHA-256", "content": golden["suspect"]["digest"]}]
    (ancestor,) = suspect["pedigree"]["ancestors"]
    assert ancestor["name"] == golden["bundle"]["manifest"]["model_name"]
    assert values(suspect)["kinprint:verdict"] == "derived"
    (claim,) = document["declarations"]["claims"]
    assert claim["target"] == suspect["bom-ref"]
    assert claim["evidence"] == [document["declarations"]["evidence"][0]["bom-ref"]]


def test_an_independent_file_has_no_ancestor_and_a_claim_that_names_the_source(
    tmp_path: Path,
) -> None:
    document = document_of(tmp_path, fixed_draft(audited_contents(), innocent_rule))
    (suspect,) = document["components"]
    assert "pedigree" not in suspect
    assert values(suspect)["kinprint:verdict"] == "independent"
    claim = document["declarations"]["claims"][0]["predicate"]
    assert claim.startswith("Compared with audited-test-model: ")


def test_an_interrupted_audit_claims_no_verdict(tmp_path: Path, derived: Draft) -> None:
    document = document_of(tmp_path, interrupted(derived, num_rows=3))
    (suspect,) = document["components"]
    assert "pedigree" not in suspect
    assert "kinprint:verdict" not in values(suspect)
    assert "no verdict" in document["declarations"]["claims"][0]["predicate"]


def test_an_endpoint_has_an_address_and_no_digest_of_a_file(tmp_path: Path, derived: Draft) -> None:
    address = "https://api.vendor.example/classify"
    suspect = RecordedSuspect(kind="endpoint", name=address, digest="5" * 64)
    opening = derived.opening.model_copy(update={"suspect": suspect})
    document = document_of(tmp_path, dataclasses.replace(derived, opening=opening))
    (component,) = document["components"]
    assert "hashes" not in component
    assert component["externalReferences"] == [{"type": "distribution", "url": address}]


def test_a_name_with_control_characters_stays_a_name(tmp_path: Path, derived: Draft) -> None:
    suspect = RecordedSuspect(kind="onnx", name="a\x1b[31m\u202e.onnx", digest="5" * 64)
    opening = derived.opening.model_copy(update={"suspect": suspect})
    document = document_of(tmp_path, dataclasses.replace(derived, opening=opening))
    assert document["components"][0]["name"].isprintable()
