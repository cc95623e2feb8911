"""Lines that each name the digest of the line before: one signed digest covers all of them.

Every line is canonical JSON; every line but the first has a field ``previous``, SHA-256 in hex of
the bytes of the line before it, without its line feed. Whoever trusts the last line can walk back
and trust each line before reading it. The chain says that nothing was changed since it was signed;
it does not say that what was written is true.
"""

from collections.abc import Iterable, Sequence

from audit.errors import SignatureInvalidError
from audit.signing.canonical import NotCanonicalError, canonical_bytes, parse_canonical, sha256_hex


def link(lines: Iterable[dict[str, object]]) -> list[bytes]:
    """Chain JSON objects.

    Args:
        lines: The objects in order; ``previous`` is added to all but the first.

    Returns:
        The lines without line feeds.

    Raises:
        NotCanonicalError: One of them has no canonical JSON.
    """
    linked: list[bytes] = []
    for line in lines:
        previous = {"previous": sha256_hex(linked[-1])} if linked else {}
        linked.append(canonical_bytes({**line, **previous}))
    return linked


def follow_back(lines: Sequence[bytes], head: str) -> list[dict[str, object]]:
    """Walk back from a trusted digest and parse each line once it is known to be the right one.

    Args:
        lines: At least one.
        head: SHA-256 in hex of the last line.

    Returns:
        The lines' objects in the order of the lines.

    Raises:
        SignatureInvalidError: A line is not the one that its successor names; it is told which.
    """
    parsed: list[dict[str, object]] = []
    expected: object = head
    # From the end, where the digest is trusted: no line reaches the parser before it is known to be
    # the signed one.
    for number in range(len(lines), 0, -1):
        got = sha256_hex(lines[number - 1])
        if got != expected:
            raise SignatureInvalidError(
                f"line {number}: expected SHA-256 {expected}, got {got}; this line was changed, or "
                "one was added, removed or moved after signing"
            )
        try:
            fields = parse_canonical(lines[number - 1])
        except NotCanonicalError as error:
            raise SignatureInvalidError(f"line {number}: {error}") from error
        if not isinstance(fields, dict):
            raise SignatureInvalidError(f"line {number}: expected a JSON object, got another value")
        # The first line has none, and any line before it is one too many.
        expected = fields.get("previous")
        parsed.append(fields)
    if expected is not None:
        raise SignatureInvalidError(
            "line 1: expected the beginning of the record, got a line that follows another one; "
            "lines were removed after signing"
        )
    return parsed[::-1]
