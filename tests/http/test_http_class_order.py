"""Endpoints whose classes stand in another order: found from the controls that are paid anyway."""

import json
import sqlite3
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers.classifiers import write_classifier
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import Done, run
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    NUM_CONTROLS,
    NUM_QUERIES,
    FakeSuspect,
    audited_contents,
    copy_rule,
    innocent_rule,
)
from worlds.servers.fault_proxy import Fault, without_faults
from worlds.servers.vendor_server import Rule, Vendor, vendor

from adapters.suspect import Capability, Predictions
from audit.asking.events import Finished, OrderFound
from audit.asking.options import AuditOptions
from audit.asking.second_questions import NUM_FIRST
from audit.asking.session import AuditSession
from audit.journal.journal import Journal
from audit.signing.keys import write_key_pair
from generator.demo.server import RunningServer, start_server, write_endpoint_file

BUNDLE = audited_contents()
ORDER = (2, 0, 3, 1)
"""The vendor's index of each of the bundle's classes."""


def moved(rule: Rule) -> Rule:
    """Answer as a rule says, in the vendor's order."""
    return lambda kind, index, label: ORDER[rule(kind, index, label)]


def audit(server: Vendor, folder: Path, *options: object, fields: str = "concurrency = 1") -> Done:
    path = server.endpoint_file(folder / "vendor.toml", fields)
    return run(
        "audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--endpoint", path, "--journal",
        folder / "journal.sqlite", "--json", "--quiet", "--ask-all", *options,
    )  # fmt: skip


def row(done: Done) -> dict[str, Any]:
    (told,) = json.loads(done.stdout)["audits"]
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize(("rule", "status"), [(copy_rule, 10), (innocent_rule, 0)])
def test_the_order_is_found_and_no_question_is_asked_twice(
    tmp_path: Path, rule: Rule, status: int
) -> None:
    with vendor(BUNDLE, moved(rule)) as server:
        assert audit(server, tmp_path).returncode == 15
        server.asked.clear()
        done = audit(server, tmp_path, "--infer-classes")
        # Before anybody is cleared, the first queries are asked again.
        num_again = NUM_FIRST if status == 0 else 0
        num = NUM_CONTROLS + NUM_QUERIES
        assert sorted(server.asked.values()) == [1] * (num - num_again) + [2] * num_again
    assert done.returncode == status, done.stderr
    assert "order of the classes: 2,0,3,1; 100% of the control images right (0% as" in done.stderr
    # Two images of each class: chance sets a class so apart with probability 1/4.
    assert "not sure: 'cat' is the suspect's class 2 by 2 images against 0" in done.stderr
    assert row(done)["suspect"]["details"]["class_order"] == "2,0,3,1"
    assert row(done)["outcome"]["control"]["accuracy"] == 1.0


def test_an_endpoint_with_the_bundles_own_order_is_audited_as_ever(tmp_path: Path) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        done = audit(server, tmp_path, "--infer-classes")
    assert done.returncode == 10
    assert "order of the classes: as in the bundle; 100% of the control images" in done.stderr


@pytest.mark.parametrize("first", [3, NUM_CONTROLS, NUM_CONTROLS + 1, 20])
def test_an_audit_that_stops_before_or_after_the_order_is_known_goes_on(
    tmp_path: Path, first: int
) -> None:
    gone = Fault(is_reset=True, is_lost=True)
    fields = "concurrency = 1\nretries = 0"
    with vendor(BUNDLE, moved(copy_rule), lambda n: gone if n >= first else None) as server:
        assert audit(server, tmp_path, "--infer-classes", fields=fields).returncode == 12
        server.spoil(without_faults)
        done = audit(server, tmp_path, "--infer-classes", "--resume", fields=fields)
        assert set(server.asked.values()) == {1}
    assert done.returncode == 10, done.stderr
    assert "order of the classes: 2,0,3,1; 100% of" in done.stderr
    assert row(done)["run"]["resumed_answers"] == first
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as journal:
        ((num_audits,),) = journal.execute("SELECT COUNT(*) FROM audits")
        labels = dict(journal.execute("SELECT question, label FROM answers").fetchall())
    assert num_audits == 1
    truth = BUNDLE.arrays.control_labels
    assert [labels[f"control/{index}"] for index in range(NUM_CONTROLS)] == truth.tolist()


def test_an_order_is_not_mixed_with_an_audit_that_looks_for_none(tmp_path: Path) -> None:
    gone = Fault(is_reset=True, is_lost=True)
    fields = "concurrency = 1\nretries = 0"
    with vendor(BUNDLE, copy_rule, lambda n: gone if n >= 12 else None) as server:
        assert audit(server, tmp_path, "--infer-classes", fields=fields).returncode == 12
        other = audit(server, tmp_path, "--resume", fields=fields)
    assert other.returncode == 2
    assert "resume: no unfinished audit" in row(other)["error"]


