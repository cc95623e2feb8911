"""``kinprint trust``: a key that was added counts without --trust, and no more when it is gone."""

import os
from pathlib import Path

import pytest
from worlds.bundle_builder import GOLDEN, OWNER_KEY, STRANGER_KEY
from worlds.in_process import run

import kinprint
from audit.errors import AuditError
from audit.signing.keys import load_private_key, trusted_folder, write_key_pair


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    write_key_pair(tmp_path / "owner.key", OWNER_KEY, None)
    write_key_pair(tmp_path / "stranger.key", STRANGER_KEY, None)
    return tmp_path


def test_a_key_that_is_added_counts_until_it_is_removed(keys: Path) -> None:
    key_id = OWNER_KEY.public_key.key_id
    assert run("inspect", GOLDEN).returncode == 13
    added = run("trust", "add", keys / "owner.pub")
    assert added.stdout.strip() == key_id
    assert run("inspect", GOLDEN).returncode == 0
    listed = run("trust", "list")
    assert listed.stdout.split() == [key_id, "owner"]
    removed = run("trust", "remove", key_id[:8])
    assert removed.returncode == 0
    assert key_id in removed.stderr
    assert run("inspect", GOLDEN).returncode == 13
    assert run("trust", "list").stdout == ""


def test_adding_twice_keeps_one_and_a_taken_name_is_refused(keys: Path) -> None:
    assert run("trust", "add", keys / "owner.pub", "--name", "acme").returncode == 0
    assert "trusted as acme" in run("trust", "add", keys / "owner.pub").stderr
    refused = run("trust", "add", keys / "stranger.pub", "--name", "acme")
    assert refused.returncode == 2
    assert "'acme' is trusted already, with another key" in refused.stderr
    assert [path.name for path in trusted_folder().iterdir()] == ["acme.pub"]


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "esc\x1b[2J"])
def test_a_name_that_is_no_file_name_is_refused(keys: Path, name: str) -> None:
    refused = run("trust", "add", keys / "owner.pub", "--name", name)
    assert refused.returncode == 2
    assert "name: expected the name of a file" in refused.stderr
    assert "\x1b" not in refused.stderr
    assert not list(trusted_folder().glob("*"))


@pytest.mark.parametrize("wanted", ["nobody", "", "0000000", "ffffffff"])
def test_who_is_not_there_is_not_removed(keys: Path, wanted: str) -> None:
    run("trust", "add", keys / "owner.pub")
    refused = run("trust", "remove", wanted)
    assert refused.returncode == 2
    assert "kinprint trust list" in refused.stderr
    assert len(list(trusted_folder().iterdir())) == 1


def test_no_private_key_and_no_other_file_is_trusted(keys: Path) -> None:
    refused = run("trust", "add", keys / "owner.key")
    assert refused.returncode == 2
    assert "expected an Ed25519 public key" in refused.stderr
    assert not trusted_folder().exists()


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such modes")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
def test_a_private_key_that_others_may_read_is_refused(keys: Path, mode: int) -> None:
    path = keys / "owner.key"
    path.chmod(mode)
    with pytest.raises(AuditError, match=f"mode {mode:04o}.*chmod 600"):
        load_private_key(path)
    path.chmod(0o600)
    assert load_private_key(path).public_key == OWNER_KEY.public_key


def test_a_script_may_name_one_key_and_sees_what_there_is(keys: Path) -> None:
    assert kinprint.open_bundle(GOLDEN, trust=keys / "owner.pub").manifest.owner
    assert kinprint.open_bundle(GOLDEN, trust=str(keys / "owner.pub")).manifest.owner
    assert set(kinprint.__all__) <= set(dir(kinprint))
