"""A bundle that decides, suspects that answer it, and the golden record made from both.

``python -m worlds.record_builder``, in tests, writes data/audited.kinprint and .kinrecord anew.
As in `bundle_builder`: no random generator, no libm, published keys.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import Capability, Predictions, SuspectIdentity
from audit.answer import Answer
from audit.asking.ends import End, end_of
from audit.asking.options import AuditOptions
from audit.asking.plan import QuestionGroup, make_plan
from audit.asking.second_questions import repeats_due
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import parse_bundle, write_bundle
from audit.bundle.manifest import Arrays, BundleContents, Manifest, ModelRecord
from audit.journal.audits import audit_ids
from audit.journal.journal import Journal
from audit.question import AGAIN
from audit.records.audit_count import AuditCount
from audit.records.record import (
    SUBJECT,
    Draft,
    Opening,
    RecordedBundle,
    RecordedSuspect,
    Run,
    State,
    encode_log_probabilities,
    parse_record,
    record_bytes,
    utc,
)
from audit.signing.canonical import sha256_hex
from audit.signing.envelope import RECORD_PREDICATE_TYPE, sign_statement
from audit.signing.hash_chain import link
from audit.signing.keys import PrivateKey, Trust
from audit.verdict.judge import judge
from audit.verdict.rule import read_rule
from worlds.bundle_builder import (
    CHANNELS,
    DATA,
    HALVINGS,
    LN_2,
    OWNER_KEY,
    RANKINGS,
    SIDE,
    small_arrays,
    small_manifest,
)

GOLDEN_BUNDLE = DATA / "audited.kinprint"
GOLDEN_RECORD = DATA / "audited.kinrecord"

# RFC 8032, section 7.1, test 3
AUDITOR_KEY = PrivateKey.from_seed(
    bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
)
TRUST = Trust(keys=(OWNER_KEY.public_key, AUDITOR_KEY.public_key))

NUM_QUERIES, NUM_CONTROLS = 24, 8
STRATA = ("adversarially trained", "other data", "same data")
NUM_PER_STRATUM, NUM_DERIVED = 7, 20
STARTED = 1_735_732_800.0
"""2025-01-01T12:00:00Z"""


def audited_bundle(path: Path, *, model_name: str = "audited-test-model") -> Path:
    """Write a bundle with enough queries and models to decide at alpha = beta = 0.05."""
    write_bundle(path, _manifest(model_name), _arrays(), OWNER_KEY)
    return path


def audited_contents() -> BundleContents:
    """Return the golden bundle as it is read."""
    return parse_bundle(GOLDEN_BUNDLE.read_bytes(), TRUST)


class FakeSuspect:
    """Answers each image of a bundle with a label that a rule gives it.

    Args:
        bundle: Whose images it knows.
        rule: Label from kind (``control``, ``query``), index and the source's label.
        digest: Its identity.
    """

    batch_size, concurrency = 5, 1
    capability = Capability.LABELS

    def __init__(
        self,
        bundle: BundleContents,
        rule: Callable[[str, int, int], int],
        digest: str = hashlib.sha256(b"suspect").hexdigest(),
    ) -> None:
        arrays = bundle.arrays
        self.asked: list[int] = []
        self._labels = {
            image.tobytes(): rule(kind, index, int(label))
            for kind, images, labels in (
                ("control", arrays.controls, arrays.control_labels),
                ("query", arrays.queries, arrays.source_query_labels),
            )
            for index, (image, label) in enumerate(zip(images, labels, strict=True))
        }
        self.identity = SuspectIdentity(
            kind="onnx", name="suspect.onnx", digest=digest, details={"device": "cpu"}
        )

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        labels = np.array([self._labels[image.tobytes()] for image in images])
        self.asked.append(len(images))
        return Predictions(labels=labels, metadata={"variant": "blue"})

    def close(self) -> None:
        pass


def copy_rule(kind: str, index: int, label: int) -> int:
    """Answer like the source: derived."""
    return label


def innocent_rule(kind: str, index: int, label: int) -> int:
    """Be right on controls and answer queries like an innocent model."""
    return label if kind == "control" else (label + 1) % 4


def finish_audit(
    journal: Journal, suspect: FakeSuspect, bundle: BundleContents, *, budget: int | None = None
) -> str:
    """Audit to the end and return the audit's id."""
    list(AuditSession(bundle, suspect, journal, AuditOptions(budget=budget)).run())
    return draft_id(journal)


