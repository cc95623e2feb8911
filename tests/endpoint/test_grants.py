"""A stranger's endpoint file gets nothing of this machine that its user has not allowed."""

import re
from pathlib import Path

import pytest
from worlds.servers.http_faults import endpoint_file, scripted_server

from adapters.endpoint.grants import (
    Grant,
    GrantKind,
    NotGrantedError,
    origin_of,
    parse_grant,
    typed_grants,
)
from adapters.endpoint.local_access import LocalAccess
from adapters.http.opening import open_endpoint
from adapters.suspect import SuspectConfigError

SECRET = "topsecret-0123456789"
LOOT = '[auth]\nheader = "X-Loot"\n'
URL = "https://stranger.example/collect"
AWS = f'format = "sagemaker"\nurl = "{URL}"\n[aws]\nregion = "eu-west-1"\n'


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a secret where users have theirs: into a variable and a private file."""
    for name in ("HOME_SECRET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    (tmp_path / "home").mkdir()
    path = tmp_path / "home" / "id"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


def files(folder: Path, private: Path) -> dict[str, Path]:
    """Write one endpoint file for each way of taking something."""
    texts = {
        "variable": f'{LOOT}env = "HOME_SECRET"',
        "file": f'{LOOT}file = "{private}"',
        "file above": f'{LOOT}file = "home/../home/id"',
    }
    found = {}
    for name, tables in texts.items():
        found[name] = endpoint_file(folder, URL, tables=tables).rename(folder / f"{name}.toml")
    found["authorities"] = endpoint_file(folder, URL, 'ca_bundle = "home/id"')
    for name, line in (
        ("keys", ""),
        ("key file", f'file = "{private}"'),
        ("profile", 'profile="p"'),
    ):
        found[name] = folder / f"{name}.toml"
        found[name].write_text(AWS + line)
    return found


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("variable", ["env:HOME_SECRET@stranger.example"]),
        ("file", ["file:{private}@stranger.example"]),
        ("file above", ["file:{private}@stranger.example"]),
        ("authorities", ["file:{private}@stranger.example"]),
        (
            "keys",
            [
                "env:AWS_ACCESS_KEY_ID@stranger.example",
                "env:AWS_SECRET_ACCESS_KEY@stranger.example",
            ],
        ),
        ("key file", ["file:{private}@stranger.example"]),
        ("profile", ["profile:p@stranger.example"]),
    ],
)
def test_nothing_is_read_before_it_is_granted_and_the_error_says_what_to_give(
    tmp_path: Path, private: Path, name: str, asked: list[str]
) -> None:
    path = files(tmp_path, private)[name]
    if "file" in name or name == "authorities":
        private.unlink()  # whoever opened it would say that it is not there
    with pytest.raises(NotGrantedError, match="allow: expected your leave to use") as caught:
        open_endpoint(path, bundle_classes=["a", "b"])
    wanted = [text.format(private=private) for text in asked]
    assert [str(need.grant) for need in caught.value.needs] == wanted
    assert str(caught.value).endswith(" ".join(f"--allow {text}" for text in wanted))
    assert SECRET not in str(caught.value)


def test_what_is_granted_is_used_for_its_host_alone(tmp_path: Path, private: Path) -> None:
    with scripted_server() as server:
        path = endpoint_file(tmp_path, server.url, tables=f'{LOOT}env = "HOME_SECRET"')
        port = server.server_address[1]
        grants = typed_grants([f"env:HOME_SECRET@http://127.0.0.1:{port}"])
        open_endpoint(path, grants=grants).close()
        for other in (
            f"env:HOME_SECRET@127.0.0.1:{port}",  # https
            "env:HOME_SECRET@http://127.0.0.1",
            f"env:HOME_SECRET@http://localhost:{port}",
            f"env:OTHER@http://127.0.0.1:{port}",
            f"file:HOME_SECRET@http://127.0.0.1:{port}",
        ):
            with pytest.raises(NotGrantedError, match="expected your leave"):
                open_endpoint(path, grants=typed_grants([other]))


def test_a_link_is_followed_before_it_is_granted(tmp_path: Path, private: Path) -> None:
    (tmp_path / "own.key").symlink_to(private)
    path = endpoint_file(tmp_path, URL, tables=f'{LOOT}file = "own.key"')
    seen = Grant(kind=GrantKind.FILE, name=str(tmp_path / "own.key"), origin=origin_of(URL))
    with pytest.raises(NotGrantedError, match=re.escape(f"the file {private} for")):
        open_endpoint(path, grants=frozenset([seen]))
    # Who types the name of a link means what it leads to now.
    typed = typed_grants([f"file:{tmp_path}/own.key@stranger.example"])
    open_endpoint(path, grants=typed).close()


def test_variables_that_are_not_set_need_no_leave(tmp_path: Path) -> None:
    access = LocalAccess(folder=tmp_path, origin=origin_of(URL), environment={"A": "", "B": "b"})
    assert access.variables(["A", "NONE"], "in a header") == ["", ""]
    with pytest.raises(NotGrantedError, match="the environment variable B for") as caught:
        access.variables(["A", "B", "B"], "in a header")
    assert len(caught.value.needs) == 1


def test_a_secret_goes_to_the_host_of_the_address_and_no_other(tmp_path: Path) -> None:
    tables = f'{LOOT}env = "HOME_SECRET"\n[headers]\nhost = "other.example"'
    with pytest.raises(SuspectConfigError, match="headers: expected no 'Host' beside credentials"):
        open_endpoint(endpoint_file(tmp_path, URL, tables=tables))


def test_what_a_file_says_does_not_drive_the_terminal(tmp_path: Path) -> None:
    tables = f'{LOOT}file = "\\u001b[2J\\u202e.key"'
    with pytest.raises(NotGrantedError, match=r"\?\[2J\?\.key") as caught:
        open_endpoint(endpoint_file(tmp_path, URL, tables=tables))
    assert "".join(filter(str.isprintable, str(caught.value))) == str(caught.value)


def test_a_file_that_nobody_can_have_is_an_error_of_its_file(tmp_path: Path) -> None:
    tables = f'{LOOT}file = "a\\u0000b"'
    with pytest.raises(SuspectConfigError, match="file: expected the name of one"):
        open_endpoint(endpoint_file(tmp_path, URL, tables=tables))


@pytest.mark.parametrize(
    "text",
    [
        "env:VENDOR_KEY@api.vendor.example",
        "env:VENDOR_KEY@api.vendor.example:8443",
        "env:VENDOR_KEY@http://127.0.0.1:8000",
        "env:VENDOR_KEY@http://[::1]",
        "file:/a b/c@d.key@api.vendor.example",
        "profile:audit@runtime.sagemaker.eu-west-1.amazonaws.com",
        "address:models.internal",
        "address:fe80::1",
    ],
)
def test_a_grant_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_grant(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "VENDOR_KEY",
        "env:VENDOR_KEY",
        "env:@api.vendor.example",
        "env:KEY@",
        "env:KEY@ftp://api.vendor.example",
        "env:KEY@https://api.vendor.example/v1",
        "env:KEY@api.vendor.example:x",
        "env:KEY@https://?a=b",
        "command:ls@api.vendor.example",
        "file:key@api.vendor.example",
        "address:",
        "address:models.internal:8000",
        "address:http://models.internal",
    ],
)
def test_a_grant_that_says_something_else_is_refused(text: str) -> None:
    with pytest.raises(SuspectConfigError, match="allow: expected"):
        parse_grant(text)


def test_typed_files_are_meant_from_the_folder_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    grants = typed_grants(["file:keys/a@v.example", "file:~/b@v.example"])
    assert {str(grant) for grant in grants} == {
        f"file:{tmp_path}/keys/a@v.example",
        f"file:{tmp_path}/me/b@v.example",
    }
