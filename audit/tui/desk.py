"""What the screens share: where things lie, whom to trust, and what was chosen last."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from adapters.endpoint.grants import Need
from adapters.onnx.model import Device
from adapters.onnx.process.limits import OnnxLimits
from audit.errors import AuditError
from audit.signing.keys import PublicKey, Trust, load_public_key, load_trust
from audit.suspects.allow_list import remember_grants
from audit.suspects.found_files import find_suspects
from audit.tui.preferences import Preferences, save_preferences


@dataclass(kw_only=True)
class Desk:
    """One auditor at one screen."""

    folder: Path
    """Where bundles and suspects are looked for."""
    journal: Path
    config: Path
    """Folder of `Preferences` and the keymap."""
    preferences: Preferences
    trusted: list[Path] = field(default_factory=list)
    """Public key files, besides those in the trusted folder."""
    allow: list[str] = field(default_factory=list)
    """What endpoint files may use until the screen closes, besides what is always allowed."""
    device: Device = "auto"
    limits: OnnxLimits = field(default_factory=OnnxLimits)
    """What a suspect's file may cost, and how its process has to be shut in."""
    first_bundle: Path | None = None
    """Named on the command line."""
    first_suspect: Path | None = None
    first_sweep: Path | None = None
    """Folder of results that was named instead."""

    def trust(self, also: Iterable[Path] = ()) -> Trust:
        """Return the keys that count now.

        Raises:
            AuditError: One of the files is not a public key.
        """
        return load_trust([*self.trusted, *also])

    def grant(self, needs: Iterable[Need]) -> str:
        """Allow what an endpoint file wants to use, now and, where that can be written, always.

        Returns:
            Why it is only allowed until the screen closes, or nothing.
        """
        grants = [need.grant for need in needs]
        self.allow += [str(grant) for grant in grants]
        try:
            remember_grants(grants)
        except AuditError as error:
            return str(error)
        return ""

    def trust_key(self, path: Path) -> PublicKey:
        """Trust a public key until the program ends.

        Raises:
            AuditError: The file is not a public key.
        """
        key = load_public_key(path)
        if path not in self.trusted:
            self.trusted.append(path)
        return key

    def remember(self, **changes: str) -> None:
        """Keep a choice for the next start."""
        self.preferences = self.preferences.changed(**changes)
        save_preferences(self.config, self.preferences)

    def find_suspect(self, name: str) -> Path | None:
        """Return the file in the folder that describes a suspect of this name."""
        for found in find_suspects(self.folder):
            if name in (found.target, found.path.name, Path(found.target).name):
                return found.path
        return None