def draft_id(journal: Journal) -> str:
    """Return the id of the newest audit."""
    return audit_ids(journal)[-1]


def fixed_draft(bundle: BundleContents, rule: Callable[[str, int, int], int]) -> Draft:
    """Return the record of an audit that took 0.25 s per question from `STARTED` on.

    A suspect that gets a control image wrong is asked nothing else.
    """
    arrays, rows = bundle.arrays, list[dict[str, object]]()
    plan = make_plan(bundle, ("likelihood-ratio",), Capability.LABELS)
    is_comparable = all(
        rule("control", index, int(label)) == label
        for index, label in enumerate(arrays.control_labels)
    )
    due = plan.groups if is_comparable else plan.groups[:1]
    while due:
        for group in due:
            _add_rows(rows, group, bundle, rule)
        draft = Draft(
            opening=_opening(bundle),
            rows=rows,
            state=State.INTERRUPTED,
            ended_by=None,
            finished=None,
            outcome=None,
        )
        draft = completed(draft, bundle)
        assert draft.outcome is not None
        due = repeats_due(plan, answers_of(draft), draft.outcome, budget=None)
    return draft


def _add_rows(
    rows: list[dict[str, object]],
    group: QuestionGroup,
    bundle: BundleContents,
    rule: Callable[[str, int, int], int],
) -> None:
    arrays = bundle.arrays
    known = {"control": arrays.control_labels, "query": arrays.source_query_labels}
    kind = group.kind.removeprefix(AGAIN)
    for index, image in enumerate(group.images()):
        sequence = len(rows) + 1
        rows.append(
            {
                "question": group.question(index),
                "image_sha256": hashlib.sha256(image.tobytes()).hexdigest(),
                "run": 1,
                "request": sequence,
                "sequence": sequence,
                "asked": utc(STARTED + 0.25 * sequence),
                "latency_s": 0.125,
                "attempts": 1,
                "label": rule(kind, index, int(known[kind][index])),
                "log_probabilities": encode_log_probabilities(None),
                "metadata": {"variant": "blue"},
            }
        )


def answers_of(draft: Draft) -> dict[str, Answer]:
    """Return the answers in a draft's rows."""
    return parse_record(record_bytes(draft, AUDITOR_KEY, written=utc(STARTED)), TRUST).answers


def completed(draft: Draft, bundle: BundleContents) -> Draft:
    """Return the draft with the outcome that follows from its rows."""
    answers = answers_of(dataclasses.replace(draft, state=State.INTERRUPTED, outcome=None))
    rule = read_rule(draft.opening.settings, bundle.manifest)
    outcome = judge(bundle, answers, draft.opening.scores, rule)
    plan = make_plan(bundle, draft.opening.scores, Capability.LABELS)
    return dataclasses.replace(
        draft,
        state=State.COMPLETE,
        ended_by=end_of(plan, plan.within(draft.opening.runs[-1].budget), answers, outcome),
        finished=utc(STARTED + 60),
        outcome=outcome,
    )


def interrupted(draft: Draft, *, num_rows: int) -> Draft:
    """Return the draft of the same audit, broken off after some answers."""
    return dataclasses.replace(
        draft,
        rows=draft.rows[:num_rows],
        state=State.INTERRUPTED,
        ended_by=End.USER,
        finished=None,
        outcome=None,
    )


def signed(draft: Draft, key: PrivateKey = AUDITOR_KEY) -> bytes:
    """Sign a draft at a fixed time."""
    return record_bytes(draft, key, written=utc(STARTED + 61))


def forged(
    data: bytes, change: Callable[[list[dict[str, object]]], None], key: PrivateKey
) -> bytes:
    """Change a record's lines, chain them anew and sign with a key.

    Args:
        data: A record.
        change: Changes the lines (opening, rows, closing) in place.
        key: Who signs.
    """
    lines = [json.loads(line) for line in data.split(b"\n")[:-2]]
    change(lines)
    chained = link([{k: v for k, v in line.items() if k != "previous"} for line in lines])
    envelope = sign_statement(SUBJECT, sha256_hex(chained[-1]), RECORD_PREDICATE_TYPE, {}, key)
    return b"".join(line + b"\n" for line in [*chained, envelope])


def rechained(data: bytes, change: Callable[[list[dict[str, object]]], None]) -> bytes:
    """Change a record's lines and chain them anew, but keep the old signature: no key is needed."""
    envelope = data.split(b"\n")[-2]
    return forged(data, change, OWNER_KEY).rsplit(b"\n", 2)[0] + b"\n" + envelope + b"\n"


