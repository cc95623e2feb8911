"""Every command line that README, pages and program print is one that the parser takes."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kinprint import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = [
    path for room in ("adapters", "audit", "generator") for path in ROOT.glob(f"{room}/**/*")
]
FENCE = re.compile(r"^```\w*\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
BUNDLES = {"bundle", "bundle_path", "bundle_paths", "bundles"}
"""Parameters that name what must come from somebody trusted, where the command has --trust."""


def whole_lines(page: Path) -> list[list[str]]:
    """Return the words of each command that stands in a block of a page, to be copied."""
    text = page.read_text(encoding="utf-8")
    blocks = FENCE.findall(text) + re.findall(r"(?:^ {4}\S.*\n)+", FENCE.sub("", text), re.M)
    lines = re.sub(r"\\\n\s*", " ", "\n".join(blocks)).splitlines()
    found = (re.search(r"(?:^\s*|-m |bin/)kinprint ([a-z].*)", line) for line in lines)
    return [shlex.split(match[1].split(" > ")[0], comments=True) for match in found if match]


def mentions(page: Path) -> list[list[str]]:
    """Return the words of each command in the running text of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [line.split() for line in re.findall(r"`kinprint ([a-z][^`]*)`", text)]


def hints(path: Path) -> Iterator[list[str]]:
    """Yield the words of each command that a source file tells its user, X where a value goes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = "".join(
            str(part.value) if isinstance(part, ast.Constant) else "X"
            for part in parts
            if isinstance(node, ast.JoinedStr) or isinstance(getattr(part, "value", None), str)
        )
        for quoted in re.findall(r"['`“]kinprint ([a-z][^'`”]*)['`”]|: kinprint (.+)$", text):
            yield ("".join(quoted)).split()


def parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> click.Context:
    """Parse a command line as the program would, but for files that need not be there."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)
    context = cli.make_context("kinprint", list(words))
    while isinstance(group := context.command, click.Group):
        name, command, rest = group.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert name is not None
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


def check_names(words: list[str]) -> None:
    """Refuse commands and options that do not exist; what is left out is left out."""
    command: click.Command = cli
    words = list(words)
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z-]+", words[0]):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words
        command = found
        words.pop(0)
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    for word in words:
        # The benchmarks take options of their own.
        if word.startswith("--") and command.name != "bench":
            assert re.split(r"[=.,;]", word)[0] in known | {"--help"}, (command.name, word)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_can_be_given(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = whole_lines(page)
    is_trusted = any(line[:2] == ["trust", "add"] for line in lines)
    for words in lines:
        if "..." in words or words[0] == "bench":
            check_names(words)
            continue
        try:
            given = parse(words, monkeypatch).params
        except click.UsageError as error:
            pytest.fail(f"{shlex.join(words)}: {error.format_message()}")
        is_sweep = words[0] == "ui" and words[-1].endswith("/")  # results, and no bundle
        opens = any(given.get(name) for name in BUNDLES) and not is_sweep
        if "trust" in given and opens and not is_trusted:
            assert given["trust"] or given.get("key_path"), f"{shlex.join(words)} trusts nobody"
    for words in mentions(page):
        check_names(words)


def test_every_command_that_the_program_tells_its_user_exists() -> None:
    told = [words for path in SOURCES if path.suffix == ".py" for words in hints(path)]
    assert len(told) > 30
    for words in told:
        check_names(words)
