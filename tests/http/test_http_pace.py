"""Rate limits are kept by all processes together, and what a server says about its pace counts."""

import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from contextlib import closing
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from requests.structures import CaseInsensitiveDict
from worlds.servers.http_faults import Reply, ScriptedServer, endpoint_file, scripted_server

from adapters.http.opening import open_endpoint
from adapters.http.rate_limit_file import SharedPace
from adapters.http.retry_headers import seconds_to_wait, seconds_until_quota
from adapters.suspect import SuspectConfigError, SuspectThrottledError

IMAGE = np.zeros((1, 8, 8, 3), dtype=np.uint8)
NOW = 1_780_000_000
DATE = formatdate(NOW, usegmt=True)
_FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": formatdate(NOW + 9, usegmt=True), "Date": DATE}, 9),
        ({"Retry-After": formatdate(NOW - 9, usegmt=True), "Date": DATE}, 0),
        ({"RateLimit": '"default";r=0;t=55'}, 55),
        ({"RateLimit": '"minute";r=3;t=20, "day";r=0;t=90'}, 90),
        ({"RateLimit": '"a,b;r=9";r=0;t=4'}, 4),
        ({"RateLimit": "limit=100, remaining=0, reset=50"}, 50),
        ({"RateLimit": '"api";r=0', "RateLimit-Policy": '"api";q=500;w=300'}, 300),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "12"}, 12),
        ({"X-RateLimit-Reset": "12"}, 12),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(NOW + 30), "Date": DATE}, 30),
        ({"X-RateLimit-Reset": f"{NOW + 30}000", "Date": DATE}, 30),
        ({"X-RateLimit-Reset": str(NOW - 30), "Date": DATE}, 0),
        ({"Retry-After": "3", "RateLimit": '"default";r=0;t=55'}, 3),
        ({"RateLimit": '"default";r=5;t=55'}, None),
        # Whoever asks for a pause gets one, also where nobody knows how long.
        ({"Retry-After": "soon", "RateLimit": "???", "X-RateLimit-Reset": "-4"}, 15.0),
        ({"Retry-After": "-1"}, 15.0),
        ({"Retry-After": "7" * 2000}, 15.0),
        ({"Retry-After": "soon", "RateLimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": "???", "X-RateLimit-Reset": "-4"}, None),
        ({"Retry-After": "2.5"}, 2.5),
        ({"Retry-After": "299.997"}, 299.997),
        ({"Retry-After": "292.052427053"}, 292.052427053),
        ({"Retry-After": "9" * 400}, 999_999_999.0),
        ({"Retry-After": "5.0"}, 5.0),
        ({"Retry-After": "5, 7"}, 7.0),
        ({"Retry-After": "5s"}, 5.0),
        ({"Retry-After": "3 seconds"}, 3.0),
        ({"X-RateLimit-Reset": "nan"}, None),
        ({}, None),
    ],
)
def test_a_pause_is_read_from_the_headers(
    headers: Mapping[str, str], seconds: float | None
) -> None:
    lower = CaseInsensitiveDict({name.lower(): value for name, value in headers.items()})
    assert seconds_to_wait(lower) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit": '"default";r=0;t=5'}, 5),
        ({"RateLimit": '"default";r=1;t=5'}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "5"}, 5),
        ({"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "5"}, None),
        ({"X-RateLimit-Reset": "5"}, None),  # of an answer that was given, it says no more than
        ({"RateLimit": '"default";t=5'}, None),  # when the window ends
        ({"Retry-After": "5"}, None),
    ],
)
def test_a_quota_that_is_used_up_is_read_from_an_answer(
    headers: Mapping[str, str], seconds: float | None
) -> None:
    assert seconds_until_quota(CaseInsensitiveDict(headers)) == seconds


def gaps(server: ScriptedServer) -> list[float]:
    times = sorted(received.time_s for received in server.received)
    return [later - earlier for earlier, later in pairwise(times)]


def test_an_answer_that_uses_up_the_quota_holds_the_next_request(tmp_path: Path) -> None:
    last = Reply(headers={"RateLimit": '"second";r=0;t=1'})
    with scripted_server(last, Reply()) as server:
        endpoint = open_endpoint(endpoint_file(tmp_path, server.url))
        endpoint.predict(IMAGE)
        endpoint.predict(IMAGE)
        endpoint.close()
    assert gaps(server)[0] >= 0.95


