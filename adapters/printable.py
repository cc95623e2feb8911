"""What may reach a terminal of what comes from outside."""

_EXCERPT_CHARACTERS = 120


def printable(text: str) -> str:
    r"""Replace what could drive a terminal (escape sequences, text direction) by a question mark.

    Example:
        >>> printable("cat\x1b[2J")
        'cat?[2J'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def excerpt(body: bytes) -> str:
    """Return the beginning of an answer on one line, for an error message."""
    text = " ".join(body[: 4 * _EXCERPT_CHARACTERS].decode("utf-8", "replace").split())
    shown = printable(text)
    if len(shown) <= _EXCERPT_CHARACTERS:
        return shown
    return shown[:_EXCERPT_CHARACTERS] + "..."
