"""``kinprint bundle``: two bundles side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.printable import json_text, printable, shortened

if TYPE_CHECKING:
    from audit.calibrating.bundle_diff import BundleDiff

SCHEMA_VERSION = 1
"""Of the JSON document."""
_MAX_VALUE = 72
"""Characters of a value in the table; the JSON document has all."""
_MAX_NAMES = 8
"""Models that are named in a row of the table."""

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("bundle", short_help="Compare two bundles.")
def command() -> None:
    """Lay bundles side by side; kinprint inspect shows one."""


@command.command("diff")
@click.argument("earlier", metavar="A.kinprint", type=_EXISTING)
@click.argument("later", metavar="B.kinprint", type=_EXISTING)
@click.option("--trust", metavar="KEY.pub", multiple=True, type=_EXISTING, help="As in verify.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def diff(earlier: Path, later: Path, trust: tuple[Path, ...], as_json: bool) -> None:
    """Show what changed from A to B: source, recipe, calibration models, thresholds, images.

    Both must be signed by trusted keys (exit status 13 otherwise).
    """
    from audit.bundle.bundle_file import read_bundle
    from audit.calibrating.bundle_diff import diff_bundles
    from audit.signing.keys import load_trust

    known = load_trust(trust)
    found = diff_bundles(read_bundle(earlier, known), read_bundle(later, known))
    if as_json:
        click.echo(_json(found))
    else:
        _print(found)


def _json(found: "BundleDiff") -> str:
    import json
    from dataclasses import asdict

    return json_text(json.dumps({"schema_version": SCHEMA_VERSION, **asdict(found)}, indent=2))


def _print(found: "BundleDiff") -> None:
    from rich.table import Table
    from rich.text import Text

    from audit.commands.terminal.consoles import PrintableConsole

    console = PrintableConsole()
    if found.is_same:
        console.print("It is one bundle: nothing that is signed differs.")
        return
    rows = list(_rows(found))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("what", "A", "B"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "what")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)


def _rows(found: "BundleDiff") -> "list[tuple[str, str, str]]":
    then, now = found.signers
    rows = [("signed by key", then, now)] if then != now else []
    rows += [(one.field, _shown(one.then), _shown(one.now)) for one in found.facts]
    for group in found.models:
        what = f"{group.role} models ({group.use})"
        same = f"{group.num_same} the same"
        rows.append((what, _named("only here", group.removed) or same, _added(group, same)))
    if found.arrays:
        rows.append(("other numbers in", "", ", ".join(found.arrays)))
    for images in found.images:
        if images.is_same:
            rows.append((images.kind, f"{images.num_same} the same", "no change"))
            continue
        notes = [f"{images.num_added} new" * bool(images.num_added)]
        notes.append("another order" * images.has_other_order)
        notes.append(
            f"{images.num_other_labels} with another class" * bool(images.num_other_labels)
        )
        gone = f", {images.num_removed} only here" * bool(images.num_removed)
        rows.append(
            (
                images.kind,
                f"{images.num_same} the same{gone}",
                ", ".join(filter(None, notes)) or "no others",
            )
        )
    return rows


def _added(group: Any, same: str) -> str:
    told = [same, _named("new", group.added), _named("changed", group.changed)]
    return "; ".join(filter(None, told))


def _named(what: str, names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _MAX_NAMES} more" * (len(names) > _MAX_NAMES)
    return f"{what}: {', '.join(names[:_MAX_NAMES])}{more}"


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return shortened(str(value), _MAX_VALUE)
