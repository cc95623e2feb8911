"""What an endpoint file reads of this machine: the one place where that happens, and is checked.

Secrets and files are read for one host, and only those that the user granted for it
(`adapters.endpoint.grants`). What is not granted is not looked into.
"""

import os
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.endpoint.grants import NOTHING, Grant, GrantKind, Grants, Need, require_granted
from adapters.suspect import SuspectConfigError

_MAX_FILE_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class LocalAccess:
    """One endpoint file's access to variables, files and profiles."""

    folder: Path
    """The endpoint file's, from which it names others."""
    origin: str
    """Who gets what is read, as `origin_of` writes it."""
    grants: Grants = NOTHING
    environment: Mapping[str, str] | None = None
    """Variables to look in; the process's own where absent."""
    further: tuple[tuple[str, str], ...] = ()
    """Others who get what is read, each with what becomes of it."""

    def towards(self, origin: str, use: str) -> "LocalAccess":
        """Return the access for what goes to another host, too, and must be granted for both.

        Args:
            origin: As `origin_of` writes it.
            use: What becomes of it there, for the user.
        """
        return replace(self, further=(*self.further, (origin, use)))

    def variables(self, names: Sequence[str], use: str) -> list[str]:
        """Return the values of environment variables, empty where one is not set.

        Args:
            names: The variables; all are asked for at once.
            use: What becomes of them, for the user.

        Raises:
            NotGrantedError: One that is set is not granted.
        """
        values = os.environ if self.environment is None else self.environment
        # One that is not set holds nothing that could be given away.
        set_ones = [name for name in dict.fromkeys(names) if values.get(name)]
        self._require(GrantKind.ENV, set_ones, use)
        return [values.get(name, "") for name in names]

    def file(self, name: str, use: str) -> Path:
        """Return where a file lies that is granted; see `files`."""
        return self.files([name], use)[0]

    def files(self, names: Sequence[str], use: str) -> list[Path]:
        """Return where files lie that are granted.

        A link is followed first: it is the file itself that counts, wherever its name lies.

        Args:
            names: The files; all are asked for at once.
            use: What becomes of them, for the user.

        Raises:
            NotGrantedError: One is not granted.
            SuspectConfigError: No file can be called so.
        """
        try:
            paths = [Path(os.path.realpath(self.folder / name)) for name in names]
        except ValueError as error:  # a NUL
            raise SuspectConfigError(f"file: expected the name of one, got {names[0]!r}") from error
        self._require(GrantKind.FILE, [*map(str, paths)], use)
        return paths

    def private_text(self, name: str, use: str, place: str) -> str:
        """Return the text of a file that is granted, and that only its owner can read.

        Args:
            name: The file.
            use: What becomes of it, for the user.
            place: Which field named it and what was expected, for errors.

        Raises:
            NotGrantedError: It is not granted.
            SuspectConfigError: Not there, readable by others, or no ASCII.
        """
        try:
            with self.file(name, use).open(encoding="ascii") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if os.name == "posix" and mode & 0o077:
                    raise SuspectConfigError(
                        f"{place} that only you can read, got mode {mode:04o}; chmod 600 it"
                    )
                return file.read(_MAX_FILE_BYTES)
        except UnicodeDecodeError:
            raise SuspectConfigError(f"{place}, got no single line of printable ASCII") from None
        except OSError as error:
            raise SuspectConfigError(f"{place}, got {error.strerror or 'no such file'}") from None

    def profile(self, name: str, use: str) -> str:
        """Return a profile that is granted.

        Raises:
            NotGrantedError: It is not granted.
        """
        self._require(GrantKind.PROFILE, [name], use)
        return name

    def command(self, words: tuple[str, ...], use: str) -> tuple[str, ...]:
        """Return a command that is granted, word for word.

        Args:
            words: The whole path of a program, links followed, and its arguments.
            use: What becomes of its output, for the user.

        Raises:
            NotGrantedError: It is not granted.
        """
        self._require(GrantKind.COMMAND, [shlex.join(words)], use)
        return words

    def _require(self, kind: GrantKind, names: Sequence[str], use: str) -> None:
        needs = [
            Need(grant=Grant(kind=kind, name=name, origin=origin), use=becomes)
            for name in names
            for origin, becomes in ((self.origin, use), *self.further)
        ]
        require_granted(needs, self.grants)