def _opening(bundle: BundleContents) -> Opening:
    return Opening(
        format="kinprint-record",
        format_version=3,
        count=AuditCount(number=1, total=1),
        audit="00112233aabbccdd",
        started=utc(STARTED),
        bundle=RecordedBundle(
            sha256=bundle.manifest_sha256,
            signer_key_id=bundle.signer_key_id,
            manifest=bundle.manifest,
            timestamp=None,
        ),
        suspect=RecordedSuspect(
            kind="onnx", name="suspect.onnx", digest=hashlib.sha256(b"suspect").hexdigest()
        ),
        settings={"capability": "LABELS", "scores": "likelihood-ratio"},
        runs=(
            Run(
                number=1,
                started=utc(STARTED),
                budget=None,
                details={"device": "cpu"},
                libraries={"kinprint": "0.1.0"},
            ),
        ),
    )


def _manifest(model_name: str) -> Manifest:
    base = small_manifest()
    selection = tuple(model for model in base.models if model.use == "selection")
    return base.model_copy(
        update={
            "model_name": model_name,
            "created": "2024-12-01T00:00:00Z",
            "models": (*selection, *_calibration_models()),
        }
    )


def _calibration_models() -> tuple[ModelRecord, ...]:
    innocent = [
        _model(f"{stratum} {number}", "innocent", stratum)
        for stratum in STRATA
        for number in range(NUM_PER_STRATUM)
    ]
    derived = [
        _model(f"derived {number}", "derived", ("fine-tuned", "pruned")[number % 2])
        for number in range(NUM_DERIVED)
    ]
    return (*innocent, *derived)


def _model(name: str, role: Literal["innocent", "derived"], stratum: str) -> ModelRecord:
    return ModelRecord(
        name=name,
        role=role,
        use="calibration",
        stratum=stratum,
        provenance="made up for the tests",
        weights_sha256=hashlib.sha256(name.encode()).hexdigest(),
        control_accuracy=0.75,
    )


def _arrays() -> Arrays:
    base = small_arrays()
    models = _calibration_models()
    query_labels = np.arange(NUM_QUERIES) % 4
    noise = _bytes("answers", len(models) * NUM_QUERIES).reshape(len(models), -1)
    # Innocents answer one class further but for a fifth, derived models as the source but so.
    shift = np.array([[1 if model.role == "innocent" else 0] for model in models])
    shift = np.where(noise < 51, 2, shift)  # [R, 1] -> [R, Q]
    num_triggers = len(base.triggers)
    return dataclasses.replace(
        base,
        queries=_images("audited queries", NUM_QUERIES),
        source_query_labels=query_labels,
        query_groups=np.arange(NUM_QUERIES),
        derived_probabilities=0.5 ** HALVINGS[query_labels],
        innocent_probabilities=0.5 ** HALVINGS[(query_labels + 1) % 4],
        controls=_images("audited controls", NUM_CONTROLS),
        control_labels=np.arange(NUM_CONTROLS) % 4,
        model_control_labels=_control_answers(len(models)),
        model_query_labels=(query_labels + shift) % 4,
        selection_rankings=np.array([RANKINGS[query_labels], RANKINGS[(query_labels + 1) % 4]]),
        model_rankings=RANKINGS[(query_labels + shift) % 4],
        model_query_log_probabilities=np.empty((len(models), 0, 4)),
        model_trigger_losses=np.full((len(models), num_triggers), LN_2),
        model_probe_hits=np.ones((len(models), num_triggers), np.int64),
    )


def _control_answers(num_models: int) -> NDArray[np.int64]:
    """Return answers of which six of eight are right, and each model's wrong ones its own."""
    row, column = np.arange(num_models)[:, None], np.arange(NUM_CONTROLS)
    is_wrong = (column - row) % NUM_CONTROLS < 2
    return np.where(is_wrong, column + 1 + row // NUM_CONTROLS % 3, column) % 4


def _bytes(name: str, num: int) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.shake_128(name.encode()).digest(num), np.uint8)


def _images(name: str, num: int) -> NDArray[np.uint8]:
    return _bytes(name, num * SIDE * SIDE * CHANNELS).reshape(num, SIDE, SIDE, CHANNELS)


if __name__ == "__main__":
    audited_bundle(GOLDEN_BUNDLE)
    GOLDEN_RECORD.write_bytes(signed(fixed_draft(audited_contents(), copy_rule)))
