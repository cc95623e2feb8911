"""``kinprint bench``: the benchmarks of a checkout."""

import subprocess
import sys
from pathlib import Path

import click


@click.command(
    "bench",
    short_help="Run the benchmarks of a checkout.",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> int:
    """Run ``python -m benchmarks ARGUMENTS``; they are not part of an installed package."""
    root = Path(__file__).parents[2]
    if not (root / "benchmarks" / "__main__.py").is_file():
        raise click.UsageError(
            "the benchmarks are in the source repository only; run this from a checkout of it"
        )
    return subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=root).returncode