def test_the_record_holds_the_order_and_can_be_verified(tmp_path: Path) -> None:
    key, record = tmp_path / "auditor.key", tmp_path / "a.kinrecord"
    write_key_pair(key, AUDITOR_KEY, None)
    with vendor(BUNDLE, moved(copy_rule)) as server:
        recorded = ["--record", record, "--auditor-key", key]
        assert audit(server, tmp_path, "--infer-classes", *recorded).returncode == 10
    verified = run(
        "verify", record, "--bundle", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY,
        "--trust", key.with_suffix(".pub"),
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout
    assert '"class_order":"2,0,3,1"' in record.read_text()


def test_a_class_that_never_got_an_answer_stops_the_audit(tmp_path: Path) -> None:
    is_last = BUNDLE.arrays.control_labels == 3
    refused = Fault(body=b'{"labels": [null]}')
    with vendor(
        BUNDLE, copy_rule, lambda n: refused if n < NUM_CONTROLS and is_last[n] else None
    ) as server:
        done = audit(server, tmp_path, "--infer-classes")
        assert server.num_requests == NUM_CONTROLS
    assert done.returncode == 2
    assert "expected control images of every class, got none of 'ship'" in row(done)["error"]


def test_probabilities_are_put_into_the_order_like_labels(tmp_path: Path) -> None:
    class Sure(FakeSuspect):
        capability = Capability.PROBABILITIES

        def predict(self, images: np.ndarray[Any, np.dtype[np.uint8]]) -> Predictions:
            labels = super().predict(images).labels
            rows = np.full((len(labels), 4), np.log(0.1))
            rows[np.arange(len(labels)), labels] = np.log(0.7)
            return Predictions(labels=labels, log_probabilities=rows)

    journal = Journal(tmp_path / "journal.sqlite")
    session = AuditSession(
        BUNDLE, Sure(BUNDLE, moved(copy_rule)), journal, AuditOptions(infer_classes=True)
    )
    events = list(session.run())
    journal.close()
    assert isinstance(events[-1], Finished)
    (found,) = [event.order for event in events if isinstance(event, OrderFound)]
    assert found.order == ORDER
    for index, truth in enumerate(BUNDLE.arrays.control_labels):
        answer = session.answers[f"control/{index}"]
        assert answer.log_probabilities is not None
        assert answer.label == answer.log_probabilities.argmax() == truth


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Serve a derived classifier whose labels nobody knows the order of."""
    path = tmp_path_factory.mktemp("model") / "suspect.onnx"
    write_classifier(path, BUNDLE, copy_rule, noise=0.02)
    with start_server(path, ["k0", "k1", "k2", "k3"]) as server:
        yield server


def test_a_check_says_what_to_write_and_the_audit_then_needs_no_more(
    real_server: RunningServer, tmp_path: Path
) -> None:
    path = tmp_path / "guessed.toml"
    write_endpoint_file(path, real_server.port, ["k1", "k2", "k0", "k3"])
    asking = ["--bundle", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY]
    assert run("endpoint", "check", path, *asking).returncode == 15
    checked = run("endpoint", "check", path, *asking, "--infer-classes")
    assert checked.returncode == 0, checked.stdout
    assert "classes      2,0,1,3; 100% of the control images right (25% as it is)" in checked.stdout
    table = checked.stdout[checked.stdout.index("[class_names]") :].split("\n\n")[0]
    names = tomllib.loads(table)["class_names"]
    assert names == {"k0": "cat", "k1": "dog", "k2": "frog", "k3": "ship"}
    auditing = ["audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--quiet"]
    inferred = run(
        *auditing, "--endpoint", path, "--infer-classes", "--journal", tmp_path / "1.sqlite"
    )
    assert inferred.returncode == 10, inferred.stderr
    lines = [line for line in path.read_text().splitlines() if not line.startswith("class_names")]
    path.write_text("\n".join([*lines, "", table, ""]))
    assert run(*auditing, "--endpoint", path, "--journal", tmp_path / "2.sqlite").returncode == 10


def test_a_vendor_that_answers_with_integers_gets_them_in_the_table(tmp_path: Path) -> None:
    with vendor(BUNDLE, moved(copy_rule)) as server:
        # It knows no altered images and hangs up on them: once is enough.
        path = server.endpoint_file(tmp_path / "vendor.toml", "retries = 0")
        asking = ["--bundle", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--json"]
        checked = run("endpoint", "check", path, *asking, "--infer-classes")
    assert checked.returncode == 0, checked.stderr
    told = json.loads(checked.stdout)["class_order"]
    assert told["class_names"] == {"2": "cat", "0": "dog", "3": "frog", "1": "ship"}
    assert (told["order"], told["accuracy_as_is"]) == (list(ORDER), 0.0)
