"""Who decides what an endpoint file may use: on a terminal, in a script, in Python."""

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import run
from worlds.record_builder import GOLDEN_BUNDLE, TRUST, audited_contents, copy_rule
from worlds.screens.pseudo_terminal import on_terminal
from worlds.servers.vendor_server import vendor

from adapters.endpoint.grants import NotGrantedError, origin_of
from audit.bundle.bundle_file import read_bundle
from audit.suspects.allow_list import load_grants
from audit.suspects.opening import open_remote

SECRET = "topsecret-0123456789"
LOOT = '[auth]\nheader = "X-Loot"\nenv = "HOME_SECRET"'
BUNDLE = audited_contents()
QUESTION = "Allow that, now and from now on? [y/N]"


@pytest.fixture(autouse=True)
def _a_user_with_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_SECRET", SECRET)
    for name in ("CONFIG", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))


def allowed_file(folder: Path) -> Path:
    return folder / "config" / "kinprint" / "allowed.json"


def audit(path: Path, *more: object) -> list[str]:
    words = ["audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--endpoint", path, *more]
    return [str(word) for word in words]


def check(path: Path, *more: object) -> list[str]:
    words = ["endpoint", "check", path, "--bundle", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY]
    return [str(word) for word in (*words, *more)]


@pytest.mark.parametrize("command", [audit, check])
def test_a_script_is_told_the_option_that_allows_it_and_sends_nothing_without(
    tmp_path: Path, command: Callable[..., list[str]]
) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", "concurrency = 1", LOOT)
        refused = run(*command(path))
        assert refused.returncode == 2
        assert server.num_requests == 0
        told = "the environment variable HOME_SECRET for http://127.0.0.1"
        assert told in refused.stderr
        assert "in the header X-Loot" in refused.stderr
        assert SECRET not in refused.stdout + refused.stderr
        options = re.findall(r"--allow .*$", refused.stderr.strip())
        done = run(*command(path, *shlex.split(options[0])))
        assert done.returncode in (0, 10), done.stderr
        assert f"X-Loot: {SECRET}".encode() in server.requests_text
    assert not allowed_file(tmp_path).exists()  # for this run only


def test_yes_to_money_is_no_yes_to_secrets(tmp_path: Path) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        done = run(
            *audit(server.endpoint_file(tmp_path / "vendor.toml", "concurrency = 1", LOOT), "--yes")
        )
        assert done.returncode == 2
        assert server.num_requests == 0


def test_a_private_file_is_asked_for_in_the_same_way(tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text(SECRET)
    key.chmod(0o600)
    with vendor(BUNDLE, copy_rule) as server:
        loot = f'[auth]\nfile = "{key}"'
        path = server.endpoint_file(tmp_path / "vendor.toml", "concurrency = 1", loot)
        grant = f"file:{key}@{origin_of(server.url)}"
        refused = run(*audit(path))
        assert refused.returncode == 2
        assert refused.stderr.endswith(f"--allow {grant}\n")
        assert run(*audit(path, "--allow", grant)).returncode == 10


def test_a_terminal_is_asked_once_and_the_yes_is_remembered(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "kinprint"]
    with vendor(BUNDLE, copy_rule) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", "concurrency = 1", LOOT)
        status, shown = on_terminal([*program, *audit(path)], (QUESTION, "y"))
        assert status == 10, shown
        assert "vendor.toml wants to use" in shown
        assert f"HOME_SECRET for {origin_of(server.url)}, in the header X-Loot" in shown
        assert str(allowed_file(tmp_path)) in shown.replace("\r\n", "")
        assert SECRET not in shown
        assert {str(grant) for grant in load_grants()} == {
            f"env:HOME_SECRET@{origin_of(server.url)}"
        }
        # From now on it is not asked, on a terminal or elsewhere.
        assert on_terminal([*program, *audit(path)])[0] == 10
        assert run(*audit(path)).returncode == 10
        # Another host is another question.
        with vendor(BUNDLE, copy_rule) as other:
            assert run(*audit(other.endpoint_file(path, "concurrency = 1", LOOT))).returncode == 2
            assert other.num_requests == 0


def test_a_no_sends_nothing_and_is_not_remembered(tmp_path: Path) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", "concurrency = 1", LOOT)
        command = [sys.executable, "-m", "kinprint", *audit(path)]
        status, shown = on_terminal(command, (QUESTION, ""))
        assert server.num_requests == 0
    assert status == 2
    assert "not allowed; nothing of it was used and nothing was sent" in shown
    assert not allowed_file(tmp_path).exists()


def test_a_yes_that_cannot_be_remembered_counts_this_time(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file where the folder should be")
    with vendor(BUNDLE, copy_rule) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", "concurrency = 1", LOOT)
        command = [sys.executable, "-m", "kinprint", *audit(path)]
        status, shown = on_terminal(command, (QUESTION, "y"))
    assert status == 10, shown
    assert "only allowed this time" in shown


def test_a_host_in_the_private_network_is_asked_for_before_it_is_asked(tmp_path: Path) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", "concurrency = 1")
        path.write_text(path.read_text().replace("127.0.0.1", "127.1"))
        refused = run(*audit(path))
        assert refused.returncode == 2
        assert "127.1, which is 127.0.0.1 here, this machine" in refused.stderr
        command = [sys.executable, "-m", "kinprint", *audit(path)]
        assert on_terminal(command, (QUESTION, "y"))[0] == 10
        assert run(*audit(path)).returncode == 10


@pytest.mark.parametrize("text", ["HOME_SECRET", "env:HOME_SECRET", "env:A@https://v.example/x"])
def test_a_grant_that_says_something_else_is_told(tmp_path: Path, text: str) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml")
        done = run(*audit(path, "--allow", text))
        assert server.num_requests == 0
    assert done.returncode == 2
    assert "allow: expected env:NAME@HOST" in done.stderr


def test_python_passes_what_is_allowed(tmp_path: Path) -> None:
    bundle = read_bundle(GOLDEN_BUNDLE, TRUST)
    with vendor(BUNDLE, copy_rule) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", "concurrency = 1", LOOT)
        with pytest.raises(NotGrantedError, match="HOME_SECRET"):
            open_remote(bundle, path)
        open_remote(bundle, path, allow=[f"env:HOME_SECRET@{origin_of(server.url)}"]).close()
