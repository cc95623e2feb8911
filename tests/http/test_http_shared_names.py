"""Vendors that call two classes by one name are audited with these as one class."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_httpserver import HTTPServer
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import run
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    NUM_CONTROLS,
    NUM_QUERIES,
    audited_contents,
    copy_rule,
    innocent_rule,
)
from worlds.servers.picky_vendor import picky_vendor
from worlds.servers.vendor_server import Rule
from worlds.servers.wire_server import IMAGES, opened, wire_server

from adapters.class_map import SharedNameError
from adapters.suspect import Capability
from audit.asking.second_questions import NUM_FIRST
from audit.signing.keys import write_key_pair

BUNDLE = audited_contents()
NAMES = ("ant", "crane", "cat", "crane")
"""Classes 1 and 3 have one name."""


def audited(folder: Path, path: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    done = run(
        "audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--endpoint", path,
        "--journal", folder / "journal.sqlite", "--quiet", "--ask-all", "--json", *options,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)["audits"][0], done.stderr


@pytest.mark.parametrize(("rule", "status"), [(copy_rule, 10), (innocent_rule, 0)])
def test_classes_of_one_name_are_merged_and_the_record_verifies(
    tmp_path: Path, rule: Rule, status: int
) -> None:
    write_key_pair(tmp_path / "auditor.key", AUDITOR_KEY, None)
    fields = f"concurrency = 1\nclass_names = {json.dumps(NAMES)}"
    with picky_vendor(BUNDLE, rule, {}, names=NAMES) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", fields)
        record = tmp_path / "r.kinrecord"
        code, row, told = audited(
            tmp_path, path, "--record", str(record), "--auditor-key", str(tmp_path / "auditor.key")
        )
        # The first answer shows that the vendor answers with names. Before anybody is cleared, the
        # first queries are asked again.
        num_again = NUM_FIRST if status == 0 else 0
        assert server.num_requests == NUM_CONTROLS + NUM_QUERIES + 1 + num_again
    assert code == status, told
    assert row["suspect"]["details"]["merged_classes"] == "1=3"
    assert row["outcome"]["control"]["accuracy"] == 1
    first, second = (BUNDLE.manifest.task.class_names[index] for index in (1, 3))
    assert f"vendor.toml: '{first}' and '{second}' count as one class for everybody" in told
    verified = run(
        "verify", record, "--bundle", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY,
        "--trust", tmp_path / "auditor.pub",
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "count as one class" in " ".join(verified.stdout.split())


FILE = """\
format = "huggingface"
url = "{url}/models/o/m"
class_names = {names}
"""


def answer(*labels: str) -> bytes:
    scores = range(len(labels), 0, -1)
    listed = [
        {"label": label, "score": score / 10} for label, score in zip(labels, scores, strict=True)
    ]
    return json.dumps(listed).encode()


def test_a_name_that_comes_twice_among_all_classes_tells_which_ones_it_means(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    server = wire_server(httpserver, body=answer("cat", "dog", "cat"))
    text = FILE.format(url=server.url, names='["cat", "dog", "horse"]')
    endpoint = opened(tmp_path, text)
    with pytest.raises(
        SharedNameError, match="names 'cat' more than once and never 'horse'"
    ) as told:
        endpoint.predict(IMAGES[:1])
    assert told.value.groups == ((0, 2),)
    endpoint.merge_classes(told.value.groups)
    predictions = endpoint.predict(IMAGES[:1])
    assert predictions.labels.tolist() == [0]
    # What the two have between them is not what models are compared by.
    assert predictions.log_probabilities is None
    assert endpoint.capability is Capability.LABELS
    endpoint.close()


def test_a_name_that_comes_twice_among_some_classes_has_to_be_written_down(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    server = wire_server(httpserver, body=answer("cow", "cow"))
    text = FILE.format(url=server.url, names='["cow", "dog", "horse", "pig"]')
    endpoint = opened(tmp_path, text, ["a", "b", "c", "d"])
    with pytest.raises(SharedNameError, match="write it in class_names for each class") as told:
        endpoint.predict(IMAGES[:1])
    # Any of the three others may be the second one.
    assert told.value.groups == ()
    endpoint.close()


def test_names_that_come_twice_do_no_harm_where_indices_are_answered(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    server = wire_server(httpserver, body=b'{"label": 2, "p": [0.1, 0.2, 0.7]}')
    endpoint = opened(
        tmp_path,
        f'format = "generic"\nurl = "{server.url}/"\nclass_names = ["cat", "dog", "cat"]\n'
        '[request]\nraw = true\n[answer]\nlabel = "label"\nscores = "p"\n',
    )
    predictions = endpoint.predict(IMAGES[:1])
    assert predictions.labels.tolist() == [2]
    assert predictions.log_probabilities is not None
    assert np.exp(predictions.log_probabilities[0]) == pytest.approx([0.1, 0.2, 0.7])
    endpoint.close()


def test_several_labels_may_stand_for_one_class(tmp_path: Path, httpserver: HTTPServer) -> None:
    server = wire_server(httpserver, body=answer("tabby", "dog", "lion", "horse"))
    table = '{ tabby = "cat", lion = "cat", dog = "dog", horse = "horse" }'
    endpoint = opened(tmp_path, FILE.format(url=server.url, names=table))
    predictions = endpoint.predict(IMAGES[:1])
    assert predictions.labels.tolist() == [0]
    # 0.4 and 0.2 for the cats, 0.3 for the dog, 0.1 for the horse
    assert predictions.log_probabilities is not None
    assert np.exp(predictions.log_probabilities[0]) == pytest.approx([0.6, 0.3, 0.1])
    endpoint.close()
