"""Documents and verdicts that scripts and courts have read must not change unnoticed."""

import pytest
from worlds.golden_documents import COMMANDS, GOLDEN, command_document, outcomes


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_what_it_printed_before(name: str) -> None:
    assert command_document(name) == (GOLDEN / name).read_bytes()


def test_judging_gives_what_it_gave_before() -> None:
    assert outcomes() == (GOLDEN / "outcomes.jsonl").read_bytes()
