"""Vendors that do not have one of the bundle's classes are audited without it."""

import json
from pathlib import Path

import pytest
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import Done, run
from worlds.record_builder import AUDITOR_KEY, copy_rule, innocent_rule
from worlds.servers.picky_vendor import picky_vendor
from worlds.servers.vendor_server import Rule
from worlds.wide_bundle import wide_bundle

from audit.signing.keys import write_key_pair

ABSENT = 2


def without_it(rule: Rule) -> Rule:
    """Answer as a rule says, and the next class where that is the absent one."""

    def answer(kind: str, index: int, label: int) -> int:
        given = rule(kind, index, label)
        return (given + 1) % 4 if given == ABSENT else given

    return answer


def audit(folder: Path, endpoint: Path, *options: object) -> Done:
    return run(
        "audit", folder / "wide.kinprint", "--trust", GOLDEN_PUBLIC_KEY, "--endpoint", endpoint,
        "--journal", folder / "journal.sqlite", "--json", "--quiet", *options,
    )  # fmt: skip


@pytest.mark.parametrize("asking", ["--ask-all", "--stop-early"])
@pytest.mark.parametrize(
    ("rule", "status", "verdict"),
    [(copy_rule, 10, "derived"), (innocent_rule, 0, "independent")],
)
def test_a_vendor_without_a_class_is_judged_on_the_others_and_its_record_verifies(
    tmp_path: Path, rule: Rule, status: int, verdict: str, asking: str
) -> None:
    bundle = wide_bundle(tmp_path / "wide.kinprint")
    name = bundle.manifest.task.class_names[ABSENT]
    write_key_pair(tmp_path / "auditor.key", AUDITOR_KEY, None)
    record = tmp_path / "r.kinrecord"
    fields = f'concurrency = 1\nabsent_classes = ["{name}"]'
    with picky_vendor(bundle, without_it(rule), {}) as server:
        done = audit(
            tmp_path, server.endpoint_file(tmp_path / "vendor.toml", fields), asking,
            "--record", record, "--auditor-key", tmp_path / "auditor.key",
        )  # fmt: skip
        # Neither control images of the class nor queries that rest on it are ever sent.
        assert not {"control/2", "control/6"} & server.asked.keys()
        assert not {f"query/{i}" for i in range(72) if i % 4 in (1, 2)} & server.asked.keys()
    assert done.returncode == status, done.stderr
    (row,) = json.loads(done.stdout)["audits"]
    assert row["outcome"]["verdict"] == verdict
    assert row["outcome"]["scores"][0]["num_in_bundle"] == 36
    assert row["suspect"]["details"]["absent_classes"] == str(ABSENT)
    told = " ".join(done.stderr.split())
    assert f"does not have '{name}': 2 of 8 control images and 36 of 72 queries" in told
    verified = run(
        "verify", record, "--bundle", tmp_path / "wide.kinprint", "--trust", GOLDEN_PUBLIC_KEY,
        "--trust", tmp_path / "auditor.pub",
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "Ask whether that is so." in " ".join(verified.stdout.split())


def test_a_list_of_the_vendors_names_leaves_the_class_out(tmp_path: Path) -> None:
    bundle = wide_bundle(tmp_path / "wide.kinprint")
    fields = 'absent_classes = [2]\nclass_names = ["own a", "own b", "own d"]'
    names = ("own a", "own b", "never", "own d")
    with picky_vendor(bundle, without_it(copy_rule), {}, names=names) as server:
        done = audit(tmp_path, server.endpoint_file(tmp_path / "vendor.toml", fields))
    assert done.returncode == 10, done.stderr


def test_a_class_that_is_answered_is_not_absent(tmp_path: Path) -> None:
    bundle = wide_bundle(tmp_path / "wide.kinprint")
    name = bundle.manifest.task.class_names[ABSENT]
    fields = f'concurrency = 1\nabsent_classes = ["{name}"]'
    with picky_vendor(bundle, lambda kind, index, label: ABSENT, {}) as server:
        done = audit(tmp_path, server.endpoint_file(tmp_path / "vendor.toml", fields))
    assert done.returncode not in (0, 10)
    assert f"absent_classes: expected no answer of '{name}', got one" in done.stdout
