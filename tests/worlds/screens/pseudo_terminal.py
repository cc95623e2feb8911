"""A command on a terminal of its own, and somebody who answers its questions."""

import os
import pty
import select
import subprocess
from collections.abc import Mapping, Sequence


def on_terminal(
    arguments: Sequence[str],
    *answers: tuple[str, str],
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a command; type each answer once its question stands there.

    Returns:
        Its status and all that it has shown.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    try:
        shown = ""
        for question, answer in answers:
            shown += read_until(ours, question)
            os.write(ours, f"{answer}\n".encode())
        shown += read_until(ours, None)
        return process.wait(60), shown
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
            process.wait()


def read_until(terminal: int, text: str | None) -> str:
    """Read until some text, or until everybody has hung up."""
    shown, waiting = "", select.poll()
    waiting.register(terminal, select.POLLIN)
    while text is None or text not in shown:
        ready = waiting.poll(60_000)
        assert ready, shown
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other end is closed
            return shown
        if not piece:
            return shown
        shown += piece.decode()
    return shown
