"""The process that loads the auditor's file and calls its function; runs until nobody asks.

What the function prints goes to standard error, which is our side's to show; it has no input.
"""

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.python.messages import read_images, returned_as, write_answer
from adapters.python.returned import read_returned
from adapters.suspect import SuspectError

_MODULE = "kinprint_function"


def main() -> None:
    """Answer requests on standard input; the arguments are the file and the function's name."""
    path, name = Path(sys.argv[1]), sys.argv[2]
    # Whatever is printed, by libraries in C too, must not end up among the answers.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    try:
        function = _load(path, name)
    except SuspectError as error:
        write_answer(answers, {"wrong": str(error)})
        return
    except (Exception, SystemExit) as error:
        write_answer(answers, {"raised": _described(error, path)})
        return
    write_answer(answers, {"ready": True})
    while (images := read_images(requests)) is not None:
        try:
            answer = returned_as(read_returned(function(images), len(images)))
        except SuspectError as error:
            answer = {"wrong": str(error)}
        except (Exception, SystemExit) as error:
            answer = {"raised": _described(error, path)}
        write_answer(answers, answer)


def _load(path: Path, name: str) -> Callable[..., Any]:
    # As if the file were run: what lies beside it can be imported.
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    spec.loader.exec_module(module)
    function: Callable[..., Any] | None = getattr(module, name, None)
    if function is None or not callable(function):
        others = [
            other
            for other, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == _MODULE
        ]
        raise SuspectError(
            f"function: expected one named {name!r} in {path.name}, got "
            f"{', '.join(others) or 'none'}"
        )
    return function


def _described(error: BaseException, path: Path) -> str:
    """Return what was raised, and where in the auditor's file."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    where = f" in line {lines[-1]}" if lines else ""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        where = f" in line {error.lineno}"
    text = str(error).strip()
    return f"{type(error).__name__}{where}" + (f": {text}" if text else "")