def test_a_refusal_with_a_ratelimit_header_is_waited_for(tmp_path: Path) -> None:
    later = Reply(status=429, headers={"RateLimit": '"second";r=0;t=1'})
    with scripted_server(later, Reply()) as server:
        endpoint = open_endpoint(endpoint_file(tmp_path, server.url))
        assert endpoint.predict(IMAGE).attempts == 2
        endpoint.close()
    assert gaps(server)[0] >= 0.95


def test_a_quota_that_is_used_up_for_hours_stops_resumably(tmp_path: Path) -> None:
    later = Reply(status=429, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "7200"})
    with scripted_server(later) as server:
        endpoint = open_endpoint(endpoint_file(tmp_path, server.url, "retries = 5"))
        with pytest.raises(SuspectThrottledError, match="resume in 7200 s or later"):
            endpoint.predict(IMAGE)
        endpoint.close()
    assert len(server.received) == 1


def _ask(path: Path, num: int) -> None:
    endpoint = open_endpoint(path)
    for _ in range(num):
        endpoint.predict(IMAGE)
    endpoint.close()


def test_a_rate_limit_is_shared_by_processes(tmp_path: Path) -> None:
    with scripted_server() as server:
        path = endpoint_file(tmp_path, server.url, "requests_per_second = 40")
        processes = [_FORK.Process(target=_ask, args=(path, 8)) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(server.received) == 24
    # 24 starts, 23 gaps of 1/40 s, less the way of the first; processes of their own took 7 gaps.
    assert sum(gaps(server)) >= 0.7 * 23 / 40


def test_a_pause_that_one_process_was_told_of_holds_the_others(tmp_path: Path) -> None:
    later = Reply(status=429, headers={"Retry-After": "1"})
    with scripted_server(later, Reply()) as server:
        path = endpoint_file(tmp_path, server.url, "requests_per_second = 1000")
        first = _FORK.Process(target=_ask, args=(path, 1))
        first.start()
        while not server.received:
            time.sleep(0.005)
        time.sleep(0.1)  # the first one reads its answer
        _ask(path, 1)
        first.join()
    assert gaps(server)[0] >= 0.95


def test_a_process_killed_while_it_waits_keeps_nobody_waiting(tmp_path: Path) -> None:
    with scripted_server() as server:
        path = endpoint_file(tmp_path, server.url, "requests_per_second = 0.5")
        first = _FORK.Process(target=_ask, args=(path, 50))
        first.start()
        while not server.received:
            time.sleep(0.005)
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        first.join()
        started = time.monotonic()
        _ask(path, 1)
    assert time.monotonic() - started < 3.9  # one interval is 2 s


def test_a_time_from_before_a_restart_of_the_machine_does_not_count(tmp_path: Path) -> None:
    pace = SharedPace(tmp_path / "pace.sqlite", "vendor")
    assert pace.start(90_000.0, 0.5) == 0  # the clock had run for a day,
    pace.hold(90_060.0)
    assert pace.start(90_001.0, 0.5) == 59
    assert pace.start(30.0, 0.5) == 0  # then for half a minute
    assert pace.start(30.1, 0.5) == pytest.approx(0.4)
    pace.close()


def test_accounts_do_not_slow_each_other_down(tmp_path: Path) -> None:
    one, other = (SharedPace(tmp_path / "pace.sqlite", name) for name in ("one", "other"))
    assert one.start(10.0, 5.0) == 0
    assert other.start(10.0, 5.0) == 0
    assert one.start(10.0, 5.0) == 5
    one.close()
    other.close()


def test_a_shorter_pause_never_ends_a_longer_one(tmp_path: Path) -> None:
    path = tmp_path / "pace.sqlite"
    with closing(SharedPace(path, "vendor")) as one, closing(SharedPace(path, "vendor")) as other:
        one.hold(160.0)
        other.hold(110.0)
        assert one.start(100.0, 1.0) == 60.0
        other.hold(170.0)
        assert one.start(100.0, 1.0) == 70.0


def test_a_pause_from_before_a_restart_does_not_swallow_a_new_one(tmp_path: Path) -> None:
    with closing(SharedPace(tmp_path / "pace.sqlite", "vendor")) as pace:
        pace.hold(900_000.0)
        pace.hold(110.0)
        assert pace.start(100.0, 1.0) == 10.0


def test_a_folder_that_cannot_hold_the_pace_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    path = endpoint_file(tmp_path, "http://127.0.0.1:1/", "requests_per_second = 1")
    with pytest.raises(SuspectConfigError, match="requests_per_second: expected a file that keeps"):
        open_endpoint(path)
