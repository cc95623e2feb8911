"""Weights from a file to a verdict that a judge computes again, with real files and processes."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import onnx
import pytest
from onnx import helper
from worlds.audit_world import known_bundle
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import AUDITOR_KEY, TRUST, draft_id, forged
from worlds.weights.networks import drawn, near, network, reordered
from worlds.weights.sketched_bundle import sketched

from adapters.suspect import WEIGHTS
from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.journal.journal import Journal
from audit.records.ask_again import ask_again
from audit.records.check import Status
from audit.records.from_journal import export_record
from audit.records.record import Record, read_record
from audit.records.verify import Result, verify_record
from audit.suspects.opening import open_file
from audit.verdict.outcome import Outcome

Lines = list[dict[str, object]]
SOURCE = drawn(1)


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sketch") / "sketched.kinprint"
    known = known_bundle()
    write_bundle(path, known.manifest, known.arrays, OWNER_KEY, weights=sketched(SOURCE))
    return path


def audited(tmp_path: Path, bundle_path: Path, model: onnx.ModelProto) -> Record:
    """Audit a file and write the record; the file stays in the folder."""
    bundle = read_bundle(bundle_path, TRUST)
    (tmp_path / "suspect.onnx").write_bytes(model.SerializeToString())
    suspect = open_file(bundle, tmp_path / "suspect.onnx", device="cpu")
    with closing(suspect), closing(Journal(tmp_path / "journal.sqlite")) as journal:
        list(AuditSession(bundle, suspect, journal, AuditOptions()).run())
        export_record(journal, draft_id(journal), tmp_path / "out.kinrecord", AUDITOR_KEY)
    return read_record(tmp_path / "out.kinrecord", TRUST)


def outcome_of(record: Record) -> Outcome:
    assert record.closing.outcome is not None
    return record.closing.outcome


def test_a_changed_and_reordered_copy_is_derived_and_a_judge_finds_the_same(
    tmp_path: Path, bundle_path: Path
) -> None:
    # These networks know nothing of the bundle's images, so that answers alone say nothing.
    record = audited(tmp_path, bundle_path, network(reordered(near(SOURCE, 0.95), seed=3)))
    outcome = outcome_of(record)
    assert outcome.verdict == "derived"
    assert outcome.weights is not None
    assert outcome.weights.decided_by == "weights"
    assert outcome.weights.num_reordered >= 3
    verification = verify_record(tmp_path / "out.kinrecord", bundle_path, TRUST)
    assert verification.result is Result.HOLDS
    checks = {check.name: check for check in verification.checks}
    assert checks["weights"].status is Status.OPEN
    assert "--onnx" in checks["weights"].text
    assert verification.bundle is not None
    with closing(open_file(verification.bundle, tmp_path / "suspect.onnx", device="cpu")) as again:
        reasked = ask_again(record, verification.bundle, again)
    assert reasked.check.status is Status.HELD
    assert "All 4 layers of weights are as similar as the record says" in reasked.check.text


def test_a_stranger_is_not_derived(tmp_path: Path, bundle_path: Path) -> None:
    outcome = outcome_of(audited(tmp_path, bundle_path, network(drawn(2))))
    assert outcome.verdict == "not comparable"
    assert outcome.weights is not None
    assert outcome.weights.value is not None
    assert not outcome.weights.is_derived


def test_a_file_that_computes_its_weights_is_told(tmp_path: Path, bundle_path: Path) -> None:
    model = network(SOURCE)
    first = model.graph.node[0]
    first.input[1] = "made"
    # No operator that is evaluated beforehand.
    model.graph.node.insert(0, helper.make_node("Tanh", ["first"], ["made"]))
    outcome = outcome_of(audited(tmp_path, bundle_path, model))
    assert outcome.weights is not None
    assert outcome.weights.num_hidden == 1
    assert outcome.weights.num_found == 3
    assert "computed when it runs" in outcome.text


def test_similarities_that_were_changed_are_found_with_the_file(
    tmp_path: Path, bundle_path: Path
) -> None:
    audited(tmp_path, bundle_path, network(SOURCE))

    def less_alike(lines: Lines) -> None:
        settings = lines[0]["settings"]
        assert isinstance(settings, dict)
        settings[WEIGHTS] = settings[WEIGHTS].replace("10000", "100")

    changed = changed_record(tmp_path, less_alike)
    refused = verify_record(changed, bundle_path, TRUST)
    # Without the file: what follows from them is computed again, and is another.
    assert refused.result is Result.REFUSED
    assert refused.checks[-1].name == "recomputation"
    bundle = read_bundle(bundle_path, TRUST)
    with closing(open_file(bundle, tmp_path / "suspect.onnx", device="cpu")) as suspect:
        reasked = ask_again(read_record(changed, TRUST), bundle, suspect)
    assert reasked.check.status is Status.FAILED
    assert "The layers come to other similarities than the record says" in reasked.check.text


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, "expected what the file's weights came to, because the bundle has a sketch"),
        ("0:5 1:5", "expected 4 layers"),
        ("\u001b[2J", "expected words such as"),
    ],
)
def test_a_record_that_leaves_weights_out_or_garbles_them_is_refused(
    tmp_path: Path, bundle_path: Path, told: str | None, message: str
) -> None:
    audited(tmp_path, bundle_path, network(SOURCE))

    def change(lines: Lines) -> None:
        settings = lines[0]["settings"]
        assert isinstance(settings, dict)
        settings.pop(WEIGHTS)
        if told is not None:
            settings[WEIGHTS] = told

    refused = verify_record(changed_record(tmp_path, change), bundle_path, TRUST)
    assert refused.result is Result.REFUSED
    assert refused.checks[-1].name == "weights"
    assert message in refused.checks[-1].text


def test_the_document_of_an_outcome_holds_every_layer(tmp_path: Path, bundle_path: Path) -> None:
    outcome = outcome_of(audited(tmp_path, bundle_path, network(SOURCE)))
    document = json.loads(outcome.model_dump_json())["weights"]
    assert document["similarities"] == pytest.approx([1.0] * 4, abs=1e-3)


def changed_record(tmp_path: Path, change: Callable[[Lines], None]) -> Path:
    """Return the record with other lines, chained and signed by its auditor anew."""
    path = tmp_path / "changed.kinrecord"
    path.write_bytes(forged((tmp_path / "out.kinrecord").read_bytes(), change, AUDITOR_KEY))
    return path
