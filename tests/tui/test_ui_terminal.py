"""The screen in a real terminal: keys through tmux, a killed process, and what it refuses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from worlds.screens.terminal import Terminal
from worlds.screens.ui_desk import make_desk, make_folder
from worlds.screens.ui_gate import gated

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
