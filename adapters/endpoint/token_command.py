"""A command of the user's that prints a token, such as a vendor's own tool or a password manager.

It is named word by word, without a shell, and runs only if the user has allowed this very program
with these very words for this very host. It runs in the user's home: words that are names of files
must not mean those that came with an endpoint file.

Source: for JSON output, RFC 6749, section 5.1, and Kubernetes' ``ExecCredential`` (client
authentication v1).
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.endpoint.tokens import Token
from adapters.printable import printable, shortened
from adapters.suspect import SuspectConfigError

TIME_LIMIT_S = 60.0
MAX_OUTPUT_CHARACTERS = 1 << 16


def resolved_command(words: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """Return a command with the whole path of its program, links followed.

    Args:
        words: The program and its arguments.
        folder: Of the endpoint file, for programs that are named with a folder.

    Raises:
        SuspectConfigError: There is no such program.
    """
    program = words[0]
    has_folder = os.sep in program or "/" in program
    found = shutil.which(str(folder / program) if has_folder else program)
    if found is None or "\0" in program:
        raise SuspectConfigError(
            f"auth.command: expected a program that can be run, got {printable(program)!r}"
        )
    return (os.path.realpath(found), *words[1:])


class TokenCommand:
    """Runs an allowed command whenever a token is due.

    Args:
        words: Of `resolved_command`.
        valid_for_s: How long a token is used whose end the command does not print.
    """

    def __init__(self, words: tuple[str, ...], valid_for_s: float | None) -> None:
        self._words, self._valid_for_s = words, valid_for_s

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return nothing: the command keeps its own."""
        return ()

    def fetch(self) -> Token:
        """Run the command and read its output.

        Raises:
            SuspectConfigError: It fails, takes too long, or prints no token.
        """
        return self._token(self._output())

    def look_up(self) -> None:
        """Look nothing up: what the command does is the user's."""

    def close(self) -> None:
        """Leave nothing open; the command has ended."""

    def _output(self) -> str:
        name = Path(self._words[0]).name
        expected = f"auth.command: expected a token from {printable(name)}"
        try:
            process = subprocess.Popen(
                self._words,
                cwd=Path.home(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=os.name == "posix",  # so that what it starts ends with it
            )
        except (OSError, RuntimeError, ValueError) as error:  # no program, no home, a NUL
            raise SuspectConfigError(f"{expected}, got {error}") from None
        try:
            output, said = process.communicate(timeout=TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise SuspectConfigError(f"{expected} within {TIME_LIMIT_S:g} s, got none") from None
        finally:
            _end(process)
        if process.returncode:
            words = printable(" ".join(said.decode(errors="replace").split()))
            told = f" ({shortened(words, 200)})" if words else ""
            raise SuspectConfigError(f"{expected}, got exit status {process.returncode}{told}")
        try:
            return output[:MAX_OUTPUT_CHARACTERS].decode("ascii").strip()
        except UnicodeDecodeError:
            raise SuspectConfigError(f"{expected}, got no ASCII") from None

    def _token(self, output: str) -> Token:
        value, valid_for_s = output, self._valid_for_s
        if output.startswith("{"):
            value, told_s = _of_json(output)
            valid_for_s = valid_for_s if told_s is None else told_s
        if not value or not value.isprintable() or " " in value:
            raise SuspectConfigError(
                "auth.command: expected one line with a token, or JSON with access_token, got "
                "something else; print the token and nothing beside it"
            )
        return Token(value=value, valid_for_s=valid_for_s)


def _of_json(output: str) -> tuple[str, float | None]:
    """Return token and lifetime of ``{access_token, expires_in}`` or an ``ExecCredential``."""
    try:
        document: Any = json.loads(output)
    except (ValueError, RecursionError):
        return "", None
    status = document.get("status")
    if isinstance(status, dict):
        token, end = status.get("token"), status.get("expirationTimestamp")
        valid_for_s = None
        with contextlib.suppress(ValueError, TypeError):
            until = datetime.fromisoformat(str(end).replace("Z", "+00:00")).astimezone(UTC)
            valid_for_s = max(0.0, (until - datetime.now(UTC)).total_seconds())
        return (token if isinstance(token, str) else ""), valid_for_s
    token = document.get("access_token", document.get("token"))
    return (token if isinstance(token, str) else ""), seconds_of(document.get("expires_in"))


def seconds_of(value: Any) -> float | None:
    """Return a lifetime in seconds, which some servers write as text; None where there is none."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        seconds = float(value)
        if 0 < seconds < 1e9 and not isinstance(value, bool):
            return seconds
    return None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a command that has not ended, with all that it has started."""
    if process.returncode is None:
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
