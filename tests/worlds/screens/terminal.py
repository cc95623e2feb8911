"""A real terminal, by tmux: keys go in, what stands on the screen comes out."""

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from worlds.screens.ui_desk import Patience

SIZES = ("COLUMNS", "LINES")


class Terminal:
    """One tmux window of its own server, 100 x 30."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "tmux.sock"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "sh")
        self._tmux("set", "-g", "default-terminal", "screen-256color")

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
            # Whoever runs the tests may have these, and programs believe them.
            env={name: value for name, value in os.environ.items() if name not in SIZES},
        )
        return done.stdout

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names."""
        self._tmux("send-keys", *keys)

    def enter(self, line: str) -> None:
        """Type a line for the shell."""
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    @property
    def screen(self) -> str:
        """What stands there."""
        return self._tmux("capture-pane", "-p")

    @property
    def running(self) -> str:
        """Name of the program in the foreground."""
        return self._tmux("display-message", "-p", "#{pane_current_command}").strip()

    @property
    def is_alternate(self) -> bool:
        """Whether a program has taken the whole screen."""
        return self._tmux("display-message", "-p", "#{alternate_on}").strip() == "1"

    def waits_for_a_command(self) -> None:
        """Wait until the shell has the screen back as it was."""
        patience = Patience()
        while self.is_alternate or self.running != "sh":
            assert not patience.is_over, f"not the shell's yet:\n{self.screen}"
            time.sleep(0.05)

    def leaves_the_screen(self) -> None:
        """Wait until the program has given the screen back, though it may still run."""
        patience = Patience()
        while self.is_alternate:
            assert not patience.is_over, f"still there:\n{self.screen}"
            time.sleep(0.05)

    def child(self) -> int:
        """Process id of the program that the shell runs."""
        shell = self._tmux("display-message", "-p", "#{pane_pid}").strip()
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", shell], capture_output=True, text=True, check=True
        )
        return int(found.stdout.split()[0])

    def shows(self, text: str) -> None:
        """Wait until a text stands on the screen."""
        patience = Patience()
        while text not in self.screen.replace("\u00a0", " "):
            assert not patience.is_over, f"{text!r} is not on the screen:\n{self.screen}"
            time.sleep(0.05)

    def close(self) -> None:
        """End the server and everything in it."""
        with suppress(subprocess.CalledProcessError):
            self._tmux("kill-server")
