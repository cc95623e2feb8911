"""What the screen remembers between two starts, and the user's own keys.

``ui.json`` is written by the screen, ``keymap.toml`` by the user. A damaged ``ui.json`` costs
nothing but comfort, so it is put aside; a wrong keymap is told.
"""

import json
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import platformdirs

from audit.atomic_file import write_atomically
from audit.errors import AuditError

STATE_FILE = "ui.json"
KEYMAP_FILE = "keymap.toml"


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Remembered choices; everything may be absent."""

    theme: str = ""
    folder: str = ""
    auditor_key: str = ""
    """Path of the key that signed the last record; never the key itself."""

    def changed(self, **changes: str) -> "Preferences":
        """Return the preferences with some of them replaced."""
        return replace(self, **changes)


def config_folder() -> Path:
    """Return where preferences lie unless somebody says otherwise."""
    return Path(platformdirs.user_config_dir("kinprint", appauthor=False))


def load_preferences(folder: Path) -> Preferences:
    """Return what was remembered; nothing if there is none, or none that can be read."""
    try:
        found = json.loads((folder / STATE_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return Preferences()
    if not isinstance(found, dict):
        return Preferences()
    known = {
        name: value for name in asdict(Preferences()) if isinstance(value := found.get(name), str)
    }
    return Preferences(**known)


def save_preferences(folder: Path, preferences: Preferences) -> None:
    """Remember; says nothing if the folder cannot be written, since nothing depends on it."""
    text = json.dumps(asdict(preferences), indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / STATE_FILE, [text.encode()])
    except OSError:
        return


def load_keymap(folder: Path) -> dict[str, str]:
    """Return the user's keys by binding id; empty without a file.

    The file is TOML: ``"home.filter" = "f3"``, with several keys as ``"f3,slash"``.

    Raises:
        AuditError: The file is no TOML, or a value is not a text.
    """
    path = folder / KEYMAP_FILE
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise AuditError(f"{path}: expected TOML, got {error}") from error
    for name, value in found.items():
        if not isinstance(value, str) or not value:
            raise AuditError(
                f'{path}: {name}: expected keys as a text, got {value!r}; write "{name}" = "f3" '
                "(quotes around a name with a dot)"
            )
    return {name: str(value) for name, value in found.items()}
