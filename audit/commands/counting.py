"""A counter on a terminal for commands that ask one model after another."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import MofNCompleteColumn, TimeElapsedColumn

from audit.commands.terminal.consoles import Bars


@contextmanager
def counting(name: str, *, is_shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Show how many of how many are done, on a terminal's standard error only.

    Args:
        name: What is being done.
        is_shown: False keeps silent.

    Yields:
        Takes (done, in all).
    """
    with Bars(MofNCompleteColumn(), TimeElapsedColumn(), is_shown=is_shown) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
