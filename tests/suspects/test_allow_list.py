"""What a user has allowed is remembered, and nobody else can add to it."""

import json
import os
import stat
from pathlib import Path

import pytest

from adapters.endpoint.grants import NOTHING, parse_grant
from audit.errors import AuditError
from audit.signing.keys import trusted_folder
from audit.suspects.allow_list import allow_list_path, load_grants, remember_grants

KEY = parse_grant("env:VENDOR_KEY@api.vendor.example")
FILE = parse_grant("file:/home/me/vendor.key@http://127.0.0.1:8000")


def test_it_lies_beside_the_trusted_keys() -> None:
    assert allow_list_path().parent == trusted_folder().parent


def test_what_was_allowed_stays_allowed_and_is_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "new" / "allowed.json"
    assert load_grants(path) == NOTHING
    remember_grants([KEY], path)
    remember_grants([FILE, KEY], path)
    assert load_grants(path) == {KEY, FILE}
    lines = [line.strip().rstrip(",") for line in path.read_text().splitlines()]
    assert f'"{KEY}"' in lines
    assert f'"{FILE}"' in lines
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["allowed.json"]


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_list_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "allowed.json"
    remember_grants([KEY], path)
    path.chmod(mode)
    with pytest.raises(AuditError, match=f"only you can write, got mode {mode:04o}"):
        load_grants(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"allowed": ["env:VENDOR_KEY"]}',
        '{"allowed": "env:K@v.example"}',
        '{"allowed": [], "format_version": 2}',
        '{"allowed": [], "also": 1}',
        '{"allowed": ["file:vendor.key@api.vendor.example"]}',
    ],
)
def test_a_damaged_list_is_told_and_allows_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "allowed.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(AuditError, match=r"allow: expected .*allowed\.json"):
        load_grants(path)
    with pytest.raises(AuditError, match="allow: expected"):
        remember_grants([KEY], path)
    assert path.read_text() == text


def test_a_link_that_takes_the_place_of_an_allowed_file_is_another_file(tmp_path: Path) -> None:
    path, key = tmp_path / "allowed.json", tmp_path / "vendor.key"
    grant = parse_grant(f"file:{key}@api.vendor.example")
    remember_grants([grant], path)
    (tmp_path / "private").write_text("topsecret")
    key.symlink_to(tmp_path / "private")
    assert load_grants(path) == {grant}


def test_a_list_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError, match="allow: cannot"):
        remember_grants([KEY], tmp_path / "file" / "allowed.json")


def test_names_of_any_kind_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "allowed.json"
    odd = [parse_grant('file:/tmp/ü@b "c"\n@api.vendor.example'), KEY]
    remember_grants(odd, path)
    assert load_grants(path) == set(odd)
    assert json.loads(path.read_text())["format"] == "kinprint-allowed"
