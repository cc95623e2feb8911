"""What may reach a terminal, a page or a log of what comes from outside.

Whatever Kinprint did not write itself goes through here before people see it: file names, words of
a server, names in a bundle, messages of other libraries.
"""

_EXCERPT_BYTES = 480
_EXCERPT_CHARACTERS = 123


def printable(text: str, *, allowed: str = "") -> str:
    r"""Replace what could drive a terminal (escape sequences, text direction) by a question mark.

    Args:
        text: From outside; also lone surrogates, which no file can hold, are replaced.
        allowed: Characters that pass all the same, such as a line feed or a no-break space.

    Example:
        >>> printable("cat\x1b[2J\n")
        'cat?[2J?'
        >>> printable("cat\x1b[2J\n", allowed="\n")
        'cat?[2J\n'
    """
    if text.isprintable():  # nearly always
        return text
    return "".join(each if each.isprintable() or each in allowed else "?" for each in text)


def shortened(text: str, length: int) -> str:
    """Return a text of at most so many characters, dots in the place of its end.

    Example:
        >>> shortened("a long answer", 9)
        'a long...'
    """
    return text if len(text) <= length else f"{text[: length - 3]}..."


def excerpt(body: bytes) -> str:
    """Return the beginning of an answer on one line, for an error message."""
    text = " ".join(body[:_EXCERPT_BYTES].decode("utf-8", "replace").split())
    return printable(shortened(text, _EXCERPT_CHARACTERS))
