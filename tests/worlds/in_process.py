"""Command lines inside the test's own process: all of them but a new interpreter."""

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

import pytest

from kinprint import main


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object, **environment: str) -> Done:
    """Run ``kinprint`` with these arguments, as a pipe would see it."""
    return run_program(main, "kinprint", *arguments, **environment)


def run_program(
    program: Callable[[], object], name: str, *arguments: object, **environment: str
) -> Done:
    """Run the function of a program that ends with `sys.exit`."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", [name, *map(str, arguments)]),
        patch.dict("os.environ", environment),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        program()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())
