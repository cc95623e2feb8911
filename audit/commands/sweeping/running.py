"""Runs a sweep to its end, or again and again on a folder that is watched, and tells what happens.

Each pair is a JSON line on standard output if that is asked for; all else goes to standard error.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from adapters.printable import json_text
from audit.commands.sweeping.progress import SweepProgress
from audit.commands.terminal.interruption import Interruption
from audit.sweep.run import PairDone, Sweep, SweepEvent, Swept

_NOT_TOLD = ("file_id", "adjusted_p_value")


@dataclass(frozen=True, kw_only=True)
class Looks:
    """How a folder is watched."""

    every_s: float
    """Time between two looks, seconds."""
    looked: Callable[[Swept], None]
    """Called after the first look, and after each one that has asked something."""


def run_sweep(
    sweep: Sweep,
    look: Callable[[], Iterator[SweepEvent]],
    *,
    looks: Looks | None,
    as_json: bool,
    is_shown: bool,
) -> Swept | None:
    """Sweep once, or until somebody interrupts.

    Args:
        sweep: What is looked at.
        look: Runs it once, see `Sweep.run`.
        looks: How to watch the folder; None sweeps once.
        as_json: Print a line for each pair.
        is_shown: Show progress.

    Returns:
        What the last look came to; None where the first one was interrupted.

    Raises:
        AuditError: See `Sweep.run`.
        KeyboardInterrupt: Somebody interrupted a sweep that watches nothing.
    """

    def wake() -> None:
        sweep.results.put("interrupted; what was asked is kept")

    swept: Swept | None = None
    try:
        with Interruption(wake) as interruption:
            while True:
                is_first = swept is None
                swept = _followed(look(), interruption, as_json, is_shown)
                if looks is None:
                    return swept
                if is_first or swept.num_asked:
                    looks.looked(swept)
                interruption.sleep(looks.every_s)
    except KeyboardInterrupt:
        if looks is None:
            raise
        return swept  # that is how one ends a watch; what was found is told


def told_of_look(swept: Swept, page: Path, every_s: float) -> str:
    """Return what somebody who watches hears after a look."""
    names = "1 name" if swept.num_names == 1 else f"{swept.num_names} names"
    pairs = "1 pair" if swept.num_asked == 1 else f"{swept.num_asked} pairs"
    return f"{names}, {pairs} asked; {page}; looking again every {every_s:g} s, Ctrl-C ends"


def told_of_unasked(num: int) -> str:
    """Return what to do about endpoint files that lie in a folder and are not asked."""
    files, such = (
        ("1 endpoint file was", "it") if num == 1 else (f"{num} endpoint files were", "one")
    )
    return (
        f"{files} found and not asked: such a file says where images go and may want secrets, so "
        f"{such} must be named: --endpoint FILE.toml"
    )


def told_of_nothing(place: Path | None, num_unasked: int) -> str:
    """Return why a sweep that found no suspect at all is an error."""
    told = f"suspects: expected ONNX, suspect or endpoint files in {place}, got none"
    return f"{told}; {told_of_unasked(num_unasked)}" if num_unasked else told


def _followed(
    events: Iterator[SweepEvent], interruption: Interruption, as_json: bool, is_shown: bool
) -> Swept:
    swept = None
    with SweepProgress(is_shown=is_shown) as progress:
        for event in events:
            progress.show(event)
            if as_json:
                for line in _lines(event):
                    click.echo(json_text(json.dumps(line)))
            if isinstance(event, Swept):
                swept = event
            interruption.check()
    assert swept is not None, "the last event of a sweep"
    return swept


def _lines(event: SweepEvent) -> Iterator[dict[str, Any]]:
    if isinstance(event, PairDone):
        row = {name: value for name, value in asdict(event.row).items() if name not in _NOT_TOLD}
        yield {"type": "pair", **row, "is_duplicate": event.is_duplicate}
