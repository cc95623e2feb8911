"""Faults on the way to a vendor end in the right verdict or a clear stop, never a wrong verdict.

The vendor answers rightly; a proxy between it and the endpoint does what goes wrong.
"""

import random
import re
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from tenacity import wait_exponential
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import Done, run
from worlds.long_runs import first
from worlds.record_builder import (
    GOLDEN_BUNDLE,
    NUM_CONTROLS,
    NUM_QUERIES,
    audited_contents,
    copy_rule,
    innocent_rule,
)
from worlds.servers.fault_proxy import (
    LASTING,
    PASSING,
    Fault,
    Faults,
    an_earlier_answer,
    at_random,
    is_quick,
    without_faults,
)
from worlds.servers.vendor_server import Rule, Vendor, vendor

from adapters.http import retry as http_retry
from adapters.http.opening import open_endpoint
from adapters.suspect import SuspectError
from audit.asking.events import Finished
from audit.asking.second_questions import NUM_FIRST
from audit.asking.session import AuditSession
from audit.journal.journal import Journal
from audit.verdict.outcome import Verdict

BUNDLE = audited_contents()
TRUTH = ((copy_rule, Verdict.DERIVED, 10), (innocent_rule, Verdict.INDEPENDENT, 0))
"""Rule, verdict, exit status."""
FIELDS = "timeout_s = 0.25\nretries = 30\nconcurrency = 4\nstop_after_failures = 1000"
PATIENT = FIELDS.replace("0.25", "60")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_retry, "_exponential", wait_exponential(multiplier=1e-3, max=0.01))
    monkeypatch.setattr(http_retry, "JITTER_S", 0.002)


def audited(
    server: Vendor,
    folder: Path,
    *,
    batch_size: int = 1,
    fields: str = FIELDS,
) -> Finished:
    path = server.endpoint_file(folder / "vendor.toml", fields, batch_size=batch_size)
    endpoint, journal = open_endpoint(path), Journal(folder / "journal.sqlite")
    try:
        *_, last = AuditSession(BUNDLE, endpoint, journal).run()
    finally:
        endpoint.close()
        journal.close()
    assert isinstance(last, Finished)
    return last


def commanded(server: Vendor, folder: Path, *options: str, fields: str = PATIENT) -> Done:
    """Audit by the command line."""
    path = server.endpoint_file(folder / "vendor.toml", fields)
    return run(
        "audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--endpoint", path,
        "--journal", folder / "journal.sqlite", "--quiet", *options,
    )  # fmt: skip


def from_request(start: int, fault: Fault) -> Faults:
    """Spoil every answer from some request on."""
    return lambda number: fault if number >= start else None


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize(("rule", "verdict", "status"), TRUTH)
def test_a_fault_that_passes_does_not_change_the_verdict(
    tmp_path: Path, rule: Rule, verdict: Verdict, status: int, kind: str
) -> None:
    faults = at_random(random.Random(kind), 0.15, {kind: PASSING[kind]})
    with vendor(BUNDLE, rule, faults) as server:
        last = audited(server, tmp_path)
    assert last.outcome.verdict is verdict
    assert last.is_complete


