"""A line-up asked of a real server on loopback: PNG over HTTP, labels back, faults on the way."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tenacity import wait_exponential
from worlds.audit_world import NUM_CONTROLS, NUM_QUERIES
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY, OWNER_KEY, OWNER_TRUST, STRANGER_KEY
from worlds.in_process import Done, run
from worlds.line_up_world import LineUpWorld
from worlds.servers.fault_proxy import PASSING, at_random, is_quick
from worlds.servers.vendor_server import Rule, Vendor, vendor

from adapters.http import retry as http_retry
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.bundle.manifest import BundleContents
from audit.exit_codes import ExitCode
from audit.signing.keys import write_key_pair

NUM_QUESTIONS = 120
PRICE = 'price_per_request = 0.01\ncurrency = "EUR"\nrequests_per_second = 1000\nconcurrency = 1'


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_retry, "_exponential", wait_exponential(multiplier=1e-3, max=0.01))


@pytest.fixture(scope="module")
def world() -> LineUpWorld:
    return LineUpWorld(num_questions=NUM_QUESTIONS)


@pytest.fixture(scope="module")
def bundle_path(world: LineUpWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle, path = world.stepped, tmp_path_factory.mktemp("bundle") / "b.kinprint"
    write_bundle(path, bundle.manifest, bundle.arrays, OWNER_KEY, bundle.line_up)
    return path


@pytest.fixture(scope="module")
def bundle(bundle_path: Path) -> BundleContents:
    return read_bundle(bundle_path, OWNER_TRUST)


def answers(log_probabilities: NDArray[np.float64]) -> Rule:
    """Right on controls, a stranger's on crafted queries, and these on the line-up."""
    labels = log_probabilities.argmax(axis=-1)

    def rule(kind: str, index: int, label: int) -> int:
        return {"control": label, "query": 1}.get(kind, int(labels[index]))

    return rule


def audited(
    bundle_path: Path, folder: Path, server: Vendor, *options: object, fields: str = ""
) -> Done:
    endpoint = server.endpoint_file(folder / "vendor.toml", fields)
    return run(
        "audit", bundle_path, "--trust", GOLDEN_PUBLIC_KEY, "--endpoint", endpoint,
        "--journal", folder / "journal.sqlite", "--json", *options,
    )  # fmt: skip


def outcome_of(done: Done) -> dict[str, Any]:
    (only,) = json.loads(done.stdout)["audits"]
    found: dict[str, Any] = only["outcome"]
    return found


def num_asked(server: Vendor, kind: str) -> int:
    return sum(num for question, num in server.asked.items() if question.startswith(kind))


def test_a_student_behind_a_server_is_found_by_ordinary_images(
    world: LineUpWorld, bundle: BundleContents, bundle_path: Path, tmp_path: Path
) -> None:
    record, key = tmp_path / "r.kinrecord", tmp_path / "auditor.key"
    public = write_key_pair(key, STRANGER_KEY, None)
    with vendor(bundle, answers(world.derived(0))) as server:
        done = audited(bundle_path, tmp_path, server, "--record", record, "--auditor-key", key)
        assert done.returncode == ExitCode.DERIVED, done.stderr
        outcome = outcome_of(done)
        assert outcome["steps"]["decided_by"] == "line-up"
        stop = outcome["scores"][0]["num_queries"]
        assert outcome["scores"][0]["stopped_early"]
        # What was under way at the stop is all that was asked beyond it.
        assert stop <= num_asked(server, "line-up") < stop + 16
        assert set(server.asked.values()) == {1}
    checked = run(
        "verify", record, "--bundle", bundle_path, "--trust", GOLDEN_PUBLIC_KEY, "--trust", public
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_line_up_alone_is_asked_of_a_server(
    world: LineUpWorld, bundle: BundleContents, bundle_path: Path, tmp_path: Path
) -> None:
    with vendor(bundle, answers(world.derived(4))) as server:
        done = audited(bundle_path, tmp_path, server, "--score", "line-up")
        outcome = outcome_of(done)
        assert outcome["verdict"] != "derived"
        # A student of a sibling picks that sibling.
        assert int(np.argmax(outcome["scores"][0]["line_up"]["leads"])) == 4
        assert num_asked(server, "query") == 0


def test_faults_on_the_way_change_no_verdict(
    world: LineUpWorld, bundle: BundleContents, bundle_path: Path, tmp_path: Path
) -> None:
    rule, quiet, faulty = answers(world.derived(0)), tmp_path / "quiet", tmp_path / "faulty"
    quiet.mkdir()
    faulty.mkdir()
    with vendor(bundle, rule) as server:
        expected = outcome_of(audited(bundle_path, quiet, server))
    quick = {name: fault for name, fault in PASSING.items() if is_quick(fault)}
    faults = at_random(random.Random(3), 0.2, quick)
    with vendor(bundle, rule, faults) as server:
        found = outcome_of(audited(bundle_path, faulty, server))
    counted = {**found, "num_questions": expected["num_questions"]}
    assert counted == expected


def test_the_estimate_names_the_price_of_both_steps(
    world: LineUpWorld, bundle: BundleContents, bundle_path: Path, tmp_path: Path
) -> None:
    with vendor(bundle, answers(world.innocent())) as server:
        refused = audited(bundle_path, tmp_path, server, fields=PRICE)
        assert (refused.returncode, server.num_requests) == (ExitCode.USAGE, 0)
        first, both = NUM_CONTROLS + NUM_QUERIES, NUM_CONTROLS + NUM_QUERIES + NUM_QUESTIONS
        assert f"asks at most {both} images" in refused.stderr
        assert f"costs {both / 100:.2f} EUR" in refused.stderr
        assert f"controls and crafted queries {first} images, 0 s, 0.50 EUR" in refused.stderr
        assert "the line-up, if no copy is found, 120 images, 0 s, 1.20 EUR" in refused.stderr
        copies = audited(bundle_path, tmp_path, server, "--look-for", "copies", fields=PRICE)
        assert f"asks at most {first} images in {first} requests" in copies.stderr
        assert "line-up" not in copies.stderr


def test_a_limit_on_money_covers_both_steps(
    world: LineUpWorld, bundle: BundleContents, bundle_path: Path, tmp_path: Path
) -> None:
    with vendor(bundle, answers(world.derived(0))) as server:
        # 10 controls and 20 or more queries, and a handful of the line-up
        done = audited(bundle_path, tmp_path, server, "--max-cost", "0.40", fields=PRICE)
        assert done.returncode == ExitCode.STOPPED, done.stderr
        assert server.num_requests <= 40
        assert num_asked(server, "line-up") > 0
        more = audited(
            bundle_path, tmp_path, server, "--max-cost", "1.70", "--resume", fields=PRICE
        )
        assert more.returncode == ExitCode.DERIVED, more.stderr
        assert set(server.asked.values()) == {1}


def test_an_unsigned_change_of_the_levels_is_noticed(
    world: LineUpWorld, bundle: BundleContents, bundle_path: Path, tmp_path: Path
) -> None:
    other = replace(bundle, manifest=bundle.manifest.model_copy(update={"steps": None}))
    forged = tmp_path / "forged.kinprint"
    write_bundle(forged, other.manifest, other.arrays, STRANGER_KEY, other.line_up)
    with vendor(bundle, answers(world.derived(0))) as server:
        done = audited(forged, tmp_path, server)
    assert done.returncode == ExitCode.SIGNATURE
