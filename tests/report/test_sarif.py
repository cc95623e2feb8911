"""SARIF: valid by the official schema, levels that follow verdict and p-value, nothing raw."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from worlds.in_process import run
from worlds.sweep_world import World

from audit.report.sarif import Finding, sarif_bytes
from audit.verdict.outcome import Verdict

SCHEMA = json.loads(
    (Path(__file__).parents[1] / "data" / "sarif-2.1.0.schema.json").read_text(encoding="utf-8")
)


def valid(data: bytes) -> dict[str, Any]:
    """Return the only run of a log that the schema takes."""
    log = json.loads(data)
    Draft4Validator(SCHEMA).validate(log)
    (found,) = log["runs"]
    assert isinstance(found, dict)
    return found


def finding(**fields: Any) -> Finding:
    given = {"path": "models/a.onnx", "text": "Found.", "bundle_sha256": "0" * 64}
    return Finding(model_name="cats", **{**given, **fields})


@pytest.mark.parametrize(
    ("verdict", "p_value", "rule", "kind", "level"),
    [
        (Verdict.DERIVED, 0.01, "DerivedModel", "fail", "error"),
        (Verdict.DERIVED, 0.05, "DerivedModel", "fail", "error"),
        (Verdict.DERIVED, 0.091, "DerivedModel", "fail", "warning"),
        (Verdict.INCONCLUSIVE, 0.3, "Inconclusive", "fail", "warning"),
        (Verdict.INDEPENDENT, 0.9, "IndependentModel", "pass", "none"),
        (Verdict.NOT_COMPARABLE, None, "NotComparable", "fail", "warning"),
        (Verdict.NO_COPY, 0.9, "NoCopy", "pass", "none"),
    ],
)
def test_a_verdict_is_a_rule_and_weak_evidence_a_warning(
    verdict: Verdict, p_value: float | None, rule: str, kind: str, level: str
) -> None:
    told = valid(sarif_bytes([finding(verdict=verdict, p_value=p_value)]))
    (result,) = told["results"]
    named = told["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert (named["name"], named["id"]) == (rule, result["ruleId"])
    assert (result["kind"], result["level"]) == (kind, level)
    assert told["invocations"][0]["executionSuccessful"]


def test_what_could_not_be_judged_is_a_notification() -> None:
    told = valid(sarif_bytes([finding(text="unreachable"), finding(verdict=Verdict.DERIVED)]))
    assert len(told["results"]) == 1
    (invocation,) = told["invocations"]
    assert not invocation["executionSuccessful"]
    (noted,) = invocation["toolExecutionNotifications"]
    assert noted["message"]["text"] == "unreachable"


def test_the_same_finding_has_the_same_fingerprint_and_another_has_another() -> None:
    def prints(**fields: Any) -> dict[str, str]:
        (result,) = valid(sarif_bytes([finding(**{"verdict": Verdict.DERIVED, **fields})]))[
            "results"
        ]
        return dict(result["partialFingerprints"])

    assert prints() == prints(text="Other words.", p_value=0.02)
    assert (
        len({str(prints(**one)) for one in ({}, {"path": "b"}, {"bundle_sha256": "1" * 64})}) == 3
    )


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("models/a b.onnx", "models/a%20b.onnx"),
        ("/srv/a.onnx", "file:///srv/a.onnx"),
        ("a\x1b[2J%.onnx", "a%1B%5B2J%25.onnx"),
    ],
)
def test_a_path_is_a_uri_and_a_text_is_printable(path: str, uri: str) -> None:
    data = sarif_bytes([finding(path=path, text="\x1b[2Jgone", verdict=Verdict.DERIVED)])
    assert b"\x1b" not in data
    assert b"u001b" not in data
    (result,) = valid(data)["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_audit_and_sweep_write_the_same_findings(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add_some()
    (world.suspects / "broken.onnx").write_bytes(b"no")
    swept, audited = tmp_path / "sweep.sarif", tmp_path / "audit.sarif"
    run(*world.command("--jobs", 1, "--sarif", swept))
    files = [f"--onnx={path}" for path in sorted(world.suspects.rglob("*.onnx"))]
    run(
        *(
            "audit",
            world.bundles / "first.kinprint",
            *files,
            "--trust",
            world.owner,
            "--sarif",
            audited,
        ),
        *("--journal", tmp_path / "audit.sqlite"),
    )

    def told(path: Path) -> dict[str, str]:
        found = valid(path.read_bytes())
        results = {
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]: result["ruleId"]
            for result in found["results"]
        }
        for noted in found["invocations"][0]["toolExecutionNotifications"]:
            results[noted["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]] = "none"
        return results

    assert told(swept) == told(audited)
    assert sorted(told(swept).values()) == ["KIN001", "KIN003", "KIN003", "none"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add("copy.onnx")
    done = run(
        *("audit", world.bundles / "first.kinprint", f"--onnx={world.suspects / 'copy.onnx'}"),
        *("--trust", world.owner, "--journal", tmp_path / "j.sqlite"),
        *("--sarif", tmp_path / "nowhere" / "x.sarif"),
    )
    assert done.returncode == 2
    assert "sarif: cannot write" in done.stderr
