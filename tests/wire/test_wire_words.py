"""Answers in words: texts, XML, sentences, other names, percent signs; and what is none of them."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_httpserver import HTTPServer
from worlds.servers.wire_server import IMAGES, Ask, asking, without_images

from adapters import class_words
from adapters.class_words import Doubt, WordReader, WordRules
from adapters.http.answer_meaning import MAX_LOST
from adapters.http.endpoint_file import read_endpoint_file
from adapters.suspect import REFUSED, SuspectConfigError, SuspectError, SuspectUnreachableError
from adapters.timed_patterns import PatternTimeoutError, TimedPatterns

IMAGE = IMAGES[:1]
RAW = "[request]\nraw = true\n[answer]\n"
EXPLODING = "(a+)+$"
"""On a row of letters a and something else, each letter doubles the time."""


@pytest.fixture
def ask(tmp_path: Path, httpserver: HTTPServer) -> Iterator[Ask]:
    with asking(tmp_path, httpserver) as start:
        yield start


def label_of(ask: Ask, answer: str, body: str | bytes, **settings: Any) -> int:
    """Return the class that the words of an answer name; the classes are cat, dog and horse."""
    data = body if isinstance(body, bytes) else body.encode()
    endpoint, _ = ask("generic", "/classify", RAW + answer, body=data, **settings)
    return int(endpoint.predict(IMAGE).labels[0])


@pytest.mark.parametrize(
    ("answer", "body", "label"),
    [
        ('read = "text"', " Dog\n", 1),
        ('read = "text"', '"\uff24\uff4f\uff47".', 1),  # fullwidth letters
        ('read = "text"', "2", 2),
        ('read = "text"', "I see a dog here.", REFUSED),
        ('read = "text"\nfind = "within"', "I see a DOG\nhere.", 1),
        ('read = "text"\nfind = "within"', "a hotdog, dogged", REFUSED),  # no word of its own
        ('read = "text"\nfind = "within"', "a dog, clearly a dog", 1),
        ('read = "text"\nfind = "within"', "either a dog or a cat", REFUSED),
        ('read = "text"\nfind = "within"', "This is not a dog.", REFUSED),
        ('read = "text"\nfind = "within"', "It isn\u2019t a dog.", REFUSED),
        ('read = "text"\nfind = "within"\nrefusals = []', "No doubt, not: a dog", 1),
        ('read = "text"\nfind = "within"\naliases = { dog = ["hound"] }', "Some hound or dog", 1),
        ('read = "text"\naliases = { dog = ["Chien"], cat = ["chat"] }', "chien", 1),
        ('read = "text"\nclean = ["strip"]', " Dog ", REFUSED),
        ('read = "text"\nclean = ["strip"]', " dog ", 1),
        ("read = \"text\"\npattern = 'class: (\\w+)'", "score 0.3, Class: dog; not cat", 1),
        ('read = "text"\nfind = "within"\nrefusals = ["sorry"]', "Sorry, no cat", REFUSED),
        ('label = "out"\nfind = "within"', '{"out": "A horse, I think"}', 2),
        ('label = "out"\nfind = "within"', '{"out": 1}', 1),
        ('label = "out"\nfind = "within"', '{"out": null}', REFUSED),
        ('inside = "body"\nlabel = "class"', json.dumps({"body": '{"class": "Cat"}'}), 0),
        ('inside = "body"\nlabel = "class"', json.dumps({"body": '```json\n{"class": 1}\n```'}), 1),
        ('read = "xml"\nlabel = "r.p.label"', '<r><p label="dog"/></r>', 1),
        ('read = "xml"\nlabel = "r.p"', '<a:r xmlns:a="urn:x"><a:p> Horse </a:p></a:r>', 2),
        ('scores = "p"', '{"p": [0.2, 0.7, 0.1]}', 1),
        ('scores = "p"', '{"p": {"horse": "70 %", "dog": "20%", "cat": "10 %"}}', 2),
        ('scores = "p"\nkind = "top_k"', '{"p": {"dog": "12,5%"}}', 1),
        ('scores = "p"\nkind = "logits"', '{"p": ["-1.5", "2", "0"]}', 1),
        ('scores = "p"\nkind = "top_k"', '{"p": [{"label": "cat", "score": "0.4"}]}', 0),
        (
            'read = "xml"\nscores = "r.c[].{label: name, score: text}"',
            '<r><c name="Cat">5 %</c><c name="Dog">90 %</c><c name="Horse">5 %</c></r>',
            1,
        ),
    ],
)
def test_words_become_the_class_that_they_name(
    ask: Ask, answer: str, body: str, label: int
) -> None:
    assert label_of(ask, answer, body) == label


def test_scores_that_are_texts_are_the_probabilities_that_they_say(ask: Ask) -> None:
    tables = RAW + 'scores = "p"\naliases = { cat = ["tom", "kitty"] }'
    body = b'{"p": {"tom": "10 %", "Kitty": "20 %", "dog": "0.3", "horse": 0.4}}'
    endpoint, _ = ask("generic", "/", tables, body=body)
    predictions = endpoint.predict(IMAGE)
    assert predictions.log_probabilities is not None
    # Two names of one class have its probability between them: 0.1 + 0.2.
    assert np.exp(predictions.log_probabilities[0]) == pytest.approx([0.3, 0.3, 0.4])
    assert predictions.labels[0] == 2  # the largest of those that are listed


def test_what_is_not_understood_is_refused_counted_and_shown(ask: Ask) -> None:
    said = iter(["a cat", "a cat or a dog", "cat and\x1b[2J horse", "a bird", "A Dog."])
    endpoint, _ = ask(
        "generic",
        "/",
        RAW + 'read = "text"\nfind = "within"',
        reply=lambda seen: next(said).encode(),
    )
    labels = [int(endpoint.predict(IMAGE).labels[0]) for _ in range(5)]
    assert labels == [0, REFUSED, REFUSED, REFUSED, 1]
    ambiguous, unknown = endpoint.unclear
    assert (ambiguous.doubt, ambiguous.num) == (Doubt.AMBIGUOUS, 2)
    assert ambiguous.examples == ("a cat or a dog", "cat and?[2J horse")
    assert (unknown.doubt, unknown.num, unknown.examples) == (Doubt.UNKNOWN, 1, ("a bird",))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("pattern = 'class=(\\w+)'", "do not match answer.pattern, such as 'just a cat'"),
        ('find = "whole"', "name no class, such as 'just a cat'"),
    ],
)
def test_words_that_are_never_a_class_end_in_an_error(ask: Ask, answer: str, reason: str) -> None:
    endpoint, server = ask("generic", "/", f'{RAW}read = "text"\n{answer}', body=b"just a cat")
    for _ in range(MAX_LOST - 1):
        assert endpoint.predict(IMAGE).labels[0] == REFUSED
    with pytest.raises(SuspectError, match=f"got {MAX_LOST} answers of which none does .*{reason}"):
        endpoint.predict(IMAGE)
    assert len(server.seen) == MAX_LOST


def test_declined_answers_are_refusals_and_no_mistake(ask: Ask) -> None:
    endpoint, _ = ask(
        "generic", "/", RAW + 'read = "text"\nrefusals = ["can.?not"]', body=b"Cannot."
    )
    assert [int(endpoint.predict(IMAGE).labels[0]) for _ in range(MAX_LOST + 1)] == [-1] * 9
    (declined,) = endpoint.unclear
    assert (declined.doubt, declined.num) == (Doubt.DECLINED, MAX_LOST + 1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            'read = "text"\naliases = { cat = ["pet"], dog = ["Pet."] }',
            r"answer.aliases.dog: expected each name to stand for one class, got 'Pet.' for 'cat' "
            "and for 'dog'",
        ),
        ('label = "x"\naliases = { dog = ["Cat"] }', "got 'Cat' for 'cat' and for 'dog'"),
        ('label = "x"\naliases = { bird = ["b"] }', "expected names of the classes .*got 'bird'"),
        ('label = "x"\naliases = { dog = ["."] }', "expected a name with letters in it"),
        ("label = \"x\"\npattern = '(cat'", "answer.pattern: expected a regular expression"),
        ("label = \"x\"\nrefusals = ['[']", "answer.refusals: expected a regular expression"),
        ('read = "text"\nlabel = "x"', "expected none of label and scores beside read = text"),
        ("metadata = {}", "expected an expression for label, scores or both, got neither"),
        ('label = "x"\nkind = "logits"', "answer.kind: expected scores beside it, got none"),
        ('label = "x"\nclean = ["upper"]', "answer.clean.*'NFKC'"),
    ],
)
def test_a_wrong_table_is_refused_when_it_is_read(ask: Ask, answer: str, message: str) -> None:
    with pytest.raises(SuspectConfigError, match=message):
        ask("generic", "/", RAW + answer)


@pytest.mark.parametrize(
    ("answer", "body", "kind", "message"),
    [
        ('read = "text"', b"<!DOCTYPE html><p>login", SuspectUnreachableError, "got a web page"),
        ('read = "xml"\nlabel = "r"', b"<html><r/>", SuspectUnreachableError, "got a web page"),
        ('read = "xml"\nlabel = "r"', b"cat", SuspectError, "expected XML, got 'cat'"),
        (
            'read = "xml"\nlabel = "r"',
            b'<!DOCTYPE r [<!ENTITY a "cat">]><r>&a;</r>',
            SuspectError,
            "got a document type",
        ),
        ('read = "xml"\nlabel = "r"', b"<r>" * 70, SuspectError, "more than 64 elements"),
        ('read = "text"', b"\xff\xfe\xff", SuspectError, "expected text in utf-8, got"),
        ('inside = "b"\nlabel = "c"', b'{"b": "cat"}', SuspectError, "a text that holds JSON"),
        ('scores = "p"', b'{"p": ["much"]}', SuspectError, "answer.scores: expected a list"),
    ],
)
def test_what_cannot_be_read_is_named(
    ask: Ask, answer: str, body: bytes, kind: type[SuspectError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        label_of(ask, answer, body)


def test_xml_that_breaks_off_is_asked_again(ask: Ask) -> None:
    with pytest.raises(SuspectError, match="XML that breaks off after 9 bytes"):
        label_of(ask, 'read = "xml"\nlabel = "r"', b"<r><p>cat")


def test_an_expression_that_explodes_ends_in_time() -> None:
    patterns = TimedPatterns([EXPLODING, "b"], time_limit_s=1.0)
    started = time.monotonic()
    with pytest.raises(PatternTimeoutError):
        patterns.search("a" * 60 + "b")
    assert time.monotonic() - started < 20  # it would take longer than the universe exists
    assert patterns.search("aab") == [None, "b"]  # a new process goes on
    patterns.close()


def test_an_endpoint_whose_expression_explodes_says_so(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_words, "TimedPatterns", partial(TimedPatterns, time_limit_s=1.0))
    with pytest.raises(SuspectError, match=r"answer\.pattern: expected the regular expressions"):
        label_of(ask, f"read = \"text\"\npattern = '{EXPLODING}'", "a" * 60 + "b")


def test_longer_names_are_found_before_shorter_ones() -> None:
    classes = {"dog": 0, "hot dog": 1, "none": REFUSED}
    rules = WordRules(clean=("casefold", "strip"), is_within=True)
    reader = WordReader(rules, classes, ("dog", "hot dog"), accepts_index=True)
    assert reader.read("Look, a hot   dog!").label == "hot dog"
    assert reader.read("a hot dog and a dog").doubt is Doubt.AMBIGUOUS
    assert reader.read("That is none of them").label == "none"
    assert reader.read("x" * 20_000).doubt is Doubt.TOO_LONG


def test_files_without_words_are_the_ones_that_they_were(tmp_path: Path) -> None:
    """The digest says whether an audit may be resumed: new fields must not change it."""
    path = tmp_path / "endpoint.toml"
    path.write_text(f'format = "generic"\nurl = "http://127.0.0.1:1/"\n{RAW}label = "x"\n')
    description = read_endpoint_file(path)
    told = description.model_dump(mode="json")
    assert told["answer"] == {"label": "x", "scores": None, "metadata": {}}


PROMPT = (
    "Which one of these classes does the image show: cat, dog, horse? "
    "Answer with the name of that class and nothing else."
)


def test_the_request_of_chat_completions(ask: Ask) -> None:
    body = b'{"model": "m-1", "choices": [{"message": {"content": "Dog."}}]}'
    tables = '[request]\nmodel = "m"\ndetail = "low"\nextra = { seed = 7 }'
    endpoint, server = ask("chat_completions", "/v1/chat/completions", tables, body=body)
    predictions = endpoint.predict(IMAGE)
    assert predictions.labels[0] == 1
    assert predictions.metadata["model"] == "m-1"
    assert json.loads(without_images(server.seen[0].body)) == {
        "model": "m",
        "temperature": 0,
        "seed": 7,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": PROMPT},
                    {
                        "type": "image_url",
                        "image_url": {"url": "data:image/png;base64,<0>", "detail": "low"},
                    },
                ],
            }
        ],
    }


def test_the_request_of_ollama(ask: Ask) -> None:
    body = b'{"model": "llava", "message": {"content": "A cat"}, "done": true}'
    tables = '[request]\nmodel = "llava"\nextra = { options = { seed = 1 } }'
    endpoint, server = ask("ollama", "/api/chat", tables, body=body)
    assert endpoint.predict(IMAGE).labels[0] == 0
    assert json.loads(without_images(server.seen[0].body)) == {
        "model": "llava",
        "options": {"temperature": 0, "seed": 1},
        "stream": False,
        "messages": [{"role": "user", "content": PROMPT, "images": ["<0>"]}],
    }


def message(content: Any, **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": content, **more}}]}).encode()


@pytest.mark.parametrize(
    ("answer", "body", "label"),
    [
        ("", message([{"type": "text", "text": "a dog"}]), 1),
        ("", message(None, refusal="I will not."), REFUSED),
        ("", message("It is not a dog."), REFUSED),
        ("", message("1"), REFUSED),  # the prompt numbers nothing
        ('[answer]\nlabel = "animal"', message('{"animal": "Horse"}'), 2),
        ('[answer]\nlabel = "animal"', message("a horse, plainly"), 2),
        ('[answer]\naliases = { horse = ["pony"] }', message("Looks like a pony."), 2),
    ],
)
def test_what_a_chat_says(ask: Ask, answer: str, body: bytes, label: int) -> None:
    tables = f'[request]\nmodel = "m"\n{answer}'
    endpoint, _ = ask("chat_completions", "/v1/chat/completions", tables, body=body)
    assert endpoint.predict(IMAGE).labels[0] == label


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "no such model"}}', "got an error: .*no such model"),
        (b'{"choices": []}', "expected choices with a message"),
        (b'{"choices": [{"message": {"content": 3}}]}', "expected a text in the message"),
    ],
)
def test_a_chat_without_a_message_is_an_error(ask: Ask, body: bytes, message: str) -> None:
    endpoint, _ = ask("chat_completions", "/", '[request]\nmodel = "m"', body=body)
    with pytest.raises(SuspectError, match=message):
        endpoint.predict(IMAGE)


@pytest.mark.parametrize(
    ("request_table", "message"),
    [
        ('prompt = "What is it?"', r"expected \{\{classes\}\} once in it"),
        ("extra = { stream = true }", "expected none of model, messages and stream, got 'stream'"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(
    ask: Ask, request_table: str, message: str
) -> None:
    with pytest.raises(SuspectConfigError, match=message):
        ask("chat_completions", "/", f'[request]\nmodel = "m"\n{request_table}')
