"""Vision models that answer in sentences: tried and audited like any other endpoint."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from worlds.bundle_builder import OWNER_KEY
from worlds.in_process import Done, run
from worlds.record_builder import GOLDEN_BUNDLE, audited_contents
from worlds.servers.chat_server import ChatServer, Says, chat_server, sentence

BUNDLE = audited_contents()
OPENAI = ("chat_completions", "/v1/chat/completions")
OLLAMA = ("ollama", "/api/chat")


class Desk:
    """Endpoint files in a folder, and servers that end with the test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.trust = folder / "owner.pub"
        self.trust.write_bytes(OWNER_KEY.public_key.pem)

    def serve(self, kind: tuple[str, str] = OPENAI, says: Says = sentence) -> ChatServer:
        server = self.stack.enter_context(chat_server(BUNDLE, says))
        name, place = kind
        self.file = self.folder / "vendor.toml"
        self.file.write_text(
            f'format = "{name}"\nurl = "{server.url}{place}"\nretries = 0\n'
            '[request]\nmodel = "tiny"\n[answer.aliases]\ncat = ["kitty", "tom cat"]\n'
        )
        return server

    def check(self, *more: str) -> Done:
        arguments = ["endpoint", "check", self.file, "--bundle", GOLDEN_BUNDLE, *more]
        return run(*arguments, "--trust", self.trust)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(tmp_path, stack)


@pytest.mark.parametrize("kind", [OPENAI, OLLAMA])
def test_a_chat_is_audited_from_its_sentences(desk: Desk, kind: tuple[str, str]) -> None:
    server = desk.serve(kind)
    done = desk.check()
    assert done.returncode == 0, done.stderr
    assert "8 of 8 right, 100%" in done.stdout
    assert "does the image show: cat, dog, frog, ship?" in done.stdout
    assert "unclear" not in done.stdout
    audit = run(
        *("audit", GOLDEN_BUNDLE, "--trust", desk.trust, "--endpoint", desk.file, "--json"),
        *("--journal", desk.folder / "journal.db"),
    )
    # The server answers as the source does: derived.
    assert audit.returncode == 10, audit.stderr
    prompts = {json.dumps(each).partition("iVBOR")[0] for each in server.asked}
    assert len(prompts) == 1  # one fixed prompt, whatever the image
    asked = server.asked[0]
    assert asked.get("temperature", asked.get("options", {}).get("temperature")) == 0


def test_a_check_shows_what_it_could_not_understand(desk: Desk) -> None:
    def says(name: str, number: int) -> str:
        odd = {1: "It is a cat or a ship.", 3: "A blurry thing.", 5: "I am sorry, I cannot tell."}
        return odd.get(number, sentence(name, number))

    desk.serve(says=says)
    done = desk.check()
    assert "5 of 8 right" in done.stdout
    assert "refused      3 images got no class" in done.stdout
    assert "unclear      1 answers name several classes, and count as refused:" in done.stdout
    assert "'It is a cat or a ship.'" in done.stdout
    assert "unclear      1 answers name no class, and count as refused:" in done.stdout
    assert "'A blurry thing.'" in done.stdout
    assert "unclear      1 answers decline to name a class, and count as refused:" in done.stdout
    assert "'I am sorry, I cannot tell.'" in done.stdout
    desk.serve(says=says)
    (ambiguous, unknown, _) = json.loads(desk.check("--json").stdout)["unclear"]
    assert ambiguous == {
        "reason": "name several classes",
        "num": 1,
        "examples": ["It is a cat or a ship."],
    }
    assert unknown["examples"] == ["A blurry thing."]


def test_a_check_of_words_that_are_never_a_class_ends_and_says_so(desk: Desk) -> None:
    server = desk.serve(says=lambda name, number: f"Certainly! Let me look at image {number}.")
    done = desk.check()
    assert done.returncode == 14
    assert "expected words that name one class, got 8 answers of which none does" in done.stderr
    assert "Certainly! Let me look at image" in done.stderr
    assert "answer.aliases" in done.stderr
    assert len(server.asked) == 8


def test_a_file_that_points_at_a_label_only_is_not_told_of_scores(desk: Desk) -> None:
    server = desk.serve()
    desk.file.write_text(
        f'format = "generic"\nurl = "{server.url}/api/chat"\n'
        '[request]\ntemplate = \'{"model": "m", "messages": [{"images": '
        '["{{image_base64_png}}"]}]}\'\n'
        '[answer]\nlabel = "message.content"\nfind = "within"\n'
    )
    done = desk.check()
    assert "8 of 8 right" in done.stdout
    assert "would use them" not in done.stdout
