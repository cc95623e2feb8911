"""``kinprint verify`` as a command: documents, statuses, what it loads."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from worlds.bundle_builder import OWNER_KEY
from worlds.in_process import run
from worlds.own_process import kinprint
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    GOLDEN_RECORD,
    TRUST,
    audited_contents,
    copy_rule,
    fixed_draft,
    innocent_rule,
    interrupted,
    signed,
)

from audit.records.record import parse_record


@pytest.fixture
def keys(tmp_path: Path) -> list[str]:
    """Options that trust the owner and the auditor."""
    options: list[str] = []
    for name, key in (("owner", OWNER_KEY), ("auditor", AUDITOR_KEY)):
        path = tmp_path / f"{name}.pub"
        path.write_bytes(key.public_key.pem)
        options += ["--trust", str(path)]
    return options


@pytest.mark.parametrize("rule", [copy_rule, innocent_rule])
def test_a_processor_with_other_vector_instructions_gets_the_same_numbers(
    tmp_path: Path, rule: Callable[[str, int, int], int], keys: list[str]
) -> None:
    path = tmp_path / "made-here.kinrecord"
    path.write_bytes(signed(fixed_draft(audited_contents(), rule)))
    # numpy computes logarithms in another way without them.
    features = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    arguments = ("verify", str(path), "--bundle", str(GOLDEN_BUNDLE), *keys, "--json")
    result = kinprint(*arguments, NPY_DISABLE_CPU_FEATURES=" ".join(features))
    assert result.returncode == 0, result.stdout + result.stderr
    outcome = parse_record(path.read_bytes(), TRUST).closing.outcome
    assert outcome is not None
    assert json.loads(result.stdout)["outcome"] == outcome.model_dump(mode="json")


def test_verify_needs_neither_torch_nor_onnxruntime(keys: list[str]) -> None:
    script = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['onnxruntime'] = sys.modules['onnx'] = None\n"
        "import kinprint\n"
        f"sys.argv = ['kinprint', *{_arguments(keys)!r}]\n"
        "try:\n"
        "    kinprint.main()\n"
        "except SystemExit as exit:\n"
        "    heavy = {'matplotlib', 'jinja2', 'rfc3161_client', 'requests'} & set(sys.modules)\n"
        "    print(exit.code, sorted(heavy))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "0 []"
    assert "record: holds; verdict: derived" in result.stdout


def test_the_command_says_the_same_as_one_json_document(keys: list[str]) -> None:
    result = run(*_arguments(keys), "--json")
    document = json.loads(result.stdout)
    assert result.returncode == 0
    assert document["result"] == "holds"
    assert document["outcome"]["verdict"] == "derived"
    assert [check["status"] for check in document["checks"]].count("held") == 13


def test_a_refused_record_ends_with_status_13_and_names_what_failed(
    tmp_path: Path, keys: list[str]
) -> None:
    path = tmp_path / "bad.kinrecord"
    path.write_bytes(GOLDEN_RECORD.read_bytes().replace(b'"label":3', b'"label":2', 1))
    result = run("verify", str(path), "--bundle", str(GOLDEN_BUNDLE), *keys)
    assert result.returncode == 13
    assert "hash chain" in result.stdout
    assert "record: refused; verdict: none" in result.stdout


def test_an_incomplete_record_ends_with_status_12(tmp_path: Path, keys: list[str]) -> None:
    path = tmp_path / "part.kinrecord"
    path.write_bytes(signed(interrupted(fixed_draft(audited_contents(), copy_rule), num_rows=9)))
    result = run("verify", str(path), "--bundle", str(GOLDEN_BUNDLE), *keys)
    assert result.returncode == 12


def _arguments(keys: list[str]) -> list[str]:
    return ["verify", str(GOLDEN_RECORD), "--bundle", str(GOLDEN_BUNDLE), *keys]
