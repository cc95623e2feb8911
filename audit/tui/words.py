"""Signs and short words of the screen: every state has a sign and a word, never a colour alone."""

from pathlib import Path

from textual.app import App
from textual.color import Color

from audit.bundle.inspection import SignatureState
from audit.records.record import State
from audit.verdict.outcome import Outcome, Verdict

VERDICT_SIGNS = {
    Verdict.DERIVED: "●",
    Verdict.INDEPENDENT: "○",
    Verdict.NO_COPY: "◌",
    Verdict.INCONCLUSIVE: "◐",
    Verdict.NOT_COMPARABLE: "⊘",
}
VERDICT_COLOURS = {
    Verdict.DERIVED: "error",
    Verdict.INDEPENDENT: "success",
    Verdict.NO_COPY: "success",
    Verdict.INCONCLUSIVE: "warning",
    Verdict.NOT_COMPARABLE: "secondary",
}
"""Names of theme colours."""
_MUTED = {"text-muted": "foreground-muted"}
"""Names whose value depends on what is behind them, and the nearest that has a value."""
STATE_SIGNS = {State.COMPLETE: "", State.BUDGET: "◔", State.INTERRUPTED: "‖"}
STATE_WORDS = {
    State.COMPLETE: "",
    State.BUDGET: "budget spent, can go on",
    State.INTERRUPTED: "interrupted, can go on",
}
SIGNATURE_SIGNS = {
    SignatureState.TRUSTED: "✓",
    SignatureState.UNTRUSTED: "?",
    SignatureState.INVALID: "✗",
    None: "✗",
}
SIGNATURE_WORDS = {
    SignatureState.TRUSTED: "trusted",
    SignatureState.UNTRUSTED: "untrusted",
    SignatureState.INVALID: "invalid",
    None: "unreadable",
}
SIGNATURE_COLOURS = {
    SignatureState.TRUSTED: "success",
    SignatureState.UNTRUSTED: "warning",
    SignatureState.INVALID: "error",
    None: "error",
}


def verdict_of(outcome: Outcome | None, state: State) -> str:
    """Return sign and word of what an audit found so far."""
    if outcome is None:
        return f"{STATE_SIGNS[state]} {state.value}".strip()
    if state is State.BUDGET:
        return f"{STATE_SIGNS[state]} {outcome.verdict.value}"
    return f"{VERDICT_SIGNS[outcome.verdict]} {outcome.verdict.value}"


def theme_colour(app: App[object], name: str) -> str:
    """Return a theme colour as Rich writes it: ``#rrggbb``, or an ANSI name."""
    value = app.theme_variables.get(_MUTED.get(name, name), "")
    if value.startswith("#"):
        colour = Color.parse(value)
        if colour.a < 1:
            paper = Color.parse(app.theme_variables.get("background", "#000000"))
            colour = paper.blend(colour.with_alpha(1), colour.a)
        return colour.hex6
    return (
        value.removeprefix("ansi_") if value.startswith("ansi_") and " " not in value else "default"
    )


def plot_colour(app: App[object], name: str) -> tuple[int, int, int] | str:
    """Return a theme colour as plotext takes it."""
    colour = theme_colour(app, name)
    if colour.startswith("#") and len(colour) >= 7:
        return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
    return colour.replace("bright_", "") + "+" if colour.startswith("bright_") else colour


def duration(seconds: float) -> str:
    """Return seconds as a reader takes them in.

    Example:
        >>> duration(0.4), duration(75), duration(4000)
        ('0.4 s', '1:15', '1:06 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
    return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02d} h"


def size(num_bytes: int) -> str:
    """Return a file's size.

    Example:
        >>> size(512), size(312_000), size(4_200_000)
        ('512 B', '312 kB', '4.2 MB')
    """
    if num_bytes < 1000:
        return f"{num_bytes} B"
    if num_bytes < 1_000_000:
        return f"{num_bytes / 1000:.0f} kB"
    return f"{num_bytes / 1_000_000:.1f} MB"


def short_path(path: Path, length: int = 44) -> str:
    """Return a path that fits the title, the home folder as ``~``."""
    text = str(path)
    home = str(Path.home())
    if text == home or text.startswith(home + "/"):
        text = "~" + text[len(home) :]
    return text if len(text) <= length else "…" + text[1 - length :]
