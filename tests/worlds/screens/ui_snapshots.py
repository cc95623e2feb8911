"""Pictures of the screen, compared with the committed ones.

A picture is the SVG that Textual exports, with its random names made the same everywhere. A screen
may take its time: it is looked at until it is as it should be, and only one that stays otherwise is
wrong. Then the message says which lines differ, and the new picture is written beside the old: look
at both, and if the new one is right, run the tests once with ``KINPRINT_UPDATE_SNAPSHOTS=1``.
"""

import difflib
import os
import re
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from textual.pilot import Pilot
from textual.widgets import Input

from audit.tui.app import KinprintApp
from worlds.screens.ui_desk import Patience

FOLDER = Path(__file__).parents[2] / "snapshots"
UPDATE = "KINPRINT_UPDATE_SNAPSHOTS"
STEADY_LOOKS, WRONG_LOOKS = 10, 300
"""So often in a row a screen looks the same before its picture is taken anew, or is wrong."""
MAX_LINES_TOLD = 40
_RANDOM = re.compile(r"terminal-\d+")
_SANDBOX = re.compile(r"(>sandbox(?:&#160;)*</text><text[^>]*>)[^<]*(<)")
"""Another machine's kernel has other parts of it."""
_CELL_PX = 12.2
_TEXT = "{http://www.w3.org/2000/svg}text"


def snapshot(app: KinprintApp) -> str:
    """Return the screen as SVG, the same bytes for the same screen."""
    picture = _RANDOM.sub("terminal", app.export_screenshot(title="Kinprint", simplify=True))
    return _SANDBOX.sub(r"\1as the kernel has it\2", picture) + "\n"


async def check_snapshot(app: KinprintApp, pilot: Pilot[None], name: str) -> None:
    """Compare the screen with the committed picture, once all work in the background is done.

    Raises:
        AssertionError: It is another one, or there is none yet.
    """
    for field in app.screen.query(Input):
        field.cursor_blink = False
    known, found = FOLDER / f"{name}.svg", FOLDER / f"{name}.new.svg"
    is_new = bool(os.environ.get(UPDATE))
    wanted = known.read_text("utf-8") if known.exists() and not is_new else ""
    picture, num_same, patience = "", 0, Patience()
    while True:
        await pilot.pause(0.02)
        is_working = any(not worker.is_finished for worker in app.workers)
        if is_working:
            num_same = 0
        else:
            before, picture = picture, snapshot(app)
            num_same = num_same + 1 if picture == before else 0
            if picture == wanted:
                found.unlink(missing_ok=True)
                return
        if patience.is_over or num_same >= (STEADY_LOOKS if is_new else WRONG_LOOKS):
            break
    if is_new:
        known.parent.mkdir(exist_ok=True)
        known.write_text(picture, encoding="utf-8")
        found.unlink(missing_ok=True)
        return
    found.write_text(picture, encoding="utf-8")
    raise AssertionError(
        f"{known.name}: the screen looks different; compare with {found}, and if that is right run "
        f"{UPDATE}=1 pytest tests/tui/test_ui_snapshots.py\n{difference(wanted, picture)}"
    )


def difference(wanted: str, found: str) -> str:
    """Return the lines of text that differ between two pictures."""
    if not wanted:
        return "There is no committed picture yet."
    old, new = (lines_of(picture) for picture in (wanted, found))
    told = list(difflib.unified_diff(old, new, "committed", "now", n=0, lineterm=""))
    if not told:
        return "The text is the same; colours or places differ."
    cut = len(told) - MAX_LINES_TOLD
    return "\n".join([*told[:MAX_LINES_TOLD], *([f"... and {cut} lines more"] if cut > 0 else [])])


def lines_of(picture: str) -> list[str]:
    """Return the text of a picture, line by line."""
    lines: dict[float, dict[int, str]] = defaultdict(dict)
    for element in ElementTree.fromstring(picture).iter(_TEXT):
        place = round(float(element.get("x", "0")) / _CELL_PX)
        lines[float(element.get("y", "0"))][place] = (element.text or "").replace("\u00a0", " ")
    told = []
    for _, pieces in sorted(lines.items()):
        line = ""
        for place, piece in sorted(pieces.items()):
            line = line.ljust(place) + piece
        told.append(line.rstrip())
    return told
