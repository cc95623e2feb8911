"""Pages by which people find their way: the index, messages, words and the Python reference."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert not [path.name for path in DOCS.glob("[a-z]*.md") if f"({path.name})" not in index]


@pytest.mark.parametrize("name", ["README", "help", "glossary", "settings", "python", "security"])
def test_links_of_a_page_lead_somewhere(name: str) -> None:
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", page)
    assert links
    for target in links:
        file, _, anchor = target.partition("#")
        path = DOCS / file
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            found = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in found, target


def test_every_message_that_is_explained_is_one_that_the_program_gives() -> None:
    sources = [ROOT / "kinprint.py"]
    for room in ("adapters", "audit", "generator"):
        sources += (ROOT / room).glob("**/*.py")
    texts = "\n".join(
        node.value
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    page = (DOCS / "help.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert len(messages) > 15
    assert not [message for message in messages if message not in texts]


def test_the_glossary_is_in_the_order_of_the_alphabet() -> None:
    page = (DOCS / "glossary.md").read_text(encoding="utf-8")
    words = [word.lower() for word in re.findall(r"^\*\*(.+?)\.\*\*", page, flags=re.MULTILINE)]
    assert words == sorted(words, key=lambda word: word.replace("-", "").replace(" ", ""))


def test_the_python_reference_is_that_of_the_code() -> None:
    path = DOCS / "python_reference.py"
    spec = importlib.util.spec_from_file_location("python_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    told = (DOCS / "python.md").read_text(encoding="utf-8")
    assert told == module.reference(), "python docs/python_reference.py writes it anew"
