"""Faults of a vendor lead to the right verdict or to a clear stop, never to a wrong verdict."""

import random
import time
from pathlib import Path

import pytest
from record_builder import audited_contents, copy_rule, innocent_rule
from tenacity import wait_exponential
from vendor_server import LASTING, PASSING, Rule, Spoil, Spoiled, Vendor, at_random, vendor

from adapters import http_retry
from adapters.http_endpoint import open_endpoint
from adapters.suspect import SuspectError, SuspectFailingError
from audit.exit_codes import ExitCode, code_for_error
from audit.journal import Journal
from audit.outcome import Verdict
from audit.session import AuditSession, Finished

BUNDLE = audited_contents()
TRUTH = ((copy_rule, Verdict.DERIVED), (innocent_rule, Verdict.INDEPENDENT))
FIELDS = "timeout_s = 0.25\nretries = 30\nconcurrency = 4\nstop_after_failures = 1000"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_retry, "_exponential", wait_exponential(multiplier=1e-3, max=0.01))
    monkeypatch.setattr(http_retry, "JITTER_S", 0.002)


def audited(
    server: Vendor,
    folder: Path,
    *,
    batch_size: int = 1,
    resume: bool = False,
    fields: str = FIELDS,
) -> Finished:
    path = server.endpoint_file(folder / "vendor.toml", fields, batch_size=batch_size)
    endpoint, journal = open_endpoint(path), Journal(folder / "journal.sqlite")
    try:
        *_, last = AuditSession(BUNDLE, endpoint, journal, resume=resume).run()
    finally:
        endpoint.close()
        journal.close()
    assert isinstance(last, Finished)
    return last


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize(("rule", "verdict"), TRUTH)
def test_a_fault_that_passes_does_not_change_the_verdict(
    tmp_path: Path, rule: Rule, verdict: Verdict, kind: str
) -> None:
    spoil = at_random(random.Random(kind), 0.15, {kind: PASSING[kind]})
    with vendor(BUNDLE, rule, spoil) as server:
        last = audited(server, tmp_path)
    assert last.outcome.verdict is verdict
    assert last.is_complete


