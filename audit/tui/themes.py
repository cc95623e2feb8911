"""Kinprint's own two themes; Textual's are there too, and ``terminal`` follows the terminal."""

import os

from textual.theme import Theme

DARK = Theme(
    name="kinprint-dark",
    primary="#6cb6c9",
    secondary="#b49ad6",
    accent="#e0b35c",
    foreground="#d5dbe1",
    background="#11161b",
    surface="#171d24",
    panel="#1f2730",
    success="#7fbf8e",
    warning="#d9a95b",
    error="#e2766d",
    dark=True,
    variables={
        "border": "#34414d",
        "border-blurred": "#2a343e",
        "footer-key-foreground": "#6cb6c9",
        "footer-background": "#171d24",
        "block-cursor-foreground": "#11161b",
        "block-cursor-background": "#6cb6c9",
        "block-cursor-blurred-background": "#26313c",
        "input-selection-background": "#6cb6c9 35%",
    },
)
LIGHT = Theme(
    name="kinprint-light",
    primary="#17697d",
    secondary="#6b4a9c",
    accent="#8a5a00",
    foreground="#1d252c",
    background="#f7f8f7",
    surface="#ffffff",
    panel="#e9edee",
    success="#246b3a",
    warning="#875700",
    error="#a52a21",
    dark=False,
    variables={
        "border": "#b9c3c9",
        "border-blurred": "#d3dade",
        "footer-key-foreground": "#17697d",
        "footer-background": "#e9edee",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-background": "#17697d",
        "block-cursor-blurred-background": "#d5e2e6",
        "input-selection-background": "#17697d 25%",
    },
)
SHORT_NAMES = {"dark": DARK.name, "light": LIGHT.name}
FOLLOW = "terminal"
"""Colours of the terminal itself."""


def theme_name(asked: str) -> str:
    """Return a theme's whole name from what a user types.

    Example:
        >>> theme_name("light")
        'kinprint-light'
    """
    return _follow_terminal() if asked == FOLLOW else SHORT_NAMES.get(asked, asked)


def _follow_terminal() -> str:
    """Guess from COLORFGBG, which many terminals set, whether the paper is light."""
    paper = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return "ansi-light" if paper in ("7", "15") else "ansi-dark"


def known_themes() -> tuple[str, ...]:
    """Return the names of all themes."""
    from textual.theme import BUILTIN_THEMES

    return tuple(sorted({*BUILTIN_THEMES, DARK.name, LIGHT.name}))
