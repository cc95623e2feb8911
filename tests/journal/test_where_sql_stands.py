"""SQL stands in audit/journal and nowhere else; import-linter watches who imports sqlite3."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOME = ROOT / "audit" / "journal"
OWN_FILE = ROOT / "adapters" / "http" / "rate_limit_file.py"
"""Has a small database of its own, and adapters know nothing of an audit."""
STATEMENT = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|CREATE|DROP|ALTER|PRAGMA|BEGIN|COMMIT|ROLLBACK)"
    r"(\s|$)"
)
ROWS = ("read_rows", "write_rows", "write_soon")
"""How the modules of audit/journal reach their tables (`audit.journal.journal_file`)."""


def sql_in(source: str) -> list[str]:
    """Return what looks like SQL in a program, and what would run it."""
    nodes = list(ast.walk(ast.parse(source)))
    texts = [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and STATEMENT.match(node.value)
    ]
    names = [node.attr for node in nodes if isinstance(node, ast.Attribute) and node.attr in ROWS]
    return texts + names


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('x = "SELECT id FROM audits"', ["SELECT id FROM audits"]),
        ('x = f"PRAGMA user_version = {2}"', ["PRAGMA user_version = "]),
        ('x = """\nCREATE TABLE t (a);"""', ["\nCREATE TABLE t (a);"]),
        ("journal.file.read_rows(text)", ["read_rows"]),
        ('x = "Select one"; SELECTION = "SELECTED"', []),
    ],
)
def test_sql_is_found_however_it_is_written(source: str, found: list[str]) -> None:
    assert sql_in(source) == found


def test_no_module_outside_the_journal_speaks_sql() -> None:
    folders = ("adapters", "audit", "generator", "benchmarks")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    elsewhere = [path for path in (ROOT / "kinprint.py", *paths) if HOME not in path.parents]
    assert len(elsewhere) > 300
    told = {path: sql_in(path.read_text("utf-8")) for path in elsewhere}
    assert {path for path, found in told.items() if found} == {OWN_FILE}
