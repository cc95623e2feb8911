"""A secret is masked in every form in which a server may repeat it."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from adapters.endpoint.masking import MASK, MAX_CHARACTERS, masked

SECRET = 'sk/l1ve+"AbCd"&eF0123456789-_~xYz<q>'


def percent_all(text: str) -> str:
    return "".join(f"%{ord(each):02x}" for each in text)


def percent_some(text: str) -> str:
    return "".join(f"%{ord(each):02X}" if at % 3 else each for at, each in enumerate(text))


def unicode_all(text: str) -> str:
    return "".join(f"\\u{ord(each):04x}" for each in text)


def within_base64(offset: int, encode: Callable[[bytes], bytes]) -> Callable[[str], str]:
    """Return what hides a text in a longer one, so many bytes after its beginning."""
    return lambda text: encode(b"#" * offset + text.encode() + b"#" * 7).decode()


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in upper case": str.upper,
    "in lower case": str.lower,
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded in lower case": lambda text: quote(text, safe="").lower(),
    "percent-encoded as a form": quote_plus,
    "percent-encoded to the last character": percent_all,
    "percent-encoded in part": percent_some,
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "in JSON": lambda text: json.dumps(text)[1:-1],
    "in JSON within JSON": lambda text: json.dumps(json.dumps(text)),
    "in JSON with escaped slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "in JSON with code points": unicode_all,
    "in HTML": html.escape,
    "in HTML with numbers": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "in HTML with hexadecimal numbers": lambda text: "".join(f"&#x{ord(c):X};" for c in text),
    "as Python writes it": repr,
    "in UTF-16": lambda text: text.encode("utf-16-le").decode("latin-1"),
    "in UTF-16, percent-encoded": lambda text: quote(text).encode("utf-16-be").decode("latin-1"),
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "in base64, percent-encoded": lambda text: quote(base64.b64encode(text.encode()).decode()),
    "in base64 of upper case": lambda text: base64.b64encode(text.upper().encode()).decode(),
    **{
        f"in {name} at {offset}": within_base64(offset, encode)
        for offset in (0, 1, 2, 3, 40)
        for name, encode in (
            ("base64", base64.b64encode),
            ("url-safe base64", base64.urlsafe_b64encode),
            ("base64 in lines", base64.encodebytes),
        )
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_masked_in_every_form(form: str) -> None:
    repeated = FORMS[form](SECRET)
    shown = masked(f"the key {repeated} is not known", (SECRET,))
    assert MASK in shown
    for start in range(len(repeated) - 7):
        assert repeated[start : start + 8] not in shown


@pytest.mark.parametrize(
    "form", ["as it is", "in upper case", "percent-encoded", "in JSON with code points", "in HTML"]
)
def test_what_stands_around_a_secret_stays(form: str) -> None:
    repeated = FORMS[form]("sk-l1ve+AbCdEf0123456789/xYz")
    text = f'{{"error": "no key {repeated}, ask for one", "code": 7}}'
    expected = f'{{"error": "no key {MASK}, ask for one", "code": 7}}'
    assert masked(text, ("sk-l1ve+AbCdEf0123456789/xYz",)) == expected


def test_a_text_without_the_secret_stays_as_it_is() -> None:
    text = 'R&D at 100%: {"label": "c\\u0061t", "path": "a\\/b"} &lt;b&gt; c2sgbGl2ZQ=='
    assert masked(text, (SECRET,)) == text


def test_a_secret_in_pieces_hides_the_whole_text() -> None:
    assert masked('["sk-l1ve+AbCd", "Ef0123456789"]', ("sk-l1ve+AbCdEf0123456789",)) == MASK


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("cat", "cat, concatenate, CAT and c%61t", "***, concatenate, *** and ***"),
        ("a/b", "a/b a%2Fb a\\/b aa/bb", "*** *** *** aa/bb"),
        ("!+?/&%$", "what!+?/&%$ and !+?/&%$", "what*** and ***"),
    ],
)
def test_a_short_secret_is_masked_where_it_stands_alone(secret: str, text: str, shown: str) -> None:
    assert masked(text, (secret,)) == shown


def test_name_and_password_are_masked_where_the_secret_is_both_in_base64() -> None:
    secret = base64.b64encode(b"auditor:correct-horse").decode()
    assert masked("no auditor:correct-horse here", (secret,)) == "no *** here"
    assert masked("not the password correct-horse", (secret,)) == "not the password ***"


def test_a_token_is_masked_without_the_word_before_it() -> None:
    assert masked("no token sk-l1ve-01234", ("Bearer sk-l1ve-01234",)) == "no token ***"


def test_what_is_escaped_more_often_than_anybody_reads_is_not_shown() -> None:
    text = "nothing%2Dsecret"
    for _ in range(20):
        text = quote(text, safe="")
    assert masked(f"a {text} b", ("sk-l1ve-0123456789",)) == f"a {MASK} b"


def test_a_text_that_nobody_reads_is_told_by_its_length() -> None:
    text = "x" * (MAX_CHARACTERS + 1)
    assert masked(text, (SECRET,)) == f"({MAX_CHARACTERS + 1} characters)"


@pytest.mark.parametrize(
    "unit", ["%25", "%2525", "\\", "\\\\u0025", "&amp;", "&", "%", "&#", "sk/l1ve+", "A", " ", '"']
)
def test_the_longest_text_of_one_kind_is_read_to_its_end(unit: str) -> None:
    text = unit * (MAX_CHARACTERS // len(unit))
    assert SECRET not in masked(f"{text[len(SECRET) :]}{SECRET}", (SECRET, "x" * 2000))
