"""What an endpoint may cost: told before, agreed to, never exceeded, counted over all runs."""

import json
import os
import pty
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_exponential
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import Done, run
from worlds.long_runs import first
from worlds.record_builder import GOLDEN_BUNDLE, audited_contents, copy_rule
from worlds.screens.pseudo_terminal import read_until
from worlds.servers.fault_proxy import PASSING, Fault, at_random, is_quick
from worlds.servers.vendor_server import Vendor, vendor

from adapters.http import retry as http_retry
from adapters.http.opening import open_endpoint
from adapters.tariff import SpendingLimits
from audit.api import audit_suspect
from audit.asking.events import Finished
from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.errors import BudgetSpentError
from audit.exit_codes import ExitCode
from audit.journal.journal import Journal

BUNDLE = audited_contents()
NUM_CONTROLS, NUM_QUESTIONS = 8, 32
PRICE = 'price_per_request = 0.01\ncurrency = "EUR"\nconcurrency = 1'


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_retry, "_exponential", wait_exponential(multiplier=1e-3, max=0.01))


def command(folder: Path, server: Vendor, fields: str, *options: object) -> list[object]:
    path = server.endpoint_file(folder / "vendor.toml", fields)
    arguments = ["audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--endpoint", path]
    return [*arguments, "--journal", folder / "journal.sqlite", "--ask-all", *options]


def kinprint(folder: Path, server: Vendor, fields: str, *options: object) -> Done:
    return run(*command(folder, server, fields, *options))


def row(done: Done) -> dict[str, Any]:
    (only,) = json.loads(done.stdout)["audits"]
    assert isinstance(only, dict)
    return only


def test_a_script_that_pays_without_a_limit_is_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        refused = kinprint(tmp_path, server, PRICE)
        assert (refused.returncode, server.num_requests) == (ExitCode.USAGE, 0)
        assert "asks at most 32 images in 32 requests and costs 0.32 EUR" in refused.stderr
        assert "give --max-cost, --max-requests or --budget, or --yes" in refused.stderr
        done = kinprint(tmp_path, server, PRICE, "--yes", "--json")
    assert done.returncode == ExitCode.DERIVED
    spent = {"requests": 32, "images": 32, "cost": "0.32", "currency": "EUR"}
    assert row(done)["run"]["spent"] == spent


@pytest.mark.parametrize("option", [["--max-cost", "1"], ["--max-requests", "40"]])
def test_a_script_with_a_limit_pays_up_to_it(tmp_path: Path, option: list[str]) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        done = kinprint(tmp_path, server, PRICE, *option)
    assert done.returncode == ExitCode.DERIVED, done.stderr
    assert (
        "costs 0.32 EUR; 3 are asked again before it is cleared, up to 28 if its answers change or "
        "look random; "
    ) in done.stderr
    assert "; retries come on top; stops " in done.stderr


def test_what_costs_nothing_is_not_asked_about(tmp_path: Path) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        done = kinprint(tmp_path, server, "")
    assert (done.returncode, done.stderr) == (ExitCode.DERIVED, "")


def test_questions_are_cut_to_what_the_money_reaches_for(tmp_path: Path) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        stopped = kinprint(tmp_path, server, PRICE, "--max-cost", "0.10", "--json")
        assert server.num_requests == 10
        assert stopped.returncode in (ExitCode.STOPPED, ExitCode.DERIVED)
        assert row(stopped)["outcome"]["num_questions"] == 10
        too_little = kinprint(tmp_path, server, PRICE, "--max-cost", "0.08")
        assert server.num_requests == 10
    assert too_little.returncode == ExitCode.USAGE
    assert "expected enough for more than the 8 control images" in too_little.stderr


def test_failed_attempts_count_and_a_larger_limit_goes_on(tmp_path: Path) -> None:
    def fail(number: int) -> Fault | None:
        return PASSING["500"] if number in (3, 11, 12) else None

    with vendor(BUNDLE, copy_rule, fail) as server:
        stopped = kinprint(tmp_path, server, PRICE, "--max-cost", "0.32")
        assert (stopped.returncode, server.num_requests) == (ExitCode.STOPPED, 32)
        assert "max_cost: 0.32 EUR is spent, and one request more" in stopped.stderr
        assert "--resume" in stopped.stderr
        done = kinprint(tmp_path, server, PRICE, "--max-cost", "0.35", "--resume", "--json")
    assert done.returncode == ExitCode.DERIVED, done.stderr
    assert ": the whole audit, earlier answers included, asks at most 32 images" in done.stderr
    assert row(done)["run"]["spent"]["cost"] == "0.35"
    assert server.num_requests == 35


