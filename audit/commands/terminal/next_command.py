"""The command that comes next, as a user can copy it: with what this one was given."""

import shlex
from collections.abc import Iterable
from pathlib import Path

from adapters.printable import printable


def next_command(*words: str | Path, trust: Iterable[Path] = ()) -> str:
    """Return a command line of Kinprint.

    Args:
        words: Its words, in order.
        trust: Keys that this command was told to trust, which the next one must be told, too.

    Example:
        >>> next_command("audit", Path("my model.kinprint"), trust=[Path("owner.pub")])
        "kinprint audit 'my model.kinprint' --trust owner.pub"
    """
    keys = [word for key in trust for word in ("--trust", key)]
    return printable(shlex.join(map(str, ("kinprint", *words, *keys))))
