"""Keys of OpenSSH, as ``ssh-keygen`` writes them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from audit.errors import AuditError
from audit.signing.keys import Trust, load_private_key, load_public_key
from audit.signing.openssh import openssh_fingerprint

SSH_KEYGEN = shutil.which("ssh-keygen")
pytestmark = pytest.mark.skipif(SSH_KEYGEN is None, reason="ssh-keygen is not installed")


def keygen(path: Path, *options: str, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Let OpenSSH write a pair and return the private key's path."""
    assert SSH_KEYGEN is not None
    subprocess.run(
        [SSH_KEYGEN, "-q", "-t", kind, "-N", passphrase, "-C", "me@here", "-f", path, *options],
        check=True,
    )
    return path


def test_both_halves_of_a_pair_are_read_and_shown_as_ssh_keygen_shows_them(tmp_path: Path) -> None:
    path = keygen(tmp_path / "id_ed25519")
    public = load_public_key(tmp_path / "id_ed25519.pub")
    key = load_private_key(path, "a passphrase that it does not need")
    Trust(keys=(public,)).require(key.public_key)
    assert SSH_KEYGEN is not None
    shown = subprocess.run([SSH_KEYGEN, "-lf", path], capture_output=True, text=True, check=True)
    assert shown.stdout.split()[1] == openssh_fingerprint(public.raw)


def test_a_passphrase_opens_a_private_key(tmp_path: Path) -> None:
    pytest.importorskip("bcrypt")
    path = keygen(tmp_path / "id_ed25519", "-a", "1", passphrase="correct horse")
    public = load_public_key(tmp_path / "id_ed25519.pub")
    assert load_private_key(path, "correct horse").public_key == public
    with pytest.raises(AuditError, match=r"passphrase: it does not open this key.*id_ed25519"):
        load_private_key(path, "wrong horse")


def test_without_bcrypt_a_passphrase_is_told_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = keygen(tmp_path / "id_ed25519", "-a", "1", passphrase="correct horse")
    with pytest.raises(AuditError, match=r"passphrase: this key is encrypted"):
        load_private_key(path)
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(AuditError, match=r'needs bcrypt.*pip install "kinprint\[ssh\]"'):
        load_private_key(path, "correct horse")


def test_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = keygen(tmp_path / "id_ecdsa", kind="ecdsa")
    with pytest.raises(AuditError, match=r"expected an Ed25519 key \(ssh-keygen -t ed25519\)"):
        load_private_key(path)
    with pytest.raises(AuditError, match="expected an ssh-ed25519 key, got another kind"):
        load_public_key(tmp_path / "id_ecdsa.pub")


def test_damaged_and_several_keys_are_refused(tmp_path: Path) -> None:
    path = keygen(tmp_path / "id_ed25519")
    public = tmp_path / "id_ed25519.pub"
    line = public.read_text()
    public.write_text(line + line)
    with pytest.raises(AuditError, match="expected one public key, got several lines"):
        load_public_key(public)
    public.write_text(line[:40] + "\n")
    with pytest.raises(AuditError, match="expected an Ed25519 public key"):
        load_public_key(public)
    text = path.read_text()
    for damaged in (text[:150], text.replace("b3Bl", "!!!!", 1)):
        path.write_text(damaged)
        with pytest.raises(AuditError, match="got a damaged one"):
            load_private_key(path)
