"""A TOML file has the names that the options have."""

from pathlib import Path

import pytest

from generator.commands.craft import command
from generator.errors import GenerationError
from generator.jobs.crafting import read_job

GIVEN = {"model": "net.py:net", "weights": "w", "images": ("a",), "out": "o", "key": "k"}
NOT_IN_FILES = {"config", "plan", "quiet", "option"}
NAMES = sorted(
    name
    for one in command.params
    if (name := one.opts[0].removeprefix("--").replace("-", "_")) not in NOT_IN_FILES
)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_line_of_that_name_in_a_file(name: str, tmp_path: Path) -> None:
    config = tmp_path / "craft.toml"
    # No option takes such a value: whoever reads the line complains by its name.
    config.write_text(f"{name} = [[1]]\n")
    others = {field: value for field, value in GIVEN.items() if field != name}
    with pytest.raises(GenerationError, match=rf"^{name}\b(?!: expected an option)"):
        read_job(config, others)


def test_a_misspelt_line_is_told_with_the_name_that_was_meant(tmp_path: Path) -> None:
    config = tmp_path / "craft.toml"
    config.write_text("qeuries = 50\n")
    with pytest.raises(GenerationError, match=r"^qeuries: expected an option.*mean queries"):
        read_job(config, GIVEN)