@pytest.mark.parametrize("seed", first(6, range(24)))
def test_all_faults_that_pass_at_once_do_not_change_the_verdict(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    rule, verdict, _ = rng.choice(TRUTH)
    quick = {name: fault for name, fault in PASSING.items() if is_quick(fault)}
    with vendor(BUNDLE, rule, at_random(rng, 0.4, quick)) as server:
        last = audited(server, tmp_path, batch_size=rng.choice([1, 1, 5]), fields=PATIENT)
    assert last.outcome.verdict is verdict
    assert last.num_attempts == server.num_requests


@pytest.mark.parametrize("kind", LASTING)
def test_a_fault_that_lasts_stops_the_audit_in_words_and_can_be_resumed(
    tmp_path: Path, kind: str
) -> None:
    rng, lasting = random.Random(kind), LASTING[kind]
    rule, _, status = rng.choice(TRUTH)
    with vendor(BUNDLE, rule, from_request(rng.randrange(1, 30), lasting.fault)) as server:
        stopped = commanded(server, tmp_path, "--ask-all")
        assert (stopped.returncode, stopped.stdout) == (lasting.status, "")
        assert re.search(lasting.message, stopped.stderr), stopped.stderr
        assert re.search(r"\w+(\.\w+)*: expected .*, got ", stopped.stderr)
        server.spoil(without_faults)
        assert commanded(server, tmp_path, "--ask-all", "--resume").returncode == status


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            Fault(status=429, body=b"", headers=(("Retry-After", "3600"),)),
            r"got status 429 \(1 attempt\); resume in 3600 s or later",
        ),
        (
            Fault(
                status=503,
                body=b"",
                headers=(
                    ("Date", "Sat, 01 Nov 2025 23:00:00 GMT"),
                    ("Retry-After", "Sun, 02 Nov 2025 00:00:00 GMT"),
                ),
            ),
            r"got status 503 \(1 attempt\); resume in 3600 s or later",
        ),
        (PASSING["500"], r"got status 500 \(oops\) \(4 attempts\); it answered before, so resume"),
        (PASSING["502"], r"got status 502 .*; it answered before, so resume when it is back"),
        (PASSING["reset"], r"got no connection \(Connection reset by peer\) .*it answered before"),
        (PASSING["closed"], r"got a connection closed before it \(4 attempts\); it answered"),
        (PASSING["truncated body"], "got a body cut short after 5 bytes .*; it answered before"),
        (PASSING["empty body"], "got an empty body .*; it answered before"),
        (PASSING["not gzip"], "got a compressed body that cannot be unpacked .*; it answered"),
    ],
)
@pytest.mark.parametrize("first_spoiled", first(1, [5, 20]))
def test_a_vendor_that_stays_away_stops_the_audit_which_goes_on_later(
    tmp_path: Path, fault: Fault, message: str, first_spoiled: int
) -> None:
    fields = "concurrency = 1\nretries = 3\ntimeout_s = 60"
    rule, _, status = TRUTH[first_spoiled == 5]
    with vendor(BUNDLE, rule, from_request(first_spoiled, fault)) as server:
        stopped = commanded(server, tmp_path, "--ask-all", fields=fields)
        assert (stopped.returncode, stopped.stdout) == (12, "")
        assert re.search(message, stopped.stderr), stopped.stderr
        with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as journal:
            ((num,),) = journal.execute("SELECT COUNT(*) FROM answers")
        assert num == first_spoiled  # all that was answered is there
        server.spoil(without_faults)
        done = commanded(server, tmp_path, "--ask-all", "--resume", fields=fields)
    assert done.returncode == status
    # Nothing that was answered was bought again.
    # Four attempts, one with an image that was answered before, second answers of who is cleared.
    assert server.num_answered <= NUM_CONTROLS + NUM_QUERIES + 4 + 1 + NUM_FIRST


def test_a_redirect_is_not_followed_to_anybody(tmp_path: Path) -> None:
    with vendor(BUNDLE, copy_rule) as elsewhere:
        fault = Fault(status=307, headers=(("Location", elsewhere.url),))
        with vendor(BUNDLE, innocent_rule, lambda number: fault) as server:
            stopped = commanded(server, tmp_path)
        assert elsewhere.num_requests == 0
    assert stopped.returncode == 14
    assert "got a redirect (status 307) to http://127.0.0.1/classify" in stopped.stderr


def test_an_error_document_with_status_200_is_found_by_the_controls(tmp_path: Path) -> None:
    # No label in it: that is a refusal to classify, and only the controls tell it from one.
    fault = Fault(body=b'{"error": "quota exceeded"}')
    with vendor(BUNDLE, copy_rule, lambda number: fault) as server:
        done = commanded(server, tmp_path)
        assert server.num_requests <= NUM_CONTROLS  # no query left
    assert done.returncode == 15
    assert "not comparable" in done.stdout


def test_a_list_shorter_than_the_batch_is_asked_for_in_parts(tmp_path: Path) -> None:
    faults = {1: Fault(body=b'{"labels": [0, 1]}')}
    with vendor(BUNDLE, copy_rule, faults.get) as server:
        last = audited(server, tmp_path, batch_size=5, fields="concurrency = 1")
    assert last.outcome.verdict is Verdict.DERIVED
    assert last.outcome.control.accuracy == 1


def test_lists_that_are_always_shorter_than_the_batch_stop_the_audit(tmp_path: Path) -> None:
    with (
        vendor(BUNDLE, copy_rule, from_request(1, Fault(body=b'{"labels": []}'))) as server,
        pytest.raises(SuspectError, match=r"expected a list of \d, one per image, got 0"),
    ):
        audited(server, tmp_path, batch_size=5, fields=PATIENT)


