"""Ids of questions: written as journals and records have them, read strictly."""

import pytest

from audit.question import QuestionId


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("control/0", QuestionId("control", 0)),
        ("again/control/12", QuestionId("control", 12, is_again=True)),
        ("probe/3/17", QuestionId("probe", 3, probe=17)),
    ],
)
def test_an_id_is_read_as_it_is_written(text: str, question: QuestionId) -> None:
    assert QuestionId.parse(text) == question
    assert str(question) == text


def test_a_repeated_question_knows_the_first_one() -> None:
    assert str(QuestionId.parse("again/query/7").first) == "query/7"


@pytest.mark.parametrize("text", ["", "query", "query/", "query/-1", "probe/1/2/3", "/4"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected an id such as query/7"):
        QuestionId.parse(text)
