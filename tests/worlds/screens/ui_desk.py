"""A desk for the screen's tests: a golden bundle, ONNX files that answer by rote, a journal.

`answering_model` keeps a bundle's images in its weights and gives each the class that a rule says:
a real ONNX file with known answers, and nothing to train.
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from textual.pilot import Pilot

from audit.signing.keys import write_key_pair
from audit.tui.app import KinprintApp
from audit.tui.desk import Desk
from audit.tui.preferences import Preferences
from audit.tui.widgets.suspect_table import SuspectTable
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    audited_contents,
    copy_rule,
    innocent_rule,
)

Answer = TypeVar("Answer")
Rule = Callable[[str, int, int], int]
LOOK_EVERY_S = 0.03
WAIT_S, MIN_LOOKS = 120.0, 500
"""How long and how often something is looked for: a busy processor takes longer for each look, and
a busy disk seconds for each answer."""


def wrong_rule(kind: str, index: int, label: int) -> int:
    """Answer everything with the next class: a class map that is off by one."""
    return (label + 1) % 4


def mixed_rule(kind: str, index: int, label: int) -> int:
    """Be right on controls, and like the source on every fourth query."""
    return label if kind == "control" or index % 4 == 3 else (label + 1) % 4


def answering_model(rule: Rule) -> onnx.ModelProto:
    """Build the file that answers the golden bundle's controls and queries by the rule."""
    bundle = audited_contents()
    arrays, contract = bundle.arrays, bundle.manifest.preprocessing
    images = np.concatenate([arrays.controls, arrays.queries])
    labels = [
        rule(kind, index, int(label))
        for kind, known in (
            ("control", arrays.control_labels),
            ("query", arrays.source_query_labels),
        )
        for index, label in enumerate(known)
    ]
    pixels = (images / 255 - np.array(contract.mean)) / np.array(contract.std)
    # [M, H, W, C] -> [M, C H W], as a network is fed
    stored = pixels.transpose(0, 3, 1, 2).reshape(len(images), -1).astype(np.float32)
    # The stored image that is nearest has the largest 2 x.s - s.s; softmax then picks its class.
    weights = [
        numpy_helper.from_array(2 * stored.T, "images"),
        numpy_helper.from_array(-(stored**2).sum(axis=1), "norms"),
        numpy_helper.from_array(np.eye(4, dtype=np.float32)[labels], "labels"),
    ]
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "images", "norms"], ["near"]),
        helper.make_node("Softmax", ["near"], ["which"], axis=1),
        helper.make_node("MatMul", ["which", "labels"], ["probabilities"]),
    ]
    side = images.shape[1]
    graph = helper.make_graph(
        nodes,
        "answers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, side, side])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 4])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def make_folder(parent: Path) -> Path:
    """Write bundle, owner's key and three suspects into ``parent/desk``."""
    folder = parent / "desk"
    folder.mkdir()
    shutil.copy(GOLDEN_BUNDLE, folder / "model.kinprint")
    shutil.copy(GOLDEN_PUBLIC_KEY, folder / "owner.pub")
    for name, rule in (
        ("copy", copy_rule),
        ("stranger", innocent_rule),
        ("wrong-classes", wrong_rule),
    ):
        onnx.save(answering_model(rule), folder / f"{name}.onnx")
    return folder


def make_desk(folder: Path, *, is_trusted: bool = True, **changes: Any) -> Desk:
    """Return a desk over a folder, everything it writes beside it."""
    config = folder.parent / "config"
    if not config.exists():
        config.mkdir()
        write_key_pair(config / "auditor.key", AUDITOR_KEY, None)
    settings: dict[str, Any] = {
        "folder": folder,
        "journal": folder.parent / "journal.sqlite",
        "config": config,
        "preferences": Preferences(),
        "trusted": [folder / "owner.pub"] if is_trusted else [],
        "device": "cpu",
        **changes,
    }
    return Desk(**settings)


def drive(
    desk: Desk,
    play: Callable[[KinprintApp, Pilot[None]], Awaitable[Answer]],
    *,
    size: tuple[int, int] = (100, 32),
    at_end: Callable[[], object] = lambda: None,
    **options: Any,
) -> Answer:
    """Open the app at a size and let ``play`` press the keys.

    Args:
        desk: Where things lie.
        play: Presses them.
        size: Columns and rows.
        at_end: Called before the app ends, however that comes.
        options: Of the app.
    """

    async def run() -> Answer:
        app = KinprintApp(desk, **options)
        async with app.run_test(size=size, notifications=True) as pilot:
            try:
                return await play(app, pilot)
            finally:
                at_end()

    return asyncio.run(run())


class Patience:
    """Says when waiting is in vain; ask once per look."""

    def __init__(self) -> None:
        self._deadline, self._num_looks = time.monotonic() + WAIT_S, 0

    @property
    def is_over(self) -> bool:
        """Whether there were time and looks enough."""
        self._num_looks += 1
        return self._num_looks >= MIN_LOOKS and time.monotonic() > self._deadline


async def until(pilot: Pilot[None], holds: Callable[[], object], what: str = "") -> None:
    """Wait until something holds, and still does when all messages are processed."""
    patience = Patience()
    is_settled = False
    while not (_is_so(holds) and is_settled):
        assert not patience.is_over, f"waited in vain {what}"
        # Asking every widget whether it is done costs more than most of what they do.
        is_settled = _is_so(holds)
        if is_settled:
            await pilot.pause(0)
        else:
            await asyncio.sleep(LOOK_EVERY_S)


def _is_so(holds: Callable[[], object]) -> bool:
    try:
        return bool(holds())
    except LookupError:  # a widget that is not there yet
        return False


def text_of(app: KinprintApp) -> str:
    """Return what stands on the screen, line by line; nothing before it is laid out."""
    _, height = app.size
    lines = [
        "".join(segment.text for segment in strip)
        for strip in app.screen._compositor.render_strips()
    ]
    if len(lines) != height:
        return ""
    return "\n".join(lines).replace("\u00a0", " ")


async def shows(pilot: Pilot[None], text: str) -> None:
    """Wait until a text stands on the screen."""
    app = pilot.app
    assert isinstance(app, KinprintApp)
    try:
        await until(pilot, lambda: text in text_of(app))
    except AssertionError:
        raise AssertionError(f"{text!r} is not on the screen:\n{text_of(app)}") from None


async def choose_suspect(pilot: Pilot[None], name: str) -> None:
    """Put the cursor of the home screen on a suspect and open it."""
    await shows(pilot, name)
    table = pilot.app.screen.query_one(SuspectTable)
    await pilot.press("2")
    while table.current is None or table.current.path.name != name:
        await pilot.press("down")
    await pilot.press("enter")
