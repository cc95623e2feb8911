"""Endpoints in a sweep: asked by the coordinator, at their vendor's pace, and never paid twice."""

import time
from pathlib import Path

import pytest
from worlds.record_builder import audited_contents, copy_rule, innocent_rule
from worlds.servers.fault_proxy import Fault
from worlds.servers.vendor_server import vendor
from worlds.sweep_world import HereEngine, World, names

from audit.asking.second_questions import NUM_FIRST
from audit.journal.audits import audit_ids, audit_runs
from audit.journal.journal import Journal
from audit.suspects.found_files import SuspectKind
from audit.sweep.run import JOURNAL, PairDone, Swept
from audit.sweep.tasks import SuspectTask

PRICED = 'currency = "USD"\nprice_per_request = 0.01\n'


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_endpoints_and_files_are_asked_side_by_side(world: World) -> None:
    world.add("stranger.onnx")
    with vendor(audited_contents(), copy_rule) as server:
        path = server.endpoint_file(world.suspects / "vendor.toml", "concurrency = 1")
        _, asked, rows = world.run(endpoints=[path])
        assert [Path(task.path).name for task in asked] == ["stranger.onnx"]
        assert names(rows) == {"stranger.onnx": "independent", "vendor.toml": "derived"}
        num = server.num_requests
        # Asked again only when its answers are old.
        world.run(endpoints=[path])
        assert server.num_requests == num
        world.run(endpoints=[path], again_after_s=3600.0)
        assert server.num_requests == num
        world.run(endpoints=[path], again_after_s=0.0)
        assert server.num_requests == 2 * num


def test_an_endpoint_file_that_merely_lies_there_is_no_suspect(world: World) -> None:
    world.add("stranger.onnx")
    with vendor(audited_contents(), copy_rule) as server:
        path = server.endpoint_file(world.suspects / "vendor.toml")
        server.endpoint_file(world.suspects / "other.toml")
        events, _, rows = world.run()
        assert server.num_requests == 0
        assert names(rows) == {"stranger.onnx": "independent"}
        assert [event.num_unasked for event in events if isinstance(event, Swept)] == [2]
        # A folder that holds what was named does not make it another one.
        listed = world.folder / "list.toml"
        listed.write_text('suspects = ["suspects", "suspects/vendor.toml"]\n')
        for place in ({"place": listed}, {"endpoints": [path]}):
            events, _, rows = world.run(**place)
            assert names(rows) == {"stranger.onnx": "independent", "vendor.toml": "derived"}
            assert [event.num_unasked for event in events if isinstance(event, Swept)] == [1]


def test_one_limit_holds_for_all_workers_of_a_sweep(world: World) -> None:
    rate, arrived = 40.0, list[float]()

    def note(number: int, questions: tuple[str, ...]) -> None:
        arrived.append(time.monotonic())

    with vendor(audited_contents(), innocent_rule, on_request=note) as server:
        paths = []
        for name in ("a", "b", "c"):
            path = server.endpoint_file(
                world.suspects / f"{name}.toml", f"requests_per_second = {rate}"
            )
            path.write_text(path.read_text().replace("/classify", f"/classify?variant={name}"))
            paths.append(path)
        began = time.monotonic()
        _, _, rows = world.run(endpoints=paths)
    assert names(rows) == dict.fromkeys(("a.toml", "b.toml", "c.toml"), "independent")
    # However slow the machine is, requests of one account never come faster than this.
    assert len(arrived) > 60
    assert max(arrived) - began >= (len(arrived) - 1) / rate


def test_a_vendor_that_turns_us_away_is_a_row_and_is_tried_again(world: World) -> None:
    is_closed = True

    def refuse(number: int) -> Fault | None:
        return Fault(status=401, body=b"who are you") if is_closed else None

    world.add("stranger.onnx")
    with vendor(audited_contents(), copy_rule, refuse) as server:
        path = server.endpoint_file(world.suspects / "vendor.toml")
        _, _, rows = world.run(endpoints=[path])
        assert names(rows, "status") == {"stranger.onnx": "asked", "vendor.toml": "broken off"}
        assert names(rows, "exit_code")["vendor.toml"] == 14
        is_closed = False
        assert names(world.run(endpoints=[path])[2])["vendor.toml"] == "derived"


