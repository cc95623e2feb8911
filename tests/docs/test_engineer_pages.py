"""The pages for the next engineer: what they name is there, and a recipe does what it says."""

import re
import textwrap
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types of its own
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import run
from worlds.record_builder import GOLDEN_BUNDLE

import adapters.wire
from audit.exit_codes import ExitCode

ROOT = Path(__file__).parents[2]
PAGES = ("CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md", ".github/PULL_REQUEST_TEMPLATE.md")
FORMS = sorted(path.name for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*-*.yml"))
PARTS_OF_THE_SCREEN = ("screens", "widgets", "dialogs")
"""Folders of the terminal UI, which the map has as one room."""


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def rooms() -> list[str]:
    """Return the folders that the map has to have, such as ``audit/scores/``."""
    tops = ("adapters", "audit", "generator")
    folders = [path.parent for top in tops for path in ROOT.glob(f"{top}/**/__init__.py")]
    folders += [path for path in (ROOT / "tests").iterdir() if path.is_dir()]
    return sorted(
        f"{folder.relative_to(ROOT).as_posix()}/"
        for folder in folders
        if folder.name not in PARTS_OF_THE_SCREEN and not folder.name.startswith((".", "_"))
    )


@pytest.mark.parametrize("room", rooms())
def test_the_map_has_a_word_for_every_room(room: str) -> None:
    assert f"`{room}`" in text_of("CONTRIBUTING.md"), f"say in one sentence what {room} is for"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_in_the_tree_is_there(page: str) -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)+(?:[a-z_0-9]+\.[a-z0-9]+)?)`", text_of(page)))
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)h][^)]*)\)", text_of(page)):
        name, _, anchor = target.partition("#")
        path = ROOT / name.removeprefix("../blob/HEAD/")
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_anchor(title) for title in titles}, target


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_the_picture_of_the_data_says_in_words_what_it_shows() -> None:
    picture = ElementTree.parse(ROOT / "docs" / "images" / "architecture.svg").getroot()
    named = picture.attrib["aria-labelledby"].split()
    words = {element.get("id"): element.text for element in picture}
    assert all(words[name] for name in named)
    assert "prefers-color-scheme: dark" in ElementTree.tostring(picture, encoding="unicode")


@pytest.mark.parametrize("name", FORMS)
def test_an_issue_form_asks_for_something(name: str) -> None:
    form = yaml.safe_load(text_of(f".github/ISSUE_TEMPLATE/{name}"))
    assert {"name", "description", "body"} <= set(form)
    asked = [field for field in form["body"] if field["type"] != "markdown"]
    assert asked
    assert all(field["attributes"]["label"] for field in asked)


def blocks(page: str) -> list[str]:
    """Return the Python of a page, block by block."""
    found = re.findall(r"^( *)```python\n(.*?)^ *```", text_of(page), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


def test_the_recipe_for_a_wire_format_asks_a_server_and_finds_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire_format, server = blocks("CONTRIBUTING.md")
    (tmp_path / "example.py").write_text(wire_format, encoding="utf-8")
    monkeypatch.setattr(adapters.wire, "__path__", [*adapters.wire.__path__, str(tmp_path)])
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(server.partition("\nThreadingHTTPServer((")[0], names)
    path, trust = tmp_path / "example.toml", ("--trust", GOLDEN_PUBLIC_KEY)
    assert run("endpoint", "new", "example", "-o", path).returncode == 0
    with ThreadingHTTPServer(("127.0.0.1", 0), names["Server"]) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        path.write_text(path.read_text("utf-8").replace("8765", str(serving.server_port)))
        checked = run("endpoint", "check", path, "--bundle", GOLDEN_BUNDLE, *trust)
        audited = run(
            *("audit", GOLDEN_BUNDLE, *trust, "--endpoint", path),
            *("--journal", tmp_path / "journal.sqlite"),
        )
        serving.shutdown()
    assert checked.returncode == 0, checked.stderr
    assert audited.returncode == ExitCode.DERIVED, audited.stderr
    assert "After 5 of 24 queries" in audited.stdout
