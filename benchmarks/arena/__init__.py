"""The arena: who really wins, on suspects that nobody tuned for.

    python -m benchmarks arena --config small --data FOLDER

Builds populations of derived and independent models, crafts every fingerprint, asks every suspect
through a real audit and writes tables and pictures to ``benchmarks/results/<config>/``.
"""


def main() -> int:
    """Run the arena that the command line describes."""
    from benchmarks.arena.run import run  # matplotlib and torch load only when it runs

    return run()
