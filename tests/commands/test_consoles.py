"""Bars and what others write meanwhile, on a real terminal."""

import os
import pty
import subprocess
import sys

import pytest
from worlds.hostile_names import ALL, steering
from worlds.screens.pseudo_terminal import on_terminal, read_until

SCRIPT = f"""
import sys
import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from audit.commands.terminal.consoles import Bars, PrintableConsole
from audit.commands.terminal.output_gate import printable_output

name = {ALL!r}
with printable_output():
    with Bars(is_shown=True) as bars:
        bars.add_task(name, total=None)
        bars.refresh()
        click.echo("told " + name, err=True)
        print("said " + name)
    table = Table(name)
    table.add_row(Text(name))
    PrintableConsole().print(table)
    Console().print("[bold]" + name.replace("[", ""))
"""


def test_nothing_that_is_written_beside_a_bar_steers_the_terminal() -> None:
    status, shown = on_terminal([sys.executable, "-c", SCRIPT])
    assert status == 0, shown
    assert "told" in shown
    assert not steering(shown.replace("\r\n", "\n"))  # which the terminal makes of each \n


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_pipe_gets_its_lines_while_a_bar_is_on_the_terminal(is_shown: bool) -> None:
    script = SCRIPT.replace("is_shown=True", f"is_shown={is_shown}")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = read_until(ours, None)
        assert process.stdout is not None
        piped = process.stdout.read().decode()
    os.close(ours)
    assert "said" in piped
    assert "said" not in shown
    assert "told" in shown
