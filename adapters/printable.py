"""What may reach a terminal, a page or a log of what comes from outside.

Whatever Kinprint did not write itself goes through here before people see it: file names, words of
a server, names in a bundle, messages of other libraries.
"""

import json
from collections.abc import Callable

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


def json_text(document: str) -> str:
    r"""Return a JSON document in which escapes stand for what could drive a terminal.

    Args:
        document: JSON, whose own line feeds stay.

    Example:
        >>> json_text('["a\u202eb", "é"]')
        '["a\\u202eb", "é"]'
    """
    # The last character of ASCII is the only one that JSON leaves as it is.
    return _escaped(document, lambda each: json.dumps(each)[1:-1].replace("\x7f", "\\u007f"))


def toml_string(text: str) -> str:
    r"""Return a text as a TOML string, in which escapes stand for what could drive a terminal.

    Example:
        >>> toml_string('a "b"\u202e')
        '"a \\"b\\"\\U0000202e"'
    """
    # JSON's strings are TOML's, too, but for halves of characters beyond 16 bits.
    return _escaped(json.dumps(text, ensure_ascii=False), lambda each: f"\\U{ord(each):08x}")


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    if text.isprintable():  # nearly always
        return text
    return "".join(each if each.isprintable() or each == "\n" else escape(each) for each in text)


def excerpt(body: bytes) -> str:
    """Return the beginning of an answer on one line, for an error message."""
    text = " ".join(body[:_EXCERPT_BYTES].decode("utf-8", "replace").split())
    return printable(shortened(text, _EXCERPT_CHARACTERS))
