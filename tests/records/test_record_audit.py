"""From a suspect's file to a report, the way a user goes: audit, verify, report, commit."""

import contextlib
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.audit_world import NUM_CONTROLS, NUM_QUERIES, K, known_bundle
from worlds.bundle_builder import OWNER_KEY
from worlds.in_process import Done, run
from worlds.onnx_builders import brightest_channel, save
from worlds.record_builder import AUDITOR_KEY

from audit.bundle.bundle_file import write_bundle
from audit.signing.keys import write_key_pair


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, keys, a suspect that answers like the source, and its twin in another order."""
    folder = tmp_path_factory.mktemp("evidence")
    _colour_bundle(folder / "model.kinprint")
    save(brightest_channel(shape=("n", 3, 8, 8)), folder / "copy.onnx")
    save(brightest_channel(shape=("n", 3, 8, 8), tail="probabilities"), folder / "other.onnx")
    write_key_pair(folder / "owner.key", OWNER_KEY, None)
    write_key_pair(folder / "auditor.key", AUDITOR_KEY, "secret")
    return folder


def kinprint(folder: Path, *arguments: str) -> Done:
    with contextlib.chdir(folder):
        return run(
            *arguments, XDG_DATA_HOME=str(folder / "data"), KEY_PHRASE="secret", COLUMNS="160"
        )


TRUST = ("--trust", "owner.pub", "--trust", "auditor.pub")
SIGN = ("--auditor-key", "auditor.key", "--passphrase-env", "KEY_PHRASE")


@pytest.fixture(scope="module")
def recorded(folder: Path) -> Path:
    result = kinprint(
        folder, "audit", "model.kinprint", "--onnx", "copy.onnx", *TRUST, *SIGN,
        "--record", "copy.kinrecord", "--json",
    )  # fmt: skip
    assert result.returncode == 10, result.stderr
    assert json.loads(result.stdout)["audits"][0]["outcome"]["verdict"] == "derived"
    return folder / "copy.kinrecord"


def test_an_audit_with_a_record_verifies_and_asking_again_finds_no_difference(
    folder: Path, recorded: Path
) -> None:
    arguments = ("verify", recorded.name, "--bundle", "model.kinprint", *TRUST)
    told = kinprint(folder, *arguments, "--onnx", "copy.onnx")
    assert told.stdout.endswith("record: holds; verdict: derived; asked again: held\n")
    result = kinprint(folder, *arguments, "--onnx", "copy.onnx", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["asked_again"]["status"] == "held"
    assert document["asked_again"]["differences"] == []


def test_asking_another_file_again_is_refused(folder: Path, recorded: Path) -> None:
    arguments = ("verify", recorded.name, "--bundle", "model.kinprint", *TRUST)
    result = kinprint(folder, *arguments, "--onnx", "other.onnx")
    assert result.returncode == 13
    assert "expected the file with SHA-256" in re.sub(r"\s+", " ", result.stdout)


def test_the_device_that_was_really_used_is_in_the_record(recorded: Path) -> None:
    opening = json.loads(recorded.read_bytes().split(b"\n")[0])
    (only,) = opening["runs"]
    assert any("CPU" in value for value in only["details"].values())
    assert {"python", "numpy", "scipy"} <= set(only["libraries"])


def test_an_audit_without_a_record_can_be_exported_later(folder: Path, recorded: Path) -> None:
    listed = json.loads(kinprint(folder, "record", "list", "--json").stdout)["audits"]
    audit = listed[-1]["audit"]
    result = kinprint(folder, "record", "export", audit, "later.kinrecord", *SIGN)
    assert result.returncode == 0, result.stderr
    arguments = ("verify", "later.kinrecord", "--bundle", "model.kinprint", *TRUST)
    assert kinprint(folder, *arguments).returncode == 0


def test_a_report_is_written_for_people_and_for_a_build_server(
    folder: Path, recorded: Path
) -> None:
    arguments = ("report", recorded.name, "--bundle", "model.kinprint", *TRUST)
    assert kinprint(folder, *arguments, "-o", "report.html").returncode == 0
    assert "behaves like a model derived" in (folder / "report.html").read_text(encoding="utf-8")
    assert "<failure" in kinprint(folder, *arguments, "--format", "junit").stdout
    markdown = kinprint(folder, *arguments, "--format", "md").stdout
    assert "# Audit of copy.onnx" in markdown
    # 9 innocents: p = 1 / 10
    assert "A p of 0.1 is weak evidence if it stands alone" in markdown


def test_a_published_commitment_is_shown_beside_the_audit(folder: Path) -> None:
    committed = kinprint(folder, "commit", "model.kinprint", "--key", "owner.key")
    assert committed.returncode == 0, committed.stderr
    inspected = json.loads(kinprint(folder, "inspect", "model.kinprint", *TRUST, "--json").stdout)
    assert committed.stdout.strip() == inspected["manifest_sha256"]
    audited = kinprint(
        folder, "audit", "model.kinprint", "--onnx", "other.onnx", *TRUST, *SIGN,
        "--record", "after.kinrecord",
    )  # fmt: skip
    assert audited.returncode == 10, audited.stderr
    # A plain audit says what it cannot know.
    assert "No commitment was given" in audited.stdout
    dated = kinprint(
        folder, "audit", "model.kinprint", "--onnx", "other.onnx", *TRUST,
        "--commitment", "model.kincommit",
    )  # fmt: skip
    assert dated.returncode == 10, dated.stderr
    assert "ask where and when it was published" in dated.stdout
    assert "No commitment" not in dated.stdout
    result = kinprint(
        folder, "verify", "after.kinrecord", "--bundle", "model.kinprint", *TRUST,
        "--commitment", "model.kincommit",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert "That date is the owner's word" in re.sub(r"\s+", " ", result.stdout)
    report = kinprint(
        folder, "report", "after.kinrecord", "--bundle", "model.kinprint", *TRUST,
        "--commitment", "model.kincommit", "--format", "json",
    )  # fmt: skip
    assert "That date is the owner's word" in report.stdout


def test_a_commitment_with_another_key_than_the_owners_is_refused(folder: Path) -> None:
    signing = ("--key", "auditor.key", "--passphrase-env", "KEY_PHRASE", "-o", "x.kincommit")
    result = kinprint(folder, "commit", "model.kinprint", *signing)
    assert result.returncode == 2
    assert "--key: expected the key that signed model.kinprint, got " in result.stderr
    assert not (folder / "x.kincommit").exists()


def test_evidence_that_is_there_is_not_replaced(folder: Path) -> None:
    there = folder / "there.kinrecord"
    there.write_text("the record of another audit")
    arguments = ("audit", "model.kinprint", "--onnx", "copy.onnx", *TRUST, *SIGN)
    result = kinprint(folder, *arguments, "--record", str(there))
    assert result.returncode == 2
    assert "evidence is not replaced" in result.stderr.replace("\n", " ")
    assert there.read_text() == "the record of another audit"


def test_a_record_that_cannot_be_written_costs_neither_verdict_nor_answers(folder: Path) -> None:
    longest = "x" * 300
    arguments = ("audit", "model.kinprint", "--onnx", "copy.onnx", *TRUST, *SIGN, "--json")
    result = kinprint(folder, *arguments, "--journal", "kept.sqlite", "--record", longest)
    assert result.returncode == 2
    document = json.loads(result.stdout)
    (row,) = document["audits"]
    assert row["outcome"]["verdict"] == "derived"
    assert document["exit_code"] == 2
    audit = row["run"]["audit"]
    assert "File name too long" in result.stderr
    assert (
        f"the audit is kept, write its record with kinprint record export {audit} OUT.kinrecord "
        "--journal kept.sqlite"
    ) in result.stderr
    export = ("record", "export", audit, "kept.kinrecord", "--journal", "kept.sqlite", *SIGN)
    assert kinprint(folder, *export).returncode == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--record", "x.kinrecord"), "--record: needs --auditor-key"),
        (("--record", "none/x.kinrecord", *SIGN), "cannot write to the folder none"),
        (SIGN, "need --record"),
        (("--onnx", "other.onnx", "--record", "x.kinrecord", *SIGN), "expected one suspect, got 2"),
        (("--record", "x.kinrecord", "--auditor-key", "auditor.key"), "this key is encrypted"),
    ],
)
def test_what_is_wrong_about_a_record_is_said_before_anything_is_asked(
    folder: Path, options: tuple[str, ...], told: str
) -> None:
    result = kinprint(
        folder, "audit", "model.kinprint", "--onnx", "copy.onnx", *TRUST, *options,
        "--journal", "unused.sqlite",
    )  # fmt: skip
    assert result.returncode == 2
    assert told in re.sub(r"\s+", " ", result.stderr)
    assert not (folder / "unused.sqlite").exists()


def _colour_bundle(path: Path) -> None:
    known = known_bundle()
    queries, query_labels = _coloured(NUM_QUERIES)
    controls, control_labels = _coloured(NUM_CONTROLS)
    is_innocent = np.array([model.role == "innocent" for model in known.manifest.models])
    likely = np.full((NUM_QUERIES, K), 0.15)
    derived, innocent = likely.copy(), likely.copy()
    derived[np.arange(NUM_QUERIES), query_labels] = 0.7
    innocent[np.arange(NUM_QUERIES), (query_labels + 1) % K] = 0.7
    num_models = len(is_innocent)
    nothing = np.zeros((0, 8, 8, 3), np.uint8)
    arrays = dataclasses.replace(
        known.arrays,
        triggers=nothing,
        carriers=nothing,
        trigger_labels=np.zeros(0, np.int64),
        source_trigger_log_probabilities=np.zeros((0, K)),
        probe_alphas=np.zeros(0, np.int64),
        probe_ends=np.zeros((0, 0, 8, 8, 3), np.uint8),
        source_probe_labels=np.zeros((0, 0), np.int64),
        queries=queries,
        source_query_labels=query_labels,
        query_groups=np.arange(len(queries)),
        query_carriers=nothing,
        derived_probabilities=derived,
        innocent_probabilities=innocent,
        controls=controls,
        control_labels=control_labels,
        model_query_labels=(query_labels + is_innocent[:, None]) % K,
        model_trigger_losses=np.zeros((num_models, 0)),
        model_probe_hits=np.zeros((num_models, 0), np.int64),
    )
    manifest = known.manifest.model_copy(
        update={
            "task": known.manifest.task.model_copy(update={"height": 8, "width": 8}),
            "probes": None,
        }
    )
    write_bundle(path, manifest, arrays, OWNER_KEY)


def _coloured(num: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images whose brightest channel is their class, all of them different."""
    labels = np.arange(num) % K
    images = np.full((num, 8, 8, 3), 90, np.uint8)
    images[np.arange(num), :, :, labels] = 150
    # Blocks of other brightness make them different pictures.
    for block, rest in enumerate((slice(0, 3), slice(3, 6), slice(6, 8))):
        shade = np.arange(num) // 4**block % 4 * 30
        images[:, rest, 2:, :] += shade.astype(np.uint8)[:, None, None, None]
    return images, labels.astype(np.int64)
