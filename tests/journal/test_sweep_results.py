"""A result has the columns that docs/sweeps.md promises to whoever asks the file itself."""

from dataclasses import fields
from pathlib import Path

from worlds.raw_sql import run_sql

from audit.journal.sweep_results import ResultRow
from audit.journal.sweep_table import SweepTable


def test_a_result_has_every_column_of_the_view_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "sweep.sqlite"
    SweepTable(path).close()
    columns = [name for (_, name, *_) in run_sql(path, "PRAGMA table_info(results)")]
    assert [field.name for field in fields(ResultRow)] == columns
