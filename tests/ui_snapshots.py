"""Pictures of the screen, compared with the committed ones.

A picture is the SVG that Textual exports, with its random names made the same everywhere. Where it
differs, the new one is written beside the old: look at both, and if the new one is right, run the
tests once with ``KINPRINT_UPDATE_SNAPSHOTS=1``.
"""

import os
import re
from pathlib import Path

from audit.tui.app import KinprintApp

FOLDER = Path(__file__).parent / "snapshots"
UPDATE = "KINPRINT_UPDATE_SNAPSHOTS"
_RANDOM = re.compile(r"terminal-\d+")


def snapshot(app: KinprintApp) -> str:
    """Return the screen as SVG, the same bytes for the same screen."""
    return _RANDOM.sub("terminal", app.export_screenshot(title="Kinprint", simplify=True)) + "\n"


def check_snapshot(app: KinprintApp, name: str) -> None:
    """Compare the screen with the committed picture.

    Raises:
        AssertionError: It is another one, or there is none yet.
    """
    picture, known = snapshot(app), FOLDER / f"{name}.svg"
    found = FOLDER / f"{name}.new.svg"
    if os.environ.get(UPDATE):
        FOLDER.mkdir(exist_ok=True)
        known.write_text(picture, encoding="utf-8")
        found.unlink(missing_ok=True)
        return
    if known.exists() and known.read_text("utf-8") == picture:
        found.unlink(missing_ok=True)
        return
    found.write_text(picture, encoding="utf-8")
    raise AssertionError(
        f"{known.name}: the screen looks different; compare with {found}, and if that is right run "
        f"{UPDATE}=1 pytest tests/test_ui_snapshots.py"
    )
