"""Where a command's tables go: standard output, wide where it is no terminal."""

import os

from rich.console import Console

_WIDTH = 140
"""Columns of a file or a pipe, unless ``COLUMNS`` says otherwise."""


def result_console() -> Console:
    """Return a console on standard output that cuts nothing off in a pipe."""
    console = Console(soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        return Console(width=_WIDTH)
    return console
