"""A database as somebody else sees and changes it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def run_sql(path: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement on a connection of its own; what it changed is in the file afterwards."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        return database.execute(statement, values).fetchall()
