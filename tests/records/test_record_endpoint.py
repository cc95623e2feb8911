"""A record of an endpoint says who answered: certificate, server, model variant."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from worlds.allowed import open_allowed
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    GOLDEN_RECORD,
    NUM_CONTROLS,
    NUM_QUERIES,
    TRUST,
    audited_contents,
    copy_rule,
    fixed_draft,
    forged,
    signed,
)
from worlds.servers.http_faults import Reply, scripted_server
from worlds.servers.private_authority import PrivateAuthority, make_authority

from audit.asking.session import AuditSession
from audit.journal.journal import Journal
from audit.records.check import Check, Status
from audit.records.endpoint_identity import check_server
from audit.records.from_journal import export_record, stored_audits
from audit.records.record import parse_record
from audit.records.verify import ENDPOINT_LIMIT, LIMITS, Result, verify_record
from audit.report.data import report_data
from audit.report.write import render_html, render_json

ENDPOINT = """\
format = "generic"
url = "{url}"
class_names = {names}
concurrency = 1
ca_bundle = "root.pem"
[request]
template = '{{"image": "{{{{image_base64_png}}}}"}}'
[answer]
label = "label"
"""


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrivateAuthority:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    return make_authority(tmp_path)


def record_of_a_vendor(
    folder: Path, authority: PrivateAuthority, variants: list[str]
) -> tuple[Path, str]:
    """Audit an HTTPS server that answers like the source; return record and certificate digest."""
    bundle = audited_contents()
    labels = [*bundle.arrays.control_labels, *bundle.arrays.source_query_labels]
    replies = [
        Reply(
            body=json.dumps({"label": int(label)}).encode(),
            headers={
                "Server": "serving/2",
                "X-Request-Id": f"r-{number}",
                "x-amzn-Invoked-Production-Variant": variants[number * len(variants) // 32],
                "Set-Cookie": "session=very-private",
            },
        )
        for number, label in enumerate(labels)
    ]
    tls, certificate = authority.server("vendor.example")
    path = folder / "vendor.kinrecord"
    journal = Journal(folder / "journal.sqlite")
    with scripted_server(*replies, tls=tls) as server:
        names = json.dumps(list(bundle.manifest.task.class_names))
        (folder / "vendor.toml").write_text(ENDPOINT.format(url=server.url, names=names))
        endpoint = open_allowed(folder / "vendor.toml")
        list(AuditSession(bundle, endpoint, journal).run())
        endpoint.close()
    export_record(journal, stored_audits(journal)[0].audit, path, AUDITOR_KEY)
    journal.close()
    return path, hashlib.sha256(certificate).hexdigest()


def who_answered(path: Path) -> Check:
    verification = verify_record(path, GOLDEN_BUNDLE, TRUST)
    assert verification.result is Result.HOLDS
    (check,) = [check for check in verification.checks if check.name == "who answered"]
    return check


def test_verify_names_certificate_server_and_variant_as_the_word_of_the_auditor(
    tmp_path: Path, authority: PrivateAuthority
) -> None:
    assert NUM_CONTROLS + NUM_QUERIES == 32
    path, digest = record_of_a_vendor(tmp_path, authority, ["blue"])
    check = who_answered(path)
    assert check.status is Status.OPEN
    assert check.text == (
        "All 32 answers came over TLS under one certificate: CN=vendor.example, issued by CN=root "
        "of the tests, valid from 2026-01-01T00:00:00Z to 2099-01-01T00:00:00Z, SHA-256 "
        f"{digest}. It called itself server serving/2, "
        "x-amzn-invoked-production-variant blue. All this is what the auditor wrote down."
    )


def test_nobody_can_say_who_runs_an_endpoint_and_that_is_said_with_its_record(
    tmp_path: Path,
) -> None:
    def change(lines: list[dict[str, object]]) -> None:
        suspect = lines[0]["suspect"]
        assert isinstance(suspect, dict)
        suspect["kind"] = "endpoint"

    path = tmp_path / "endpoint.kinrecord"
    path.write_bytes(forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY))
    assert verify_record(path, GOLDEN_BUNDLE, TRUST).limits == (*LIMITS, ENDPOINT_LIMIT)


def test_a_variant_that_changes_during_an_audit_is_told(
    tmp_path: Path, authority: PrivateAuthority
) -> None:
    path, _ = record_of_a_vendor(tmp_path, authority, ["blue", "green"])
    assert (
        "What it said changed during the audit, and the model behind it may have, too: "
        "x-amzn-invoked-production-variant: blue (16 answers), green (16 answers)."
    ) in who_answered(path).text


def test_the_report_shows_who_answered_and_no_cookie(
    tmp_path: Path, authority: PrivateAuthority
) -> None:
    path, digest = record_of_a_vendor(tmp_path, authority, ["blue"])
    data = report_data(path, GOLDEN_BUNDLE, TRUST)
    page = render_html(data)
    for told in ("vendor.example", digest, "serving/2", "blue", "32 values, from r-0 to r-31"):
        assert told in page
    assert "very-private" not in page + render_json(data) + path.read_text()
    facts = json.loads(render_json(data))["facts"]["Suspect"]
    assert facts["said: tls.certificate_sha256"] == digest


def test_answers_without_tls_and_a_changed_certificate_are_told() -> None:
    draft = fixed_draft(audited_contents(), copy_rule)
    rows = [{**row, "metadata": {"tls.certificate_sha256": "ab"}} for row in draft.rows]

    def told(metadata: list[dict[str, str]]) -> str:
        changed = [
            {**row, "metadata": metadata[number * len(metadata) // len(rows)]}
            for number, row in enumerate(rows)
        ]
        record = parse_record(signed(dataclasses.replace(draft, rows=changed)), TRUST)
        return check_server(record).text

    one, other = {"tls.certificate_sha256": "ab"}, {"tls.certificate_sha256": "cd"}
    assert told([{}]).startswith("No TLS certificate is noted")
    assert told([one, other]).startswith(
        "The certificate changed during the audit: ab (16 answers), cd (16 answers)."
    )
    assert told([one, {}]).startswith(
        "The certificate changed during the audit: ab; 16 answers without one."
    )
