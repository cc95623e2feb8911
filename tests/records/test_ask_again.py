"""Asking a suspect again what a record says it answered."""

from worlds.record_builder import (
    GOLDEN_RECORD,
    TRUST,
    FakeSuspect,
    audited_contents,
    copy_rule,
)

from audit.records.ask_again import ask_again
from audit.records.check import Status
from audit.records.record import parse_record


def test_asking_again_lists_the_answers_that_differ() -> None:
    bundle = audited_contents()
    record = parse_record(GOLDEN_RECORD.read_bytes(), TRUST)

    def rule(kind: str, index: int, label: int) -> int:
        return 3 if (kind, index) == ("query", 1) else label

    reasked = ask_again(record, bundle, FakeSuspect(bundle, rule))
    (difference,) = reasked.differences
    assert (difference.question, difference.recorded, difference.given) == ("query/1", 1, 3)
    # 1 of 32 labels is more than 1 %
    assert reasked.check.status is Status.FAILED


def test_asking_the_same_suspect_again_changes_nothing() -> None:
    bundle = audited_contents()
    record = parse_record(GOLDEN_RECORD.read_bytes(), TRUST)
    suspect = FakeSuspect(bundle, copy_rule)
    reasked = ask_again(record, bundle, suspect)
    assert reasked.differences == ()
    assert reasked.check.status is Status.HELD
    assert sum(suspect.asked) == 32


def test_asking_another_file_again_is_refused_by_its_digest() -> None:
    bundle = audited_contents()
    record = parse_record(GOLDEN_RECORD.read_bytes(), TRUST)
    reasked = ask_again(record, bundle, FakeSuspect(bundle, copy_rule, digest="0" * 64))
    assert reasked.check.status is Status.FAILED
    assert "expected the file with SHA-256" in reasked.check.text
