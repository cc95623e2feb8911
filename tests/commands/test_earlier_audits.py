"""No audit is paid twice by accident: the one that is unfinished is named, and nothing is sent."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import run
from worlds.own_process import kinprint
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    audited_contents,
    copy_rule,
)
from worlds.screens.terminal import Terminal
from worlds.servers.vendor_server import Vendor, vendor

from audit.signing.keys import write_key_pair

BUNDLE = audited_contents()
PRICE = 'price_per_request = 0.01\ncurrency = "EUR"\nconcurrency = 1'
NUM_QUESTIONS = 32


def command(folder: Path, server: Vendor, *options: object, fields: str = PRICE) -> list[str]:
    path = server.endpoint_file(folder / "vendor.toml", fields)
    given = ("audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--endpoint", path, "--yes")
    return [str(one) for one in (*given, "--journal", folder / "j.sqlite", "--ask-all", *options)]


def test_the_same_command_names_what_is_unfinished_and_sends_nothing(tmp_path: Path) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        assert run(*command(tmp_path, server, "--budget", 20)).returncode == 12
        again = run(*command(tmp_path, server))
        assert again.returncode == 12
        assert "is unfinished: 20 answers are kept, which cost 0.20 EUR" in again.stderr
        assert "--resume goes on" in again.stderr
        assert "--new begins another" in again.stderr
        assert server.num_requests == 20
        done = run(*command(tmp_path, server, "--resume", "--json"))
        assert done.returncode == 10
        (row,) = json.loads(done.stdout)["audits"]
        assert row["run"]["resumed_answers"] == 20
        assert server.num_requests == NUM_QUESTIONS


def test_another_audit_begins_where_that_is_said(tmp_path: Path) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        run(*command(tmp_path, server, "--budget", 20))
        assert run(*command(tmp_path, server, "--new")).returncode == 10
        assert server.num_requests == 20 + NUM_QUESTIONS
        both = run(*command(tmp_path, server, "--new", "--resume"))
        assert both.returncode == 2
        assert "give one of both" in both.stderr


def test_what_was_never_answered_is_in_nobodys_way(tmp_path: Path) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        asked = command(tmp_path, server)
    assert run(*asked).returncode == 14  # nobody listens any more
    assert run(*asked).returncode == 14


def test_a_file_begins_anew_as_often_as_somebody_likes(tmp_path: Path) -> None:
    from worlds.screens.ui_desk import make_folder

    folder = make_folder(tmp_path)
    asked = ("audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--onnx", folder / "copy.onnx")
    kept = ("--journal", tmp_path / "j.sqlite")
    assert run(*asked, *kept, "--budget", 20).returncode == 12
    assert run(*asked, *kept).returncode == 10


def test_the_record_of_a_finished_audit_is_written_and_nothing_is_asked(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "auditor.key", AUDITOR_KEY, None)
    record = tmp_path / "a.kinrecord"
    with vendor(BUNDLE, copy_rule) as server:
        first = run(*command(tmp_path, server, "--json"))
        assert first.returncode == 10
        signed = ("--record", record, "--auditor-key", tmp_path / "auditor.key")
        done = run(*command(tmp_path, server, "--json", "--resume", *signed))
        assert server.num_requests == NUM_QUESTIONS
    assert done.returncode == 10
    assert "finished before; nothing is asked" in done.stderr
    (before,), (after,) = (json.loads(one.stdout)["audits"] for one in (first, done))
    for key in ("outcome", "suspect", "is_complete", "exit_code"):
        assert after[key] == before[key]
    assert after["run"]["audit"] == before["run"]["audit"]
    assert after["run"]["spent"] == before["run"]["spent"]
    checked = run(
        *("verify", record, "--bundle", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY),
        *("--trust", tmp_path / "auditor.pub"),
    )
    assert checked.returncode == 0, checked.stdout


def test_ctrl_c_tells_the_command_that_goes_on(tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def wait(number: int, questions: tuple[str, ...]) -> None:
        if number == 10:
            asked.set()
            go_on.wait()

    with vendor(BUNDLE, copy_rule, on_request=wait) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "kinprint", *command(tmp_path, server)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            text=True,
            # A shell lets what it starts in the background ignore Ctrl-C, this test included.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        asked.wait()
        os.kill(process.pid, signal.SIGINT)
        _, told = process.communicate()
        go_on.set()
        assert process.returncode == 130
        assert "Every answer is kept. To go on:" in told
        (line,) = (line for line in told.splitlines() if line.startswith("  kinprint "))
        arguments = shlex.split(line)[1:]
        assert arguments == [*command(tmp_path, server), "--resume"]
        assert kinprint(*arguments).returncode == 10
        # The one that was on its way may have been answered, and paid.
        assert NUM_QUESTIONS <= server.num_requests <= NUM_QUESTIONS + 1


@pytest.mark.parametrize(("answer", "num_more"), [("", 12), ("n", NUM_QUESTIONS)])
def test_on_a_terminal_it_is_a_question(
    tmp_path: Path, terminal: Terminal, answer: str, num_more: int
) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        run(*command(tmp_path, server, "--budget", 20))
        line = shlex.join([sys.executable, "-m", "kinprint", *command(tmp_path, server)])
        terminal.enter(f"clear; {line}; echo ended $?")
        terminal.shows("Go on with it?")
        assert server.num_requests == 20
        terminal.enter(answer)
        terminal.shows("ended 10")
        assert server.num_requests == 20 + num_more
