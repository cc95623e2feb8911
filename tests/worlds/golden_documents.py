"""What the command line and `judge` say of the golden bundle and record, byte for byte.

``python -m worlds.golden_documents``, in tests, writes data/golden anew; look at the difference.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from audit.answer import Answer
from audit.bundle.manifest import BundleContents
from audit.verdict.judge import judge
from audit.verdict.rule import choose_rule
from worlds.audit_world import NUM_CONTROLS, NUM_QUERIES, NUM_TRIGGERS, K, known_bundle
from worlds.bundle_builder import DATA, OWNER_KEY
from worlds.record_builder import AUDITOR_KEY, audited_contents

GOLDEN = DATA / "golden"
RECORD = ("audited.kinrecord", "--bundle", "audited.kinprint", "--trust", "golden/keys")

COMMANDS: dict[str, tuple[str, ...]] = {
    "inspect.json": ("inspect", "small.kinprint", "--trust", "small.pub", "--json"),
    "inspect-untrusted.json": ("inspect", "small.kinprint", "--json"),
    "inspect.txt": ("inspect", "audited.kinprint", "--trust", "small.pub"),
    "verify.txt": ("verify", *RECORD),
    "verify.json": ("verify", *RECORD, "--json"),
    "report.json": ("report", *RECORD, "--format", "json"),
    "report.md": ("report", *RECORD, "--format", "md"),
    "report.xml": ("report", *RECORD, "--format", "junit"),
    "verify-other-bundle.txt": ("verify", "audited.kinrecord", "--bundle", "small.kinprint"),
    "audit-schema.json": ("audit", "--json-schema"),
    "check-schema.json": ("endpoint", "check", "--json-schema"),
}
"""Arguments by the name of the file with what they print."""


def command_document(
    name: str,
    *,
    program: Sequence[str | Path] = (sys.executable, "-m", "kinprint"),
    folder: Path = DATA,
    environment: Mapping[str, str] = os.environ,
) -> bytes:
    """Return exit status, standard output and standard error of one of `COMMANDS`.

    Args:
        name: Key of `COMMANDS`.
        program: The Kinprint to run.
        folder: Holds copies of the golden files.
        environment: Its variables.
    """
    arguments = [
        part
        for given in COMMANDS[name]
        for part in (
            ("small.pub", "--trust", "auditor.pub") if given == "golden/keys" else (given,)
        )
    ]
    done = subprocess.run(
        [*program, *arguments],
        cwd=folder,
        capture_output=True,
        timeout=120,
        env={**environment, "COLUMNS": "100"},
    )
    return b"exit %d\n" % done.returncode + done.stdout + b"\n--- stderr\n" + done.stderr


def outcomes() -> bytes:
    """Return what `judge` says of answers of every kind, one outcome per line."""
    lines = [
        json.dumps([name, _rounded(judge(bundle, given, scores, rule).model_dump_json())])
        for name, bundle, given, scores in _cases()
        for rule in (
            choose_rule(bundle.manifest, alpha=None, beta=None, stop_early=early)
            for early in (False, True)
        )
    ]
    return "\n".join([*lines, ""]).encode()


def _cases() -> Iterator[tuple[str, BundleContents, dict[str, Answer], tuple[str, ...]]]:
    known = known_bundle()
    scores = ("likelihood-ratio", "matching-rate", "mfue-b")
    for name, answer in (
        ("derived", lambda index: 0),
        ("innocent", lambda index: 1),
        ("neither", lambda index: 2),
        ("refuses a tenth", lambda index: -1 if index % 10 == 0 else 0),
        ("half", lambda index: index % 2),
    ):
        for num in (12, NUM_QUERIES):
            given = {f"query/{index}": answer(index) for index in range(num)}
            given |= {
                f"probe/{trigger}/{index}": answer(index)
                for trigger in range(NUM_TRIGGERS)
                for index in range(4)
            }
            yield f"{name}, {num}", known, _answers(given), scores
    audited = audited_contents()
    labels = audited.arrays.source_query_labels
    controls = audited.arrays.control_labels
    for name, shift in (("copy", 0), ("stranger", 1)):
        yield (
            name,
            audited,
            {f"control/{i}": _answer(int(label)) for i, label in enumerate(controls)}
            | {f"query/{i}": _answer(int(label + shift) % 4) for i, label in enumerate(labels)},
            ("likelihood-ratio", "rank-correlation", "matching-rate"),
        )


def _rounded(document: str) -> object:
    """Return a document with twelve digits of each number: the rest is the machine's."""
    return json.loads(document, parse_float=lambda text: float(f"{float(text):.12g}"))


def _answers(given: dict[str, int]) -> dict[str, Answer]:
    controls = {f"control/{index}": index % K for index in range(NUM_CONTROLS)}
    return {question: _answer(label) for question, label in {**controls, **given}.items()}


def _answer(label: int) -> Answer:
    return Answer(label=label, log_probabilities=None)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    (DATA / "auditor.pub").write_bytes(AUDITOR_KEY.public_key.pem)
    (DATA / "small.pub").write_bytes(OWNER_KEY.public_key.pem)
    for document in COMMANDS:
        (GOLDEN / document).write_bytes(command_document(document))
    (GOLDEN / "outcomes.jsonl").write_bytes(outcomes())
