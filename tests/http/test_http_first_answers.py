"""What the first answers say of the endpoint file, whichever of them comes back first."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

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
)
from worlds.servers.fault_proxy import Fault
from worlds.servers.picky_vendor import Answer, picky_vendor
from worlds.servers.vendor_server import vendor

from adapters.http import retry as http_retry
from adapters.suspect import REFUSED

BUNDLE = audited_contents()
NUM_QUESTIONS = NUM_CONTROLS + NUM_QUERIES
GAP = Answer(body=b'{"label": [0.1,,0.2]}')
"""As servers write it that lose a number."""
LAST = NUM_CONTROLS - 1


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_retry, "_exponential", wait_exponential(multiplier=1e-3, max=0.01))


def audited(path: Path, *options: str) -> Done:
    return run(
        "audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--endpoint", path,
        "--journal", path.parent / "journal.sqlite", "--quiet", "--ask-all", *options,
    )  # fmt: skip


def refused(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "journal.sqlite")) as journal:
        labels = dict(journal.execute("SELECT question, label FROM answers"))
    assert len(labels) == NUM_QUESTIONS
    return {question for question, label in labels.items() if label == REFUSED}


@pytest.mark.parametrize(("concurrency", "waits"), [(1, None), (4, "usual"), (4, "spoiled")])
@pytest.mark.parametrize(
    "answer",
    [
        GAP,
        Answer(body=b'{"label": ["cat"]}'),
        Answer(body=b'{"label": "cat"} and more'),
        Answer(body=b'{"label": "background"}'),
    ],
)
def test_a_first_image_that_is_spoiled_is_refused_whatever_comes_back_first(
    tmp_path: Path, answer: Answer, concurrency: int, waits: Literal["usual", "spoiled"] | None
) -> None:
    spoiled = {"control/0": answer}
    with picky_vendor(BUNDLE, copy_rule, spoiled, waits=waits, together=concurrency) as server:
        done = audited(server.endpoint_file(tmp_path / "v.toml", f"concurrency = {concurrency}"))
        assert done.returncode == 10, done.stderr
        # Each image once, and one that is answered.
        assert (server.asked["control/0"], server.num_requests) == (1, NUM_QUESTIONS + 1)
    assert refused(tmp_path) == {"control/0"}


def test_a_batch_with_a_spoiled_first_image_is_asked_in_parts(tmp_path: Path) -> None:
    with picky_vendor(BUNDLE, copy_rule, {"control/0": GAP}) as server:
        done = audited(server.endpoint_file(tmp_path / "v.toml", batch_size=8))
    assert done.returncode == 10, done.stderr
    assert refused(tmp_path) == {"control/0"}


@pytest.mark.parametrize(
    "answer", [GAP, Answer(status=422, body=b"no"), Answer(status=500, body=b"oops")]
)
def test_an_image_that_is_asked_in_its_place_may_be_spoiled_too(
    tmp_path: Path, answer: Answer
) -> None:
    bad = {"control/0": answer, f"control/{LAST}": answer}
    with picky_vendor(BUNDLE, copy_rule, bad) as server:
        fields = "concurrency = 1\nretries = 1"
        done = audited(server.endpoint_file(tmp_path / "v.toml", fields))
    assert done.returncode == 10, done.stderr
    assert refused(tmp_path) == set(bad)


def test_one_answer_among_many_that_are_spoiled_is_waited_for(tmp_path: Path) -> None:
    bad = {f"control/{index}": GAP for index in (0, 1, 2, LAST, LAST - 1, LAST - 2)}
    with picky_vendor(BUNDLE, copy_rule, bad, waits="usual", together=4) as server:
        done = audited(server.endpoint_file(tmp_path / "v.toml", "concurrency = 4"))
        # It was there when the others came back, so that nobody was asked in their place.
        assert server.asked[f"control/{LAST}"] == 1
    # Too few control images for a verdict, but nothing is wrong with the file.
    assert done.returncode == 15, done.stderr


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (GAP, "answer: expected JSON"),
        (Answer(body=b'{"label": ["cat"]}'), "answer.label: expected a class name or an index"),
        (Answer(body=b'{"label": "no class"}'), "got 'no class'"),
    ],
)
def test_three_images_without_a_readable_answer_are_the_files_fault(
    tmp_path: Path, answer: Answer, message: str, concurrency: int
) -> None:
    with picky_vendor(BUNDLE, copy_rule, {}, from_request=(0, answer)) as server:
        path = server.endpoint_file(tmp_path / "v.toml", f"concurrency = {concurrency}")
        for resume in ((), ("--resume",)):
            before = server.num_requests
            done = audited(path, *resume)
            assert done.returncode == 14
            assert message in done.stderr
            # Requests that are under way when the third comes back may be more.
            assert 3 <= server.num_requests - before <= 2 + concurrency
        server.from_request = None
        assert audited(path, "--resume").returncode == 10
    assert refused(tmp_path) == set()


def test_silence_about_other_images_does_not_speak_for_the_file(tmp_path: Path) -> None:
    silence = Answer(body=b'{"label": null}')
    with picky_vendor(BUNDLE, copy_rule, {"control/0": GAP}, from_request=(1, silence)) as server:
        done = audited(server.endpoint_file(tmp_path / "v.toml", "concurrency = 1"))
        assert (done.returncode, server.num_requests) == (14, 3)
    assert "answer: expected JSON" in done.stderr


@pytest.mark.parametrize("num_requests", [1, 2, 3, 4])
def test_an_audit_that_was_cut_at_its_beginning_resumes_as_it_would_have_gone_on(
    tmp_path: Path, num_requests: int
) -> None:
    bad = {"control/0": GAP, "control/1": GAP}
    with picky_vendor(BUNDLE, copy_rule, bad) as server:
        path = server.endpoint_file(tmp_path / "v.toml", "concurrency = 1\nretries = 0")
        server.from_request = (num_requests, Answer(status=429, body=b""))
        assert audited(path).returncode == 12
        server.from_request = None
        assert audited(path, "--resume").returncode == 10
    assert refused(tmp_path) == {"control/0", "control/1"}


def test_a_vendor_that_says_later_to_the_other_image_is_asked_again(tmp_path: Path) -> None:
    later = Fault(status=429, headers=(("Retry-After", "0"),))
    faults = {0: Fault(body=b'{"labels": [0.1,,0.2]}'), 1: later}
    with vendor(BUNDLE, copy_rule, faults.get) as server:
        path = server.endpoint_file(tmp_path / "v.toml", "concurrency = 1")
        done = audited(path)
    assert done.returncode == 10, done.stderr
    assert refused(tmp_path) == {"control/0"}
