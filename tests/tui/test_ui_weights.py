"""The result of a file whose weights were compared: a strip of layers, and which of both spoke."""

from pathlib import Path

from textual.pilot import Pilot
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import audited_contents
from worlds.screens.ui_desk import choose_suspect, drive, make_desk, make_folder, shows
from worlds.weights.networks import drawn
from worlds.weights.sketched_bundle import sketched

from audit.bundle.bundle_file import write_bundle
from audit.report.weights_sureness import LayerRow
from audit.tui.app import KinprintApp
from audit.tui.widgets.plots.layer_strip import LayerStrip, sign_of


def test_a_result_shows_the_weights_layer_by_layer(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    bundle = audited_contents()
    # The desk's files answer by rote from one large matrix, which is nobody's layer.
    write_bundle(
        folder / "model.kinprint",
        bundle.manifest,
        bundle.arrays,
        OWNER_KEY,
        weights=sketched(drawn(1)),
    )

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await choose_suspect(pilot, "copy.onnx")
        await pilot.press("ctrl+s")
        await shows(pilot, "DERIVED")
        await pilot.press("enter")
        await shows(pilot, "How sure it is")
        await shows(pilot, "Weights, layer by layer, from the input on: ····")
        await shows(pilot, "Not comparable: of the source's 4 layers the file has 0")
        assert len(app.screen.query(LayerStrip)) == 1

    drive(make_desk(folder), play, size=(120, 50))


def test_the_signs_of_a_strip_need_no_colour() -> None:
    values = [1.0, 0.75, 0.6, 0.3, 0.2, -0.1, None]
    rows = [LayerRow(name="x", shape="", similarity=value) for value in values]
    assert "".join(map(sign_of, rows)) == "██▓▒░░·"
