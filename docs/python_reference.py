"""Writes ``docs/python.md`` from the docstrings of what ``import kinprint`` offers.

Run it in the repository's root, with the project's Python: ``python docs/python_reference.py``.
"""

import enum
import inspect
import re
from pathlib import Path
from typing import Any

import kinprint

PAGE = Path(__file__).with_name("python.md")
INTRODUCTION = """\
# Python

What `import kinprint` offers. [In a script](../README.md#in-a-script) has an example to begin with,
[Audits in scripts](ci.md) has notebooks and cron. What goes wrong is an exception whose text is
that of the command line. No settings of [projects](settings.md) are read: a script says what it
trusts. The fields of an outcome are those of `kinprint audit --json-schema`.

Written from the docstrings by `python docs/python_reference.py`.
"""
_SECTION = re.compile(r"^(Args|Returns|Raises|Example):$", re.MULTILINE)
_ENTRY = re.compile(r"^    (\*{0,2}\w+): ", re.MULTILINE)


def reference() -> str:
    """Return the page."""
    names = [name for name in kinprint.__all__ if name != "main"]
    return INTRODUCTION + "".join(f"\n{_about(name, getattr(kinprint, name))}" for name in names)


def _about(name: str, found: Any) -> str:
    text = inspect.getdoc(found) or ""
    if inspect.isclass(found):
        members = (
            [f"- `{name}.{one.name}`: {one.value}" for one in found]
            if issubclass(found, enum.Enum)
            else [f"- `{field}`" for field in found.model_fields]
        )
        return f"## `{name}`\n\n{_plain(text)}\n\n" + "\n".join(members) + "\n"
    first, *sections = _SECTION.split(text)
    told = [f"## `{name}({', '.join(_parameters(found))})`", _plain(first)]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        if title in ("Args", "Raises"):
            told.append({"Args": "Takes", "Raises": "Raises"}[title] + ":")
            told.append(_listed(body))
        elif title == "Returns":
            told.append(f"Returns: {_plain(body)}")
    return "\n\n".join(told) + "\n"


def _parameters(function: Any) -> list[str]:
    """Return the names of parameters, with a star before those that need their name."""
    told: list[str] = []
    for one in inspect.signature(function).parameters.values():
        if one.kind is inspect.Parameter.KEYWORD_ONLY and "*" not in told:
            told.append("*")
        told.append(one.name)
    return told


def _listed(body: str) -> str:
    _, *parts = _ENTRY.split(body)
    entries = zip(parts[::2], parts[1::2], strict=True)
    return "\n".join(f"- `{name}`: {_plain(text)}" for name, text in entries)


def _plain(text: str) -> str:
    """Return paragraphs on one line each, with Markdown's marks for code."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    joined = "\n\n".join(" ".join(one.split()) for one in paragraphs)
    return joined.replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