def test_an_endpoint_that_fails_half_way_goes_on_where_it_was(world: World) -> None:
    is_failing = True

    def fail(number: int) -> Fault | None:
        return Fault(status=500, body=b"oops") if is_failing and number >= 9 else None

    with vendor(audited_contents(), innocent_rule, fail) as server:
        path = server.endpoint_file(
            world.suspects / "vendor.toml", "stop_after_failures = 2\nretries = 1\nconcurrency = 1"
        )
        _, _, rows = world.run(endpoints=[path])
        assert rows[0]["status"] == "stopped"
        is_failing = False
        answered = {question for question, times in server.asked.items() if times == 1}
        _, _, rows = world.run(endpoints=[path])
        assert rows[0]["verdict"] == "independent"
        # What had an answer was not asked again, but for the first queries of who is to be cleared.
        assert len(answered) >= 8
        assert sum(server.asked[question] > 1 for question in answered) <= NUM_FIRST
    journal = Journal(world.results / JOURNAL)
    (audit,) = audit_ids(journal)
    assert len(audit_runs(journal, audit)) == 2
    journal.close()


def test_an_audit_that_ended_just_before_the_sweep_did_is_not_paid_again(world: World) -> None:
    with vendor(audited_contents(), copy_rule) as server:
        path = server.endpoint_file(world.suspects / "vendor.toml")
        with world.sweep() as sweep:
            engine = HereEngine(sweep.parcel, sweep.results)
            for event in sweep.run(world.suspects, engine, endpoints=[path]):
                assert event
            engine.close()
            # As a kill between the journal and the table would leave it.
            (row,) = world.rows(sweep)
            sweep.table.note_audit(
                row["suspect_key"], row["bundle_sha256"], row["audit"], "coordinator"
            )
        num = server.num_requests
        events, _, rows = world.run(endpoints=[path])
        assert server.num_requests == num
    assert rows[0]["verdict"] == "derived"
    assert rows[0]["score"] == row["score"]
    assert [type(event) is PairDone for event in events].count(True) == 1


def test_the_end_of_a_sweep_does_not_wait_for_a_vendor_that_said_later(world: World) -> None:
    later = Fault(status=429, body=b"", headers=(("Retry-After", "300"),))
    with vendor(audited_contents(), copy_rule, lambda number: later) as server:
        path = server.endpoint_file(world.suspects / "vendor.toml")
        with world.sweep() as sweep:
            sweep._endpoints.submit(
                SuspectTask(
                    suspect="vendor",
                    path=str(path),
                    kind=SuspectKind.ENDPOINT,
                    sha256=None,
                    bundles=tuple(sweep._bundles),
                    audits=(None,),
                )
            )
            while not server.num_requests:
                time.sleep(0.01)
            began = time.monotonic()
        assert time.monotonic() - began < 100


def test_nothing_that_costs_money_is_sent_without_a_limit_or_a_yes(world: World) -> None:
    world.add("stranger.onnx")
    with vendor(audited_contents(), copy_rule) as server:
        path = server.endpoint_file(world.suspects / "vendor.toml", PRICED)
        _, _, rows = world.run(endpoints=[path])
        assert server.num_requests == 0
        assert names(rows, "status") == {"stranger.onnx": "asked", "vendor.toml": "broken off"}
        assert "give --max-cost" in names(rows, "reason")["vendor.toml"]
        _, _, rows = world.run(endpoints=[path], max_cost="0.30")
        told = {row["suspect"].rpartition("/")[2]: row for row in rows}["vendor.toml"]
        assert told["verdict"] == "derived"
        assert told["cost"] == f"{server.num_requests * 0.01:.2f}"
        assert told["currency"] == "USD"
