"""What a screen asks for when another one is to come: no screen knows the others.

A screen posts a `Navigate` with one step to the app, which alone makes screens. Dialogs are not
places that one goes to: whoever needs an answer opens its dialog itself.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.message import Message
from textual.screen import Screen

from audit.bundle.manifest import BundleContents
from audit.suspects.found_files import FoundBundle
from audit.tui.result_data import ResultData
from audit.tui.running import Order


@dataclass(frozen=True, kw_only=True)
class OpenInspector:
    """Look into a bundle."""

    bundle_path: Path


@dataclass(frozen=True, kw_only=True)
class OpenNewAudit:
    """Fill in the form of an audit, which begins with what is known."""

    bundle_path: Path | None
    suspect_path: Path | None = None


@dataclass(frozen=True, kw_only=True)
class WatchAudit:
    """Run an audit and watch it."""

    order: Order


@dataclass(frozen=True, kw_only=True)
class OpenResult:
    """Look at an audit of a journal."""

    audit: str
    """Its id."""
    bundle: BundleContents | None = None
    """Its bundle, where it is open already."""
    bundle_path: Path | None = None
    """Its bundle's file."""
    bundles: tuple[FoundBundle, ...] = ()
    """Where to look for its bundle otherwise."""
    journal: Path | None = None
    """Where the audit is; the desk's journal if None."""


@dataclass(frozen=True, kw_only=True)
class OpenCompare:
    """Look at all audits of one bundle."""

    digest: str
    """SHA-256 of the bundle's manifest."""
    bundles: tuple[FoundBundle, ...] = ()
    """Where a result finds its bundle."""


@dataclass(frozen=True, kw_only=True)
class OpenSweep:
    """Look at a sweep."""

    folder: Path
    """Its results."""


@dataclass(frozen=True, kw_only=True)
class OpenExport:
    """Write the evidence of an audit."""

    data: ResultData
    journal: Path | None = None
    """Where the audit is; the desk's journal if None."""


@dataclass(frozen=True)
class GoBack:
    """Leave for the screen below."""


@dataclass(frozen=True)
class Quit:
    """End the program."""


Opening = (
    OpenInspector | OpenNewAudit | WatchAudit | OpenResult | OpenCompare | OpenSweep | OpenExport
)
Leaving = GoBack | Quit


class Navigate(Message):
    """A screen asks for a step.

    Args:
        screen: Which one.
        step: Where to.
        replaces: The next screen takes this one's place, so that Back leads to what was below.
    """

    def __init__(
        self, screen: Screen[Any], step: Opening | Leaving, *, replaces: bool = False
    ) -> None:
        super().__init__()
        self.screen, self.step, self.replaces = screen, step, replaces
