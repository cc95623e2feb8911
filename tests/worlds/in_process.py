"""The command line inside the test's own process: all of it but a new interpreter."""

import contextlib
import io
import sys
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
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["kinprint", *map(str, arguments)]),
        patch.dict("os.environ", environment),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())
