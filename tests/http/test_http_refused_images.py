"""What a vendor never answers, or calls by a name that is no class, does not end an audit."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tenacity import wait_exponential
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import Done, run
from worlds.record_builder import (
    GOLDEN_BUNDLE,
    NUM_CONTROLS,
    NUM_QUERIES,
    audited_contents,
    copy_rule,
    innocent_rule,
)
from worlds.servers.picky_vendor import Answer, PickyVendor, picky_vendor

from adapters.http import retry as http_retry
from adapters.suspect import REFUSED

BUNDLE = audited_contents()
NAMES = BUNDLE.manifest.task.class_names
NUM_QUESTIONS = NUM_CONTROLS + NUM_QUERIES


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_retry, "_exponential", wait_exponential(multiplier=1e-3, max=0.01))


def audited(
    server: PickyVendor, folder: Path, *options: str, fields: str = "", batch_size: int = 1
) -> Done:
    path = server.endpoint_file(folder / "vendor.toml", fields, batch_size=batch_size)
    return run(
        "audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--endpoint", path,
        "--journal", folder / "journal.sqlite", "--quiet", "--ask-all", "--json", *options,
    )  # fmt: skip


def labels(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "journal.sqlite")) as journal:
        return dict(journal.execute("SELECT question, label FROM answers"))


@contextmanager
def failing(question: str, answer: Answer) -> Iterator[PickyVendor]:
    with picky_vendor(BUNDLE, copy_rule, {question: answer}) as server:
        yield server


@pytest.mark.parametrize("question", ["control/0", "control/3", "query/5"])
@pytest.mark.parametrize(
    ("answer", "num_extra"),
    [
        # The image itself once, and one that is answered.
        (Answer(status=422, body=b'{"error": "cannot process"}'), 1),
        # The image and two retries, and one that is answered.
        (Answer(status=500, body=b"oops"), 3),
        (Answer(body=b'{"label": '), 3),
        (Answer(body=b'{"nothing": [1]'), 3),
    ],
)
def test_an_image_that_is_never_answered_is_refused_and_the_audit_goes_on(
    tmp_path: Path, question: str, answer: Answer, num_extra: int
) -> None:
    with failing(question, answer) as server:
        done = audited(server, tmp_path, fields="retries = 2\nconcurrency = 1")
        assert done.returncode == 10, done.stderr
        assert server.num_requests == NUM_QUESTIONS + num_extra
    found = labels(tmp_path)
    assert len(found) == NUM_QUESTIONS
    assert [name for name, label in found.items() if label == REFUSED] == [question]
    is_query = question.startswith("query")
    assert (f"vendor.toml: refused 1 of {NUM_QUERIES} queries" in done.stderr) == is_query


def test_resuming_does_not_come_back_to_a_refused_image(tmp_path: Path) -> None:
    with failing("query/2", Answer(status=500, body=b"oops")) as server:
        fields = "retries = 1\nconcurrency = 1\nmax_requests = 20"
        assert audited(server, tmp_path, fields=fields).returncode == 12
        assert labels(tmp_path)["query/2"] == REFUSED
        before = server.asked["query/2"]
        done = audited(server, tmp_path, "--resume", "--max-requests", "1000", fields=fields)
        assert (done.returncode, server.asked["query/2"]) == (10, before)


def test_one_image_does_not_take_its_batch_along(tmp_path: Path) -> None:
    with failing("query/7", Answer(status=422, body=b"no")) as server:
        done = audited(server, tmp_path, batch_size=8)
    assert done.returncode == 10, done.stderr
    assert Counter(labels(tmp_path).values())[REFUSED] == 1


def test_many_bad_images_at_once_do_not_look_like_a_vendor_that_is_down(tmp_path: Path) -> None:
    bad = {f"query/{index}": Answer(status=500, body=b"oops") for index in range(6)}
    with picky_vendor(BUNDLE, copy_rule, bad) as server:
        done = audited(server, tmp_path, fields="retries = 3\nconcurrency = 6")
    # A quarter of the queries: silence keeps nobody from being found.
    assert done.returncode == 10, done.stderr
    assert Counter(labels(tmp_path).values())[REFUSED] == 6


def test_whoever_refuses_too_much_is_not_independent(tmp_path: Path) -> None:
    bad = {f"query/{index}": Answer(status=422, body=b"no") for index in range(3)}
    with picky_vendor(BUNDLE, innocent_rule, bad) as server:
        done = audited(server, tmp_path)
    # 3 of 24 are more than 5 %.
    assert done.returncode == 11, done.stderr
    assert json.loads(done.stdout)["audits"][0]["outcome"]["scores"][0]["num_refused"] == 3


def test_a_label_that_is_no_class_is_a_refusal_among_others_that_are(tmp_path: Path) -> None:
    with failing("query/4", Answer(body=b'{"label": "background"}')) as server:
        done = audited(server, tmp_path, fields="concurrency = 1")
        assert server.num_requests == NUM_QUESTIONS + 1
    assert done.returncode == 10, done.stderr
    assert labels(tmp_path)["query/4"] == REFUSED


def test_a_resumed_audit_may_begin_with_a_label_that_is_no_class(tmp_path: Path) -> None:
    none = Answer(body=b'{"label": "background"}')
    with picky_vendor(BUNDLE, copy_rule, {"query/4": none, "other": none}) as server:
        fields = f"concurrency = 1\nmax_requests = {NUM_CONTROLS + 4}"
        assert audited(server, tmp_path, fields=fields).returncode == 12
        done = audited(server, tmp_path, "--resume", "--max-requests", "1000", fields=fields)
    assert done.returncode == 10, done.stderr + done.stdout
    assert labels(tmp_path)["query/4"] == REFUSED


def test_a_map_that_is_wrong_from_the_beginning_is_said_after_three_images(tmp_path: Path) -> None:
    with picky_vendor(BUNDLE, copy_rule, {}, names=("A", "B", "C", "D")) as server:
        done = audited(server, tmp_path, fields="concurrency = 1")
        assert (done.returncode, server.num_requests) == (14, 3)


def test_a_vendor_whose_labels_all_change_is_an_error_and_no_refusal(tmp_path: Path) -> None:
    changed = Answer(body=b'{"label": "class_1"}')
    with picky_vendor(BUNDLE, copy_rule, {}, from_request=(12, changed)) as server:
        done = audited(server, tmp_path, fields="concurrency = 1")
    assert done.returncode == 14
    error = json.loads(done.stdout)["audits"][0]["error"]
    assert "got 'class_1'" in error
    assert "refusals = ['class_1']" in error
    assert REFUSED not in labels(tmp_path).values()


def test_labels_may_be_declared_to_mean_none_of_the_classes(tmp_path: Path) -> None:
    with failing("control/0", Answer(body=b'{"label": "background"}')) as server:
        done = audited(
            server, tmp_path, fields='concurrency = 1\nrefusals = ["background", "unknown"]'
        )
        assert server.num_requests == NUM_QUESTIONS
    assert done.returncode == 10, done.stderr
    assert labels(tmp_path)["control/0"] == REFUSED
