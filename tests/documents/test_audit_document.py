"""What scripts read of an audit: the JSON document, its schema, the JUnit file, the exit status."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import Done, run
from worlds.own_process import kinprint
from worlds.record_builder import (
    GOLDEN_BUNDLE,
    FakeSuspect,
    audited_contents,
    copy_rule,
    innocent_rule,
)
from worlds.servers.fault_proxy import LASTING
from worlds.servers.vendor_server import Rule, vendor

from audit.asking.options import AuditOptions
from audit.commands.audit_row import audit_row
from audit.documents.audit_document import SCHEMA_VERSION, make_schema, schema_text
from audit.report.junit import junit_bytes

BUNDLE = audited_contents()
SCHEMA = json.loads(schema_text())


def lopsided(kind: str, index: int, label: int) -> int:
    """Answer every third query like the source: too little and too much."""
    return innocent_rule(kind, index, label) if index % 3 else copy_rule(kind, index, label)


def audit(folder: Path, rule: Rule, *options: object, is_down: bool = False) -> Done:
    fault = LASTING["no credentials"].fault if is_down else None
    with vendor(BUNDLE, rule, lambda number: fault) as server:
        path = server.endpoint_file(folder / "vendor.toml")
        arguments = [GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--endpoint", path]
        return run("audit", *arguments, "--journal", folder / "j.sqlite", *options)


def validated(text: str) -> dict[str, Any]:
    document = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert isinstance(document, dict)
    return document


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What an audit of a derived suspect prints."""
    return audit(tmp_path_factory.mktemp("told"), copy_rule, "--json").stdout


def test_the_shipped_schema_is_that_of_the_models() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert make_schema() == SCHEMA, "python -m audit.documents.audit_document writes it anew"


@pytest.mark.parametrize(
    ("rule", "is_down", "options", "status"),
    [
        (copy_rule, False, [], 10),
        (innocent_rule, False, [], 0),
        (lopsided, False, ["--ask-all"], 11),
        (lambda kind, index, label: (label + 1) % 4, False, [], 15),
        (copy_rule, False, ["--budget", "9"], 12),
        (copy_rule, True, [], 14),
    ],
    ids=["derived", "independent", "inconclusive", "not comparable", "budget", "no answer"],
)
def test_every_outcome_fits_the_schema_and_the_status(
    tmp_path: Path, rule: Rule, is_down: bool, options: list[str], status: int
) -> None:
    done = audit(tmp_path, rule, *options, "--json", is_down=is_down)
    document = validated(done.stdout)
    assert document["schema_version"] == SCHEMA_VERSION
    assert done.returncode == document["exit_code"] == status, done.stdout


def test_a_file_fits_the_schema_too(tmp_path: Path) -> None:
    row = audit_row(
        BUNDLE,
        FakeSuspect(BUNDLE, copy_rule),
        Path("a.onnx"),
        AuditOptions(),
        journal=tmp_path / "journal.sqlite",
        is_shown=False,
    )
    assert row["run"]["spent"] is None
    bundle = {
        "sha256": "0" * 64,
        "model_name": "m",
        "owner": "o",
        "signer": "0" * 64,
        "method": "mfue",
        "alpha": 0.1,
        "beta": 0.1,
    }
    document = {
        "schema_version": SCHEMA_VERSION,
        "bundle": bundle,
        "audits": [row],
        "exit_code": 10,
    }
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("bundle"),
        lambda document: document.update(schema_version=1),
        lambda document: document["audits"][0].update(outcome={}),
        lambda document: document["audits"][0]["run"].update(seconds="fast"),
        lambda document: document["audits"][0]["outcome"].update(verdict="guilty"),
    ],
)
def test_the_schema_refuses_what_is_none(told: str, spoil: Any) -> None:
    document = validated(told)
    spoil(document)
    with pytest.raises(jsonschema.ValidationError, match=r"."):
        jsonschema.Draft202012Validator(SCHEMA).validate(document)


def test_a_field_that_a_later_version_adds_does_not_matter(told: str) -> None:
    document = validated(told)
    document["audits"][0]["run"]["weather"] = "fine"
    validated(json.dumps(document))


def test_the_schema_is_printed_without_a_bundle() -> None:
    done = kinprint("audit", "--json-schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == SCHEMA


@pytest.mark.parametrize(
    ("rule", "is_down", "fail_on", "status", "tag"),
    [
        (copy_rule, False, "inconclusive", 10, "failure"),
        (copy_rule, False, "never", 0, None),
        (innocent_rule, False, "inconclusive", 0, None),
        (lopsided, False, "inconclusive", 11, "failure"),
        (lopsided, False, "derived", 0, "skipped"),
        (copy_rule, True, "derived", 14, "error"),
    ],
)
def test_a_junit_file_says_what_the_status_says(
    tmp_path: Path, rule: Rule, is_down: bool, fail_on: str, status: int, tag: str | None
) -> None:
    path = tmp_path / "out.xml"
    options = ["--junit", path, "--fail-on", fail_on, "--ask-all"]
    done = audit(tmp_path, rule, *options, is_down=is_down)
    assert done.returncode == status, done.stderr
    root = ElementTree.parse(path).getroot()
    (case,) = root.iter("testcase")
    tags = [each.tag for each in case if each.tag != "system-out"]
    assert tags == ([tag] if tag else [])
    (suite,) = root.iter("testsuite")
    counts = {kind: int(suite.get(kind, "-1")) for kind in ("tests", "failures", "errors")}
    assert counts == {"tests": 1, "failures": int(tag == "failure"), "errors": int(tag == "error")}


def test_what_others_wrote_cannot_break_the_junit_file() -> None:
    nasty = "</testcase>\x00\x1b[31m\ud800\u202e&"
    row = {"suspect": {"path": nasty}, "error": nasty, "exit_code": 14}
    content = junit_bytes(
        {"model_name": nasty, "sha256": "0", "owner": nasty}, [row, row], "derived"
    )
    cases = list(ElementTree.fromstring(content).iter("testcase"))
    assert [case.get("name") for case in cases] == ["</testcase>??[31m??&"] * 2
