"""Makes the pictures of the terminal UI in the README from the demo's output.

    kinprint demo
    pip install cairosvg
    python docs/screenshots.py demo-output

It audits the demo's ONNX files into a journal of its own, exports two screens as SVG and draws them
with cairosvg and the font DejaVu Sans Mono. Nothing else needs either.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from audit.api import audit_suspect, open_bundle
from audit.suspects.found_files import describe_suspect
from audit.suspects.opening import open_file
from audit.tui.app import KinprintApp
from audit.tui.desk import Desk
from audit.tui.live_state import Phase
from audit.tui.preferences import Preferences
from audit.tui.running import Order
from audit.tui.screens.live import LiveScreen

IMAGES = Path(__file__).parent / "images"
SIZE = (140, 40)
FONT = "DejaVu Sans Mono"
WIDTH_PX = 1120
SUSPECT = "other-seed.onnx"
WAIT_S = 60.0


def main() -> None:
    """Make both pictures."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "demo.kinprint").exists():
        sys.exit("usage: python docs/screenshots.py demo-output (after 'kinprint demo')")
    folder = Path(sys.argv[1]).absolute()
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        desk = Desk(
            folder=folder,
            journal=Path(scratch) / "journal.sqlite",
            config=Path(scratch),
            preferences=Preferences(),
            trusted=[folder / "owner.pub"],
            device="cpu",
        )
        _audit_all(desk)
        asyncio.run(_draw(desk))


def _audit_all(desk: Desk) -> None:
    bundle = open_bundle(desk.folder / "demo.kinprint", trust=desk.trusted)
    for path in sorted(desk.folder.glob("*.onnx")):
        suspect = open_file(bundle, path, device="cpu")
        try:
            audit_suspect(bundle, suspect, journal=desk.journal)
        finally:
            suspect.close()


async def _draw(desk: Desk) -> None:
    app = KinprintApp(desk)
    bundle = open_bundle(desk.folder / "demo.kinprint", trust=desk.trusted)
    found = describe_suspect(desk.folder / SUSPECT)
    assert found is not None, f"{SUSPECT} is one of the demo's suspects"
    async with app.run_test(size=SIZE) as pilot:
        live = LiveScreen(
            Order(bundle=bundle, bundle_path=desk.folder / "demo.kinprint", suspect=found)
        )
        await app.push_screen(live)
        for _ in range(int(WAIT_S / 0.1)):
            await pilot.pause(0.1)
            if live._state.phase in (Phase.FINISHED, Phase.FAILED):
                break
        _write(app, "ui-live.png")
        await pilot.press("enter")
        await pilot.pause(2)
        _write(app, "ui-result.png")


def _write(app: KinprintApp, name: str) -> None:
    import cairosvg

    picture = app.export_screenshot(title="kinprint ui").replace("Fira Code", FONT)
    cairosvg.svg2png(
        bytestring=picture.encode(), write_to=str(IMAGES / name), output_width=WIDTH_PX
    )
    _fewer_colours(IMAGES / name)


def _fewer_colours(path: Path) -> None:
    """Make the file small: a screen has few colours."""
    from PIL import Image

    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
