"""What the app keeps for all its screens, which know no more of it than this."""

from typing import Any, Protocol, runtime_checkable

from textual.app import App

from audit.tui.desk import Desk
from audit.tui.library import Library


@runtime_checkable
class Shared(Protocol):
    """An app, as its screens see it."""

    desk: Desk
    """Where things lie, whom to trust, and what was chosen last."""
    library: Library
    """Remembers what it has read, so that no screen reads it again."""


def shared_by(app: App[Any]) -> Shared:
    """Return the app as its screens see it."""
    assert isinstance(app, Shared)
    return app
