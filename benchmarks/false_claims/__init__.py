"""False claims: bundles that accuse the innocent, and who notices.

    python -m benchmarks false_claims --data FOLDER

A dishonest owner crafts bundles of several kinds against small networks on CIFAR-10. Each is
inspected, and challenged with strangers' models that it was not made for; honest bundles are, too.
Writes ``benchmarks/results/false_claims.json``.
"""


def main() -> int:
    """Run the benchmark that the command line describes."""
    from benchmarks.false_claims.run import run  # torch loads only when it runs

    return run()
