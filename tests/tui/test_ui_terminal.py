"""The screen in a real terminal: keys through tmux, a killed process, and what it refuses."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from worlds.terminal import Terminal
from worlds.ui_desk import Patience, make_desk, make_folder
from worlds.ui_gate import gated

KINPRINT = f"{sys.executable} -m kinprint"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


def command(folder: Path, *arguments: str) -> str:
    make_desk(folder)  # its config holds the auditor's key
    parent = folder.parent
    options = [
        f"--folder {folder}",
        f"--trust {folder / 'owner.pub'}",
        f"--journal {parent / 'journal.sqlite'}",
        f"--config {parent / 'config'}",
        "--device cpu",
    ]
    return " ".join([KINPRINT, "ui", *arguments, *options])


def test_an_audit_by_keys_ends_with_a_usable_terminal(folder: Path, terminal: Terminal) -> None:
    terminal.enter(command(folder))
    terminal.shows("Press Enter on a suspect")
    terminal.press("2", "Enter")
    terminal.shows("What happens")
    terminal.press("C-s")
    terminal.shows("DERIVED")
    terminal.press("Enter")
    terminal.shows("How sure it is")
    terminal.press("q")
    terminal.waits_for_a_command()
    terminal.enter("echo back in the $((40 + 2))nd shell")
    terminal.shows("back in the 42nd shell")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_screen_goes_on_where_it_was(
    folder: Path, terminal: Terminal, number: signal.Signals
) -> None:
    with gated(folder, "copy") as gate:
        gate.let(5)
        line = command(folder, str(folder / "model.kinprint"), str(folder / "api.toml"))
        terminal.enter(line)
        terminal.shows("What happens")
        terminal.press("C-s")
        terminal.shows("asked 5 of 32")
        os.kill(terminal.child(), number)
        if number is signal.SIGKILL:
            # Nothing can tidy up after itself then: Enter is no line end until the reset.
            terminal.press("reset; echo as", "Space", "new", "C-j")
            terminal.shows("as new")
            gate.open()
        else:
            terminal.leaves_the_screen()
            gate.open()  # it waits for the answer that is under way, and asks no more
            terminal.waits_for_a_command()
            assert gate.num_asked == 6
        terminal.enter("clear; " + line)
        terminal.shows("[x] with the unfinished audit")
        terminal.press("C-s")
        terminal.shows("DERIVED")


def refused(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command without a terminal, or in a bad one."""
    done = subprocess.run(
        [sys.executable, "-m", "kinprint", "ui", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
        timeout=60,
    )
    return done.returncode, done.stderr


def test_without_a_terminal_it_says_so() -> None:
    status, told = refused()
    assert status == 2
    assert "is no terminal; use kinprint audit in scripts" in told


def test_a_dumb_terminal_is_refused(terminal: Terminal) -> None:
    terminal.enter(f"TERM=dumb {KINPRINT} ui")
    terminal.shows("this terminal cannot show a screen")


def test_an_unknown_theme_and_a_wrong_keymap_are_told_before_the_screen_opens(
    folder: Path, terminal: Terminal
) -> None:
    terminal.enter(command(folder, "--theme", "mauve"))
    terminal.shows("expected dark, light, terminal or one of")
    (folder.parent / "config" / "keymap.toml").write_text('"home.filter" = 3\n')
    terminal.enter("clear; " + command(folder))
    terminal.shows("expected keys as a text, got 3")


def listening_addresses(port: int) -> set[str]:
    """Return the addresses that something listens on at a port (Linux)."""
    found = set()
    for name in ("tcp", "tcp6"):
        table = Path("/proc/net") / name
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            _, local, _, state, *_ = line.split()
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:  # 0A: LISTEN
                packed = bytes.fromhex(address)
                is_v4 = len(packed) == 4
                found.add(socket.inet_ntoa(packed[::-1]) if is_v4 else address)
    return found


def test_serving_is_for_this_machine_only(folder: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "kinprint", "ui", "--serve", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        patience, page = Patience(), ""
        while not page:
            assert not patience.is_over, "nothing is served"
            with suppress(OSError):
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/").read().decode()
            time.sleep(0.05)
        listening = listening_addresses(port)
    finally:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert "Kinprint" in page
    assert "from this machine only; there is no password" in told
    assert listening == {"127.0.0.1"}
