"""Asking over HTTP: right labels, patience, and every way in which an answer can fail."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from worlds.servers.http_faults import Reply, ScriptedServer, endpoint_file, scripted_server

from adapters.http.opening import open_endpoint
from adapters.http.suspect import HttpEndpoint
from adapters.suspect import (
    REFUSED,
    SuspectConfigError,
    SuspectError,
    SuspectThrottledError,
    SuspectUnreachableError,
)

IMAGE = np.zeros((1, 8, 8, 3), dtype=np.uint8)
Ask = Callable[..., tuple[HttpEndpoint, ScriptedServer]]


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """Return a function from replies to an endpoint and the server behind it."""
    with ExitStack() as stack:

        def start(
            *replies: Reply, fields: str = "retries = 0", tables: str = ""
        ) -> tuple[HttpEndpoint, ScriptedServer]:
            server = stack.enter_context(scripted_server(*replies))
            endpoint = open_endpoint(endpoint_file(tmp_path, server.url, fields, tables))
            stack.callback(endpoint.close)
            return endpoint, server

        yield start


@pytest.mark.parametrize(
    ("body", "label"),
    [
        (b'{"label": "cat"}', 0),
        (b'{"label": "horse"}', 2),
        (b'{"label": 1}', 1),
        (b'{"label": 1.0}', 1),
        (b'\xef\xbb\xbf {"label": "dog"}\n', 1),
        (b'{"label": null}', REFUSED),
        (b'{"label": ""}', REFUSED),
        (b"{}", REFUSED),
    ],
)
def test_a_label_becomes_the_class_of_the_bundle(ask: Ask, body: bytes, label: int) -> None:
    endpoint, _ = ask(Reply(body=body))
    predictions = endpoint.predict(IMAGE)
    assert predictions.labels.tolist() == [label]
    assert predictions.attempts == 1


def test_json_is_recognised_whatever_the_content_type_says(ask: Ask) -> None:
    endpoint, _ = ask(Reply(headers={"Content-Type": "text/html"}))
    assert endpoint.predict(IMAGE).labels.tolist() == [1]


def test_a_compressed_answer_is_unpacked(ask: Ask) -> None:
    body = gzip.compress(b'{"label": "cat"}')
    endpoint, _ = ask(Reply(body=body, headers={"Content-Encoding": "gzip"}))
    assert endpoint.predict(IMAGE).labels.tolist() == [0]


def test_a_chunked_answer_is_read_to_its_end(ask: Ask) -> None:
    body = b'8\r\n{"label"\r\n8\r\n: "cat"}\r\n0\r\n\r\n'
    endpoint, _ = ask(Reply(body=body, has_length=False, headers={"Transfer-Encoding": "chunked"}))
    assert endpoint.predict(IMAGE).labels.tolist() == [0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"label": "cow"}', "label: expected one of cat, dog, horse, got 'cow'; correct .* or"),
        (b'{"label": " Dog"}', "got ' Dog'; it is 'dog' but for case and blanks, which clean"),
        (b'{"label": 3}', "label: expected a class from 0 to 2, got 3; check class_names"),
        (b'{"label": -1}', "label: expected a class from 0 to 2, got -1"),
        (b'{"label": ["cat"]}', r"answer.label: expected a class name or an index, got a list"),
        (b'{"label": true}', "answer.label: expected a class name .*, got true or false"),
        (b'{"label": NaN}', "answer.label: expected a class name .*, got NaN or Infinity"),
        (b"label: cat", r"answer: expected JSON, got 'label: cat' at byte 1 \(line 1, column 1\)$"),
        (b'{"label": cat}', r"got 'cat}' at byte 11 \(line 1, column 11\), after '{\"label\": '$"),
    ],
)
def test_an_answer_that_is_no_class_stops_the_audit_at_once(
    ask: Ask, body: bytes, message: str
) -> None:
    endpoint, server = ask(Reply(body=body), fields="retries = 3")
    with pytest.raises(SuspectError, match=message):
        endpoint.predict(IMAGE)
    assert len(server.received) == 1


def test_a_web_page_with_status_200_is_named_as_such(ask: Ask) -> None:
    page = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>"
    endpoint, server = ask(Reply(body=page), fields="retries = 3")
    with pytest.raises(SuspectUnreachableError, match=r"expected JSON, got a web page .*log in"):
        endpoint.predict(IMAGE)
    assert len(server.received) == 1


def test_a_pause_in_seconds_is_kept(ask: Ask) -> None:
    later = Reply(status=429, headers={"Retry-After": "1"})
    endpoint, server = ask(later, Reply(), fields="retries = 1")
    predictions = endpoint.predict(IMAGE)
    assert predictions.labels.tolist() == [1]
    assert predictions.attempts == 2
    first, second = server.received
    assert 1 <= second.time_s - first.time_s < 10


def test_a_pause_until_a_date_counts_from_the_clock_of_the_server(ask: Ask) -> None:
    past = time.time() - 86_400  # a server whose clock is a day behind
    dates = {"Date": formatdate(past, usegmt=True), "Retry-After": formatdate(past + 1)}
    endpoint, server = ask(Reply(status=503, headers=dates), Reply(), fields="retries = 1")
    assert endpoint.predict(IMAGE).attempts == 2
    first, second = server.received
    assert 1 <= second.time_s - first.time_s < 10


def test_one_pause_holds_all_threads(ask: Ask) -> None:
    later = Reply(status=429, headers={"Retry-After": "1"})
    endpoint, server = ask(later, Reply(), fields="retries = 1\nconcurrency = 4")
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(endpoint.predict, IMAGE)
        while not server.received:
            time.sleep(0.01)
        time.sleep(0.2)
        others = [threads.submit(endpoint.predict, IMAGE) for _ in range(3)]
        assert first.result().attempts == 2
        assert [other.result().attempts for other in others] == [1, 1, 1]
    assert all(later.time_s - server.received[0].time_s >= 1 for later in server.received[1:])


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_asked_again(ask: Ask, status: int) -> None:
    endpoint, server = ask(Reply(status=status), Reply(), fields="retries = 1")
    assert endpoint.predict(IMAGE).attempts == 2
    assert len(server.received) == 2


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (429, SuspectThrottledError, r"got status 429 .*\(2 attempts\); resume later"),
        (503, SuspectThrottledError, r"got status 503 .*\(2 attempts\); resume later"),
        (500, SuspectUnreachableError, r"got status 500 .*\(2 attempts\); check that the server"),
    ],
)
def test_a_failure_that_lasts_says_whether_to_resume(
    ask: Ask, status: int, error: type[SuspectError], message: str
) -> None:
    endpoint, server = ask(Reply(status=status, body=b"sorry"), fields="retries = 1")
    with pytest.raises(error, match=message):
        endpoint.predict(IMAGE)
    assert len(server.received) == 2


@pytest.mark.parametrize(("pause", "told"), [("3600", 3600), ("292.052427053", 293)])
def test_a_pause_longer_than_an_audit_waits_stops_it_at_once(
    ask: Ask, pause: str, told: int
) -> None:
    later = Reply(status=429, headers={"Retry-After": pause})
    endpoint, server = ask(later, fields="retries = 5")
    with pytest.raises(SuspectThrottledError, match=rf"\(1 attempt\); resume in {told} s or later"):
        endpoint.predict(IMAGE)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (400, SuspectConfigError, r"request: expected an answer, got status 400 \(no such field\)"),
        (422, SuspectConfigError, "request: expected an answer, got status 422"),
        (401, SuspectUnreachableError, "auth: expected to be let in, got status 401"),
        (403, SuspectUnreachableError, "auth: expected to be let in, got status 403"),
        (404, SuspectUnreachableError, "url: expected an answer, got status 404 .*the address"),
    ],
)
def test_a_refusal_is_not_asked_again(
    ask: Ask, status: int, error: type[SuspectError], message: str
) -> None:
    endpoint, server = ask(Reply(status=status, body=b"no such field"), fields="retries = 3")
    with pytest.raises(error, match=message):
        endpoint.predict(IMAGE)
    assert len(server.received) == 1


def test_a_redirect_is_refused_and_its_query_is_not_shown(ask: Ask) -> None:
    elsewhere = Reply(status=302, headers={"Location": "/login?state=private"})
    endpoint, server = ask(elsewhere, fields="retries = 3")
    with pytest.raises(SuspectUnreachableError, match=r"got a redirect \(status 302\).*/login; if"):
        endpoint.predict(IMAGE)
    assert len(server.received) == 1


def test_a_refused_connection_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    endpoint = open_endpoint(endpoint_file(tmp_path, f"http://127.0.0.1:{port}/", "retries = 1"))
    with pytest.raises(SuspectUnreachableError, match=r"\(Connection refused\) \(2 attempts\)"):
        endpoint.predict(IMAGE)
    endpoint.close()


def test_an_unknown_host_is_named(tmp_path: Path) -> None:
    endpoint = open_endpoint(endpoint_file(tmp_path, "http://nobody.invalid/", "retries = 0"))
    with pytest.raises(SuspectUnreachableError, match="got no such host"):
        endpoint.predict(IMAGE)
    endpoint.close()


@pytest.mark.parametrize(
    "cut",
    [
        Reply(sent_bytes=5),
        Reply(sent_bytes=0),
        Reply(sent_bytes=9, has_length=False),
        Reply(body=b'10\r\n{"label"', has_length=False, headers={"Transfer-Encoding": "chunked"}),
    ],
    ids=["half a body", "no body", "half a body of unknown length", "half a chunk"],
)
def test_a_connection_closed_half_way_is_asked_again(ask: Ask, cut: Reply) -> None:
    endpoint, _ = ask(cut, Reply(), fields="retries = 1")
    assert endpoint.predict(IMAGE).attempts == 2


def test_a_connection_that_always_closes_half_way_is_named(ask: Ask) -> None:
    endpoint, server = ask(Reply(sent_bytes=5), fields="retries = 1")
    with pytest.raises(SuspectUnreachableError, match=r"cut short after 5 bytes \(2 attempts\)"):
        endpoint.predict(IMAGE)
    assert len(server.received) == 2


def test_a_slow_answer_is_given_up(ask: Ask) -> None:
    endpoint, _ = ask(Reply(delay_s=1.5), fields="retries = 0\ntimeout_s = 0.3")
    with pytest.raises(SuspectUnreachableError, match=r"got none within 0.3 s \(1 attempt\)"):
        endpoint.predict(IMAGE)


def test_a_body_that_drips_in_is_given_up_in_time(ask: Ask) -> None:
    endpoint, _ = ask(Reply(body=b" " * 400, drip_s=0.25), fields="retries = 0\ntimeout_s = 0.3")
    started = time.monotonic()
    with pytest.raises(SuspectUnreachableError, match=r"no whole one within 0.3 s"):
        endpoint.predict(IMAGE)
    assert time.monotonic() - started < 60  # the whole body would take 400 times 0.25 s


def test_an_endless_body_is_given_up(ask: Ask) -> None:
    endpoint, _ = ask(Reply(body=b" " * (17 << 20)))
    with pytest.raises(SuspectUnreachableError, match="got more than 16 MiB"):
        endpoint.predict(IMAGE)


def test_all_connections_are_used_at_once_and_kept(ask: Ask) -> None:
    all_are_asked = threading.Barrier(4)
    endpoint, server = ask(Reply(together=all_are_asked), fields="retries = 0\nconcurrency = 4")
    with ThreadPoolExecutor(endpoint.concurrency) as threads:
        answers = list(threads.map(endpoint.predict, [IMAGE] * 12))
    assert [int(answer.labels[0]) for answer in answers] == [1] * 12
    assert server.max_in_flight == 4
    assert server.num_connections == 4


def test_every_request_is_counted_once_whoever_sent_it(ask: Ask) -> None:
    busy, broken = Reply(status=429, headers={"Retry-After": "0"}), Reply(sent_bytes=4)
    script = [Reply(), busy, Reply(), broken, busy, Reply(), Reply(status=500)] * 2 + [Reply()]
    endpoint, server = ask(*script, fields="retries = 9\nconcurrency = 4")
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(endpoint.predict, [IMAGE] * 12))
    assert [int(answer.labels[0]) for answer in answers] == [1] * 12
    assert sum(answer.attempts for answer in answers) == len(server.received) == 12 + 8


def test_the_rate_limit_is_shared_by_the_threads(ask: Ask) -> None:
    endpoint, server = ask(fields="concurrency = 4\nrequests_per_second = 20")
    # The server's watch begins when it hears of a request, which on a busy machine is late.
    start = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(endpoint.predict, [IMAGE] * 9))
    assert server.received[-1].time_s - start >= 8 / 20  # 9 starts, 8 gaps of 1/20 s


def test_stopping_ends_a_long_pause_at_once(ask: Ask) -> None:
    endpoint, server = ask(Reply(status=429, headers={"Retry-After": "60"}), fields="retries = 5")
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(endpoint.predict, IMAGE)
        while not server.received:
            time.sleep(0.01)
        threading.Timer(0.1, endpoint.stop).start()
        started = time.monotonic()
        with pytest.raises(SuspectError, match="endpoint: expected an answer, got stopped"):
            answer.result()
    assert time.monotonic() - started < 10


def test_a_closed_endpoint_asks_nothing(ask: Ask) -> None:
    endpoint, server = ask()
    endpoint.close()
    with pytest.raises(SuspectError, match="got stopped before"):
        endpoint.predict(IMAGE)
    assert not server.received


def test_more_images_than_a_request_takes_are_refused(ask: Ask) -> None:
    endpoint, _ = ask()
    with pytest.raises(ValueError, match=r"images: expected \[1\.\.1, H, W, C\], got \(2, 8"):
        endpoint.predict(np.zeros((2, 8, 8, 3), dtype=np.uint8))


def test_the_proxy_variables_do_not_send_loopback_requests_away(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    endpoint, _ = ask()
    assert endpoint.predict(IMAGE).labels.tolist() == [1]