@pytest.mark.parametrize("seed", first(4, range(16)))
def test_answers_that_change_at_random_never_turn_a_verdict_around(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    rule, verdict, _ = rng.choice(TRUTH)
    share = rng.choice([0.1, 0.2, 0.3])

    def faults(number: int) -> Fault | None:
        label = rng.randrange(4)
        return Fault(body=b'{"labels": [%d]}' % label) if rng.random() < share else None

    with vendor(BUNDLE, rule, faults) as server:
        # One after another, so that the answers depend on the seed alone.
        found = audited(server, tmp_path, fields="concurrency = 1").outcome.verdict
    assert found in (verdict, Verdict.INCONCLUSIVE, Verdict.NOT_COMPARABLE)


@pytest.mark.parametrize("first_spoiled", [0, NUM_CONTROLS])
@pytest.mark.parametrize("seed", first(1, range(4)))
@pytest.mark.parametrize(("rule", "verdict", "status"), TRUTH)
def test_answers_to_earlier_requests_never_turn_a_verdict_around(
    tmp_path: Path, rule: Rule, verdict: Verdict, status: int, first_spoiled: int, seed: int
) -> None:
    faults = from_request(first_spoiled, Fault(change=an_earlier_answer(random.Random(seed))))
    with vendor(BUNDLE, rule, faults) as server:
        # One after another, so that the answers depend on the seed alone.
        found = audited(server, tmp_path, fields="concurrency = 1").outcome.verdict
    assert found in (verdict, Verdict.INCONCLUSIVE, Verdict.NOT_COMPARABLE)


def test_refusals_never_make_a_model_derived(tmp_path: Path) -> None:
    faults = from_request(NUM_CONTROLS, Fault(body=b'{"labels": [null]}'))
    with vendor(BUNDLE, copy_rule, faults) as server:
        found = audited(server, tmp_path, fields=PATIENT).outcome.verdict
    assert found is not Verdict.DERIVED


def test_a_vendor_that_goes_down_is_left_alone_soon_and_the_audit_resumed(tmp_path: Path) -> None:
    fields = PATIENT.replace("stop_after_failures = 1000", "stop_after_failures = 7")
    with vendor(BUNDLE, copy_rule, from_request(12, PASSING["500"])) as server:
        stopped = commanded(server, tmp_path, "--ask-all", fields=fields)
        assert stopped.returncode == 12
        told = "got status 500 (oops) (7 failures in a row); it answered before, so resume"
        assert told in stopped.stderr
        # Four threads were on their way when the seventh failed; and where an answer is taken up
        # after a failure that overtook it, or three, the count begins again.
        # Some of them ask for an image that was answered before, in vain.
        assert 12 + 7 <= server.num_requests <= 12 + 7 + 3 + 3 + 4
        again = commanded(server, tmp_path, "--ask-all", "--resume", fields=fields)
        assert (again.returncode, told in again.stderr) == (12, True)
        asked_before = server.num_requests
        server.spoil(without_faults)
        done = commanded(server, tmp_path, "--ask-all", "--resume", fields=fields)
    assert done.returncode == 10
    assert server.num_requests == asked_before + NUM_CONTROLS + NUM_QUERIES - 12


def test_a_vendor_that_never_answered_is_unreachable(tmp_path: Path) -> None:
    with vendor(BUNDLE, copy_rule, lambda number: PASSING["500"]) as server:
        stopped = commanded(server, tmp_path, fields="retries = 2\nconcurrency = 1")
        # The last two have other images: a server that is down answers none, either.
        assert server.num_requests == 5
    assert stopped.returncode == 14
    assert "(3 attempts); check that the server is up" in stopped.stderr


def test_giving_up_on_one_request_ends_the_pauses_of_the_others(tmp_path: Path) -> None:
    all_left = threading.Event()

    def when_all_left(body: bytes) -> bytes:
        all_left.wait(60)
        return b""

    later = Fault(status=429, headers=(("Retry-After", "100"),), change=when_all_left)
    refused = Fault(status=401, body=b"no", delay_s=0.4)  # while the others pause

    def faults(number: int) -> Fault:
        if number < 3:
            return later
        all_left.set()
        return refused

    with vendor(BUNDLE, copy_rule, faults) as server:
        started = time.monotonic()
        stopped = commanded(server, tmp_path, fields="concurrency = 4")
    assert stopped.returncode == 14
    assert "auth: expected to be let in" in stopped.stderr
    assert time.monotonic() - started < 60  # not the 100 s that the others were told to wait
