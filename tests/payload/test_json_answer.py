"""JSON of servers: what is no JSON is named with its place."""

import pytest

from adapters.endpoint.masking import MAX_CHARACTERS
from adapters.endpoint.wire_format import AskAgainError
from adapters.http.masked_answer import read_answer_body
from adapters.payload.json_answer import read_json
from adapters.suspect import SuspectError


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            b'{"p": [0.1,,0.2]}',
            """got ',0.2]}' at byte 12 (line 1, column 12), after '{"p": [0.1,'""",
        ),
        # Blanks and a mark before it count, and characters of several bytes are one column.
        (
            '\ufeff\n{"größe": 1,\n "p": [,1]}'.encode(),
            # 3 + 1 + 14 + 1 bytes stand before the third line, whose eighth it is.
            r"""got ',1]}' at byte 27 (line 3, column 8), after '\n{"größe": 1,\n "p": ['""",
        ),
        ('{"p": [,1]}'.encode("utf-16-le"), "got ',1]}' at byte 15 (line 1, column 8)"),
        # What drives a terminal is escaped.
        (b'{"p": \x1b[2J\n}', r"got '\x1b[2J\n}' at byte 7 (line 1, column 7), after"),
        (b'{"label": "c\nat"}', r"""got '\nat"}' at byte 13 (line 1, column 13), after"""),
        (b'{"label": "c\xffat"}', "at byte 13 (line 1, column 13), after"),
        # No byte is moved by mending the numbers of TensorFlow Serving.
        (b"[6e-07.0, 1e-3.0, , 1]", "got ', 1]' at byte 19 (line 1, column 19)"),
        (b'{"a": 1} \xed\xa0\x80', "JSON alone, got '���' at byte 10 (line 1, column 10)"),
    ],
)
def test_the_place_of_a_fault_is_told_and_what_stands_there(body: bytes, told: str) -> None:
    with pytest.raises(SuspectError) as raised:
        read_json(body)
    assert told in str(raised.value)
    assert str(raised.value).startswith("answer: expected JSON")
    assert str(raised.value).isprintable()


def test_long_answers_are_shown_around_the_fault_only() -> None:
    body = b"[%s, , %s]" % (b"1, " * 500 + b"1", b"2, " * 500 + b"2")
    with pytest.raises(SuspectError) as raised:
        read_json(body)
    # "[", then 500 times three bytes, "1" and ", ": the second comma stands behind 1,504 bytes.
    told = str(raised.value)
    assert "at byte 1505 (line 1, column 1505)" in told
    assert "got ', 2, 2, 2" in told
    assert "1, 1, '" in told
    assert len(told) < 250


@pytest.mark.parametrize("before", [0, MAX_CHARACTERS - 20, MAX_CHARACTERS])
def test_no_part_of_a_secret_stands_in_what_is_shown_of_a_fault(before: int) -> None:
    secret = "0123456789abcdef"
    # A number ends where its digits do: the parser finds the fault within the secret.
    body = b'{"%s": %s}' % (b"a" * before, secret.encode())
    with pytest.raises(SuspectError) as raised:
        read_answer_body(body, read_json, lambda text: text.replace(secret, "***"))
    assert "abc" not in str(raised.value)
    assert "789" not in str(raised.value)


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    with pytest.raises(AskAgainError, match="breaks off after 12 bytes"):
        read_json(b'{"p": [0.1, ')
