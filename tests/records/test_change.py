"""Two audits of one suspect: what their answers say about whether one model gave them."""

import dataclasses

import pytest
from worlds.dated_records import dated
from worlds.record_builder import (
    AUDITOR_KEY,
    NUM_QUERIES,
    STARTED,
    TRUST,
    audited_contents,
    copy_rule,
    fixed_draft,
    innocent_rule,
)

from audit.records.change import Change, Sameness, change_between
from audit.records.change_words import change_sentences
from audit.records.record import Draft, Record, parse_record, record_bytes, utc


@pytest.fixture(scope="module")
def copy() -> Draft:
    return fixed_draft(audited_contents(), copy_rule)


@pytest.fixture(scope="module")
def innocent() -> Draft:
    return fixed_draft(audited_contents(), innocent_rule)


def read(draft: Draft) -> Record:
    return parse_record(record_bytes(draft, AUDITOR_KEY, written=utc(STARTED + 61)), TRUST)


def compared(earlier: Draft, later: Draft) -> Change:
    return change_between(read(dated(earlier, 1)), read(dated(later, 2)), audited_contents())


def words(change: Change) -> str:
    return " ".join(change_sentences(change, alpha=0.05))


def test_answers_that_stay_the_same_rule_out_an_unrelated_model(copy: Draft) -> None:
    change = compared(copy, copy)
    assert change.sameness is Sameness.UNCHANGED
    assert change.agreement is not None
    # No innocent of 21 networks agrees with the source to the end: first of 22.
    assert change.agreement.p_value == pytest.approx(1 / 22)
    assert "the bundle's rate of 0.05 rules that out" in words(change)


def test_another_model_in_its_place_is_told_apart_from_whim(innocent: Draft, copy: Draft) -> None:
    change = compared(innocent, copy)
    assert change.sameness is Sameness.CHANGED
    assert change.num_changed == NUM_QUERIES
    # The innocent was asked three queries twice, said the same twice, and is contradicted in all
    # of them: each has one chance of three if one model answered all three times.
    assert change.odd is not None
    assert (change.odd.num, change.odd.num_between) == (3, 3)
    assert change.odd.p_value == pytest.approx(1 / 27)
    assert change.agreement is not None
    assert change.agreement.p_value == 1.0
    assert "is not ruled out" in words(change)


def test_who_was_asked_twice_does_not_depend_on_the_order(innocent: Draft, copy: Draft) -> None:
    assert compared(copy, innocent).odd == compared(innocent, copy).odd


def test_a_suspect_that_contradicts_itself_is_not_called_another_model(
    innocent: Draft, copy: Draft
) -> None:
    # The odd one of three answers is always among the two of one audit.
    again = [row for row in innocent.rows if str(row["question"]).startswith("again/")]
    said = {row["question"]: row["label"] for row in copy.rows}
    by_whim = {row["question"]: said[str(row["question"])[len("again/") :]] for row in again}
    rows = [{**row, "label": by_whim.get(row["question"], row["label"])} for row in innocent.rows]
    change = compared(dataclasses.replace(innocent, rows=rows, outcome=None, finished=None), copy)
    assert change.odd is not None
    assert (change.odd.num, change.odd.num_between, change.odd.p_value) == (3, 0, 1.0)


def test_labels_that_mean_other_classes_are_not_compared(copy: Draft) -> None:
    settings = {**copy.opening.settings, "merged_classes": "0=1"}
    merged = dataclasses.replace(
        copy, opening=copy.opening.model_copy(update={"settings": settings})
    )
    change = compared(copy, merged)
    assert change.sameness is Sameness.NOT_COMPARED
    assert "No answer can be compared" in words(change)
    assert ("asked with merged_classes", "", "0=1") in change.told


def test_one_file_is_one_model_whatever_it_answered(copy: Draft, innocent: Draft) -> None:
    change = change_between(read(copy), read(innocent), audited_contents())
    assert change.sameness is Sameness.SAME_FILE
    assert f"{NUM_QUERIES} of {NUM_QUERIES + 8} answers differ" in words(change)


def test_a_file_with_another_digest_is_called_another_file(copy: Draft, innocent: Draft) -> None:
    suspect = copy.opening.suspect.model_copy(update={"digest": "0" * 64})
    other = dataclasses.replace(copy, opening=copy.opening.model_copy(update={"suspect": suspect}))
    same_answers = change_between(read(copy), read(other), audited_contents())
    assert "which answers all of them like the earlier one" in words(same_answers)
    others = change_between(read(innocent), read(other), audited_contents())
    assert "It is another file, and answers otherwise." in words(others)
    assert "whim" not in words(others)