def test_errors_are_free_where_the_vendor_charges_for_answers(tmp_path: Path) -> None:
    fields = PRICE + '\ncharged_for = "answers"'

    def fail(number: int) -> Fault | None:
        return PASSING["500"] if number in (3, 11) else None

    with vendor(BUNDLE, copy_rule, fail) as server:
        done = kinprint(tmp_path, server, fields, "--max-cost", "0.32", "--json")
    assert done.returncode == ExitCode.DERIVED, done.stderr
    assert row(done)["run"]["spent"]["requests"] == 32
    assert row(done)["run"]["attempts"] == server.num_requests == 34


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ("", ["--max-cost", "5"], "max_cost: expected price_per_request or price_per_image in"),
        (PRICE, ["--max-cost", "0"], "--max-cost: expected an amount above 0"),
        (PRICE, ["--max-cost", "ten"], "--max-cost: expected an amount above 0"),
        ("max_cost = 5.0", [], "max_cost: expected price_per_request or price_per_image, got nei"),
        ("price_per_image = 0.1", [], 'currency: expected a code beside a price, such as "USD"'),
        ('currency = "euro"', [], "currency: expected"),
        ("price_per_request = -1.0", [], "price_per_request: expected greater than or equal to 0"),
    ],
)
def test_a_price_or_limit_that_means_nothing_is_refused(
    tmp_path: Path, fields: str, options: list[str], message: str
) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        done = kinprint(tmp_path, server, fields, *options)
    assert (done.returncode, server.num_requests) == (ExitCode.USAGE, 0)
    assert message in done.stderr


@pytest.mark.parametrize("seed", first(4, range(12)))
def test_a_limit_of_requests_is_never_exceeded(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    quick = {name: fault for name, fault in PASSING.items() if is_quick(fault)}
    max_requests, batch_size = rng.randrange(9, 70), rng.choice([1, 3])
    fields = "concurrency = 8\nretries = 20\nstop_after_failures = 1000"
    with vendor(BUNDLE, copy_rule, at_random(rng, 0.4, quick)) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", fields, batch_size=batch_size)
        journal = tmp_path / "journal.sqlite"
        resume = False
        for limit in (max_requests, max_requests + 7):
            endpoint = open_endpoint(path)
            try:
                audit_suspect(
                    BUNDLE,
                    endpoint,
                    stop_early=False,
                    limits=SpendingLimits(max_requests=limit),
                    journal=journal,
                    resume=resume,
                )
                break
            except BudgetSpentError:
                resume = True
            finally:
                endpoint.close()
                assert server.num_requests <= limit


def test_the_file_may_set_the_limit_and_prices_by_image(tmp_path: Path) -> None:
    fields = 'price_per_image = 0.0015\ncurrency = "USD"\nmax_cost = 0.03\nconcurrency = 1'
    with vendor(BUNDLE, copy_rule) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", fields, batch_size=4)
        endpoint, journal = open_endpoint(path), Journal(tmp_path / "journal.sqlite")
        with pytest.raises(BudgetSpentError, match=r"exceed 0\.03 USD"):
            list(AuditSession(BUNDLE, endpoint, journal).run())
        limits = SpendingLimits(max_cost=Decimal("1"))
        *_, last = AuditSession(
            BUNDLE, endpoint, journal, AuditOptions(resume=True, limits=limits)
        ).run()
        endpoint.close()
        journal.close()
    assert isinstance(last, Finished)
    assert last.spending is not None
    assert last.spending.cost == Decimal("0.048")  # 32 images; 5 batches of 4 were within 0.03


@pytest.mark.parametrize(("answer", "status", "num"), [("n", 2, 0), ("y", 10, NUM_QUESTIONS)])
def test_a_terminal_is_asked_before_money_is_spent(
    tmp_path: Path, answer: str, status: int, num: int
) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        arguments = [sys.executable, "-m", "kinprint", *map(str, command(tmp_path, server, PRICE))]
        ours, theirs = pty.openpty()
        process = subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = read_until(ours, "Start? [y/N]")
        assert server.num_requests == 0
        os.write(ours, f"{answer}\n".encode())
        shown += read_until(ours, None)
        assert process.wait() == status, shown
        os.close(ours)
    assert "asks at most 32 images in 32 requests and costs 0.32 EUR" in shown
    assert server.num_requests == num


def test_an_answer_is_in_the_file_before_the_next_request_is_noted(tmp_path: Path) -> None:
    statements: list[str] = []
    with vendor(BUNDLE, copy_rule) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", "concurrency = 4")
        endpoint, journal = open_endpoint(path), Journal(tmp_path / "journal.sqlite")
        journal.file._connection.set_trace_callback(statements.append)
        *_, last = AuditSession(BUNDLE, endpoint, journal).run()
        endpoint.close()
        journal.close()
    assert isinstance(last, Finished)
    # A full disk undoes all of a transaction: no answer may be in that of a later request.
    pending = False
    for statement in statements:
        pending = statement != "COMMIT" and (pending or "INTO answers" in statement)
        assert not (pending and "INTO attempts" in statement)
    assert sum("INTO answers" in statement for statement in statements) >= NUM_CONTROLS