@pytest.mark.parametrize("seed", range(24))
def test_all_faults_that_pass_at_once_do_not_change_the_verdict(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    rule, verdict = rng.choice(TRUTH)
    quick = {name: each for name, each in PASSING.items() if each.delay_s + each.drip_s < 0.1}
    with vendor(BUNDLE, rule, at_random(rng, 0.4, quick)) as server:
        last = audited(server, tmp_path, batch_size=rng.choice([1, 1, 5]))
    assert last.outcome.verdict is verdict
    assert last.num_attempts == server.num_requests


@pytest.mark.parametrize("kind", LASTING)
def test_a_fault_that_lasts_stops_the_audit_in_words_and_can_be_resumed(
    tmp_path: Path, kind: str
) -> None:
    rng = random.Random(kind)
    rule, verdict = rng.choice(TRUTH)
    bad_from = rng.randrange(1, 30)

    def spoil(number: int, questions: tuple[str, ...]) -> Spoiled | None:
        return LASTING[kind] if number >= bad_from else None

    if kind == "error with status 200":
        # No label in it: that is a refusal to classify, and only the controls tell it from one.
        with vendor(BUNDLE, rule, lambda number, questions: LASTING[kind]) as server:
            assert audited(server, tmp_path).outcome.verdict is Verdict.NOT_COMPARABLE
        return
    with vendor(BUNDLE, rule, spoil) as server:
        with pytest.raises(SuspectError, match=r"^\w+(\.\w+)*: expected .*, got "):
            audited(server, tmp_path)
        server.spoil = lambda number, questions: None
        assert audited(server, tmp_path, resume=True).outcome.verdict is verdict


def test_a_list_shorter_than_the_batch_stops_the_audit(tmp_path: Path) -> None:
    def spoil(number: int, questions: tuple[str, ...]) -> Spoiled | None:
        return Spoiled(body=b'{"labels": [0, 1]}') if number == 1 else None

    with (
        vendor(BUNDLE, copy_rule, spoil) as server,
        pytest.raises(SuspectError, match=r"expected a list of \d, one per image, got 2"),
    ):
        audited(server, tmp_path, batch_size=5)


@pytest.mark.parametrize("seed", range(16))
def test_answers_that_change_at_random_never_turn_a_verdict_around(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    rule, verdict = rng.choice(TRUTH)
    share = rng.choice([0.1, 0.2, 0.3])

    def spoil(number: int, questions: tuple[str, ...]) -> Spoiled | None:
        label = b"%d" % rng.randrange(4)
        return Spoiled(body=b'{"labels": [%s]}' % label) if rng.random() < share else None

    with vendor(BUNDLE, rule, spoil) as server:
        found = audited(server, tmp_path).outcome.verdict
    assert found in (verdict, Verdict.INCONCLUSIVE, Verdict.NOT_COMPARABLE)


def test_refusals_never_make_a_model_derived(tmp_path: Path) -> None:
    def spoil(number: int, questions: tuple[str, ...]) -> Spoiled | None:
        return Spoiled(body=b'{"labels": [null]}') if questions[0].startswith("query") else None

    with vendor(BUNDLE, copy_rule, spoil) as server:
        assert audited(server, tmp_path).outcome.verdict is not Verdict.DERIVED


def _down_after(num_answers: int) -> Spoil:
    return lambda number, questions: PASSING["500"] if number >= num_answers else None


def test_a_vendor_that_goes_down_is_left_alone_soon_and_the_audit_resumed(tmp_path: Path) -> None:
    fields = FIELDS.replace("stop_after_failures = 1000", "stop_after_failures = 7")
    with vendor(BUNDLE, copy_rule, _down_after(12)) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", fields)
        endpoint, journal = open_endpoint(path), Journal(tmp_path / "journal.sqlite")
        told = r"got status 500 \(oops\) \(7 failures in a row\); it answered before, so resume"
        with pytest.raises(SuspectError, match=told) as stopped:
            list(AuditSession(BUNDLE, endpoint, journal).run())
        assert code_for_error(stopped.value) is ExitCode.STOPPED
        endpoint.close()
        journal.close()
        # Four threads were on their way when the seventh failed.
        assert 12 + 7 <= server.num_requests <= 12 + 7 + 3
        with pytest.raises(SuspectFailingError, match="it answered before"):
            audited(server, tmp_path, resume=True, fields=fields)  # by another endpoint, as later
        asked_before = server.num_requests
        server.spoil = lambda number, questions: None
        last = audited(server, tmp_path, resume=True)
    assert last.outcome.verdict is Verdict.DERIVED
    assert server.num_requests == asked_before + 32 - 12


def test_a_vendor_that_never_answered_is_unreachable(tmp_path: Path) -> None:
    with vendor(BUNDLE, copy_rule, _down_after(0)) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", "retries = 2\nconcurrency = 1")
        endpoint, journal = open_endpoint(path), Journal(tmp_path / "journal.sqlite")
        with pytest.raises(SuspectError, match=r"\(3 attempts\); check that the server is up") as e:
            list(AuditSession(BUNDLE, endpoint, journal).run())
        endpoint.close()
        journal.close()
    assert code_for_error(e.value) is ExitCode.UNREACHABLE
    assert server.num_requests == 3


def test_giving_up_on_one_request_ends_the_pauses_of_the_others(tmp_path: Path) -> None:
    def spoil(number: int, questions: tuple[str, ...]) -> Spoiled | None:
        if questions[0] == "control/3":
            return Spoiled(status=401, body=b"no", delay_s=1.2)
        later = (("Retry-After", "100"),)
        return Spoiled(status=429, headers=later, body=b"", delay_s=0.8)  # when all four have left

    with vendor(BUNDLE, copy_rule, spoil) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", "concurrency = 4")
        endpoint, journal = open_endpoint(path), Journal(tmp_path / "journal.sqlite")
        started = time.monotonic()
        with pytest.raises(SuspectError, match="auth: expected to be let in"):
            list(AuditSession(BUNDLE, endpoint, journal).run())
        endpoint.close()
        journal.close()
    assert time.monotonic() - started < 10  # not the 100 s that the others were told to wait
