"""Names that would drive a terminal if it were given them, and what shows that it was."""

import os
import re

KINDS = {
    "clear": "a\x1b[2J\x1b[Hb",
    "C1": "a\x9b2Jb",
    "link": "a\x1b]8;;http:x\x07b",
    "clipboard": "a\x1b]52;c;aGk=\x1b\\b",
    "colour": "a\x1b[31mb",
    "direction": "a\u202eb",
    "line": "a\nb",
    "return": "a\rb",
    "backspace": "a\b\bb",
    "delete": "a\x7fb",
    "markup": "[link=http:x]a[bold]b",
    "bytes": os.fsdecode(b"a\x9b2J\xffb"),
}
"""What a name may hold, on Linux all but a slash."""
ALL = "".join(name for kind, name in KINDS.items() if kind != "bytes")
_OWN = re.compile(
    r"\x1b\[[0-9;]*m"  # colours
    r"|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A|\r(?=\x1b\[(?:2K|1A))"  # a bar that is drawn again
)
"""What Kinprint writes to a terminal itself."""


def steering(output: str) -> set[str]:
    """Return what could steer a terminal in an output, and no name has to be there for."""
    found = {each for each in _OWN.sub("", output) if not each.isprintable()} - {"\n", "\xa0"}
    return found | {raw for raw in ("\x1b[31mb", "8;;http:x\x1b") if raw in output}
