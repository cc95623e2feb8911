"""Endpoint files: what is read, and how each mistake is named."""

import os
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from worlds.allowed import open_allowed
from worlds.servers.http_faults import endpoint_file
from worlds.servers.private_authority import make_authority

from adapters.class_map import class_map
from adapters.endpoint.description import EndpointDescription
from adapters.http.endpoint_file import known_formats, line_of, read_endpoint_file
from adapters.http.opening import open_endpoint
from adapters.suspect import SuspectConfigError

URL = "https://vendor.example/v1/classify"
GUIDE_PATH = Path(__file__).parents[2] / "docs" / "endpoints.md"


def read(tmp_path: Path, fields: str = "", tables: str = "", url: str = URL) -> EndpointDescription:
    return read_endpoint_file(endpoint_file(tmp_path, url, fields, tables))


def with_classes(tmp_path: Path, class_names: str) -> Path:
    path = endpoint_file(tmp_path, URL)
    text = path.read_text().replace('["cat", "dog", "horse"]', class_names)
    path.write_text(text)
    return path


def test_a_short_file_gets_the_documented_defaults(tmp_path: Path) -> None:
    description = read(tmp_path)
    assert description.timeout_s == 30
    assert description.retries == 5
    assert description.concurrency == 4
    assert description.requests_per_second is None
    assert description.image.encoding == "png"
    assert description.image.size is None


def test_generic_is_a_known_format_and_helpers_are_not() -> None:
    assert "generic" in known_formats()
    assert "protocol" not in known_formats()


@pytest.mark.parametrize(
    ("fields", "tables", "message"),
    [
        ("timeot_s = 3", "", r"line 4: timeot_s: expected no such field; did you mean timeout_s\?"),
        ("wibble = 3", "", r"line 4: wibble: expected no such field; known are format, url, "),
        ('timeout_s = "3"', "", r"line 4: timeout_s: expected a valid number, got '3'"),
        ("timeout_s = 0", "", r"line 4: timeout_s: expected greater than 0, got 0"),
        ("retries = -1", "", r"line 4: retries: expected greater than or equal to 0, got -1"),
        ("concurrency = 0", "", r"concurrency: expected greater than or equal to 1, got 0"),
        ("requests_per_second = inf", "", r"requests_per_second: expected a finite number"),
        ("image = 3", "", r"line 4: image: expected a table, got 3"),
        ('method = "GET"', "", r"line 4: method: expected 'POST' or 'PUT', got 'GET'"),
        ("", 'scroes = "p"', r"line 9: answer.scroes: .* did you mean scores\?"),
        ("", 'scores = "a["', r"line 9: answer.scores: expected a JMESPath expression, got 'a\['"),
        ("", "[image]\nsize = [0, 3]", r"line 10: image.size: expected height and width from 1"),
        ("", '[image]\nencoding = "gif"', r"image.encoding: expected 'png' or 'jpeg', got 'gif'"),
        ("", '[image]\nencodng = "png"', r"line 10: image.encodng: .* did you mean encoding\?"),
        (
            "",
            '[auth]\nheader = "X-Key"',
            r"line 9: auth: expected one of env, file and command, got neither",
        ),
        (
            "",
            '[auth]\nenv = "A"\nfile = "b"',
            r"auth: expected one of env, file and command, got both",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_line(
    tmp_path: Path, fields: str, tables: str, message: str
) -> None:
    with pytest.raises(SuspectConfigError, match=message):
        read(tmp_path, fields, tables)


def test_all_wrong_fields_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SuspectConfigError, match=r"(?s)timeout_s: .*\n.*retries: "):
        read(tmp_path, 'timeout_s = "3"\nretries = -1')


def test_a_toml_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SuspectConfigError, match=r"expected TOML, got a mistake: .*line 4"):
        read(tmp_path, "retries = = 3")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuspectConfigError, match=r"none\.toml: expected an endpoint file, got No"):
        read_endpoint_file(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"format: expected one of .*generic.*, got nothing"),
        ('url = "x"\nformat = "genric"', r"line 2: format: expected one of .*; did you mean gen"),
        ('format = "protocol"', r"format: expected one of .*, got 'protocol'"),
        (
            'format = "generic"',
            r"(?s)url: expected a value, got nothing; add it.*request: .*answer",
        ),
        ("format = \xff", r"expected TOML"),
    ],
)
def test_a_file_that_says_too_little_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "endpoint.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SuspectConfigError, match=message):
        read_endpoint_file(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.toml"
    path.write_bytes(b"\x80\x81")
    with pytest.raises(SuspectConfigError, match="expected UTF-8 text, got other bytes"):
        read_endpoint_file(path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("vendor.example/classify", "expected http:// or https:// and a host"),
        ("ftp://vendor.example/", "expected http:// or https:// and a host"),
        ("https://vendor.example:99999/", "expected a URL, got one that cannot be read"),
        ("https://me:s3cret@vendor.example/", "expected no user or password in it"),
        ("https://vendor.example/?api_key=s3cret", "got the query field 'api_key'; name the"),
        ("https://vendor.example/#top", "expected no #fragment"),
        ("https://vendor.example/a b", "expected ASCII without blanks"),
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(
    tmp_path: Path, url: str, message: str
) -> None:
    with pytest.raises(SuspectConfigError, match=f"line 2: url: .*{message}") as caught:
        read(tmp_path, url=url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("Authorization", "Bearer s3cret", "expected nothing secret, got 'Authorization'"),
        ("X-Api-Key", "s3cret", "expected nothing secret, got 'X-Api-Key'"),
        ("Content-Length", "3", "it is set for you; leave it out"),
        ("X-Team", "a\\nb", "expected printable ASCII as 'X-Team'"),
    ],
)
def test_a_header_that_must_not_be_in_the_file_is_refused(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    with pytest.raises(SuspectConfigError, match=message) as caught:
        read(tmp_path, tables=f'[headers]\n{name} = "{value}"')
    assert "s3cret" not in str(caught.value)


def test_a_secret_in_a_wrong_field_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SuspectConfigError, match=r"auth\.token: expected no such field") as caught:
        read(tmp_path, tables='[auth]\nenv = "9-s3cret"\ntoken = "s3cret"')
    assert "s3cret" not in str(caught.value)


def test_credentials_over_plain_http_to_another_machine_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SuspectConfigError, match="url: expected https, got http with credentials"):
        read(tmp_path, tables='[auth]\nenv = "KEY"', url="http://vendor.example/")


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:80"])
def test_credentials_over_plain_http_to_this_machine_are_allowed(tmp_path: Path, host: str) -> None:
    assert read(tmp_path, tables='[auth]\nenv = "KEY"', url=f"http://{host}/").is_loopback


@pytest.mark.parametrize(
    ("class_names", "message"),
    [
        ('["cat"]', "expected at least 2 classes, got 1"),
        ('["cat", ""]', "expected labels as non-empty strings, got ''"),
        ('["cat", 2]', "expected labels as non-empty strings, got 2"),
        ('"cat"', "expected a list or a table, got 'cat'"),
        ("{ cat = 0, dog = 0 }", "expected at least 2 classes, got 1"),
        ("{ cat = 0, dog = 2 }", "expected every class from 0 to 2, got none for 1"),
        ('{ cat = 0, dog = "Dog" }', "expected label = index throughout, or label = name"),
        ("{ cat = true, dog = false }", "expected label = index throughout, or label = name"),
    ],
)
def test_a_class_map_with_gaps_is_refused(tmp_path: Path, class_names: str, message: str) -> None:
    with pytest.raises(SuspectConfigError, match=f"line 3: class_names: {message}"):
        read_endpoint_file(with_classes(tmp_path, class_names))


@pytest.mark.parametrize(
    ("class_names", "bundle_classes", "message"),
    [
        ('["a", "b", "c"]', ["x", "y"], "expected the bundle's 2 classes, got 3"),
        ('["dog", "cat"]', ["cat", "dog"], r"the bundle's order \(cat, dog\), got the same names"),
        ('{ a = "cat", b = "cow" }', ["cat", "dog"], "one of the bundle's cat, dog, got 'cow'"),
        ('{ a = "cat", b = "dog" }', None, "expected class indices, got names and no bundle"),
    ],
)
def test_a_class_map_that_does_not_fit_the_bundle_is_refused(
    tmp_path: Path, class_names: str, bundle_classes: list[str] | None, message: str
) -> None:
    with pytest.raises(SuspectConfigError, match=f"class_names: .*{message}"):
        open_endpoint(with_classes(tmp_path, class_names), bundle_classes=bundle_classes)


def test_a_file_without_classes_takes_the_names_of_the_bundle(tmp_path: Path) -> None:
    path = with_classes(tmp_path, "[]")
    path.write_text(path.read_text().replace("class_names = []\n", ""))
    classes = class_map(read_endpoint_file(path).class_names, ["cat", "dog"])
    assert classes.class_of("dog") == 1
    with pytest.raises(SuspectConfigError, match="class_names: expected the vendor's labels"):
        open_endpoint(path)


def test_a_map_to_names_follows_the_order_of_the_bundle(tmp_path: Path) -> None:
    path = with_classes(tmp_path, '{ Hund = "dog", Katze = "cat" }')
    classes = class_map(read_endpoint_file(path).class_names, ["cat", "dog"])
    assert (classes.class_of("Katze"), classes.class_of("Hund")) == (0, 1)


def test_the_digest_follows_the_question_and_not_the_pace(tmp_path: Path) -> None:
    digest = read(tmp_path).digest()
    assert read(tmp_path, "retries = 1\ntimeout_s = 9", '[auth]\nenv = "K"').digest() == digest
    assert read(tmp_path, tables='[image]\nencoding = "png"').digest() == digest
    assert read(tmp_path, tables="[image]\nsize = [64, 64]").digest() != digest
    assert read(tmp_path, url=URL + "?version=2").digest() != digest


def test_lines_inside_a_long_string_are_not_taken_for_fields() -> None:
    text = "a = '''\nurl = 1\n[auth]\n'''\nurl = 2"
    assert line_of(text, ("url",)) == 5
    assert line_of(text, ("auth",)) is None


def client_pair(folder: Path, passphrase: bytes) -> None:
    """Write a certificate and its key as the guide's example names them."""
    make_authority(folder).server("client")
    (both,) = (path for path in folder.glob("*.pem") if path.name != "root.pem")
    key = serialization.load_pem_private_key(both.read_bytes(), None)
    (folder / "client.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase),
        )
    )
    (folder / "client.key").chmod(0o600)
    both.rename(folder / "client.pem")


def test_every_example_of_the_guide_opens_and_every_format_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = GUIDE_PATH.read_text(encoding="utf-8")
    variables = re.findall(r'^\w*env = "(\w+)"', guide, re.MULTILINE)
    client_pair(tmp_path, b"secret")
    program = tmp_path / "gcloud"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for variable in (*variables, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "secret")
    found = set()
    for example in re.findall(r"```toml\n(.*?)```", guide, re.DOTALL):
        path = tmp_path / "endpoint.toml"
        path.write_text(example, encoding="utf-8")
        endpoint = open_allowed(path, bundle_classes=["cat", "dog", "horse"])
        found.add(endpoint.description.format)
        endpoint.close()
    assert found == set(known_formats())
    assert all(f"### `{name}`" in guide for name in found)


def test_one_number_stands_for_a_list_of_one(tmp_path: Path) -> None:
    text = 'format = "mlflow"\nurl = "http://127.0.0.1/i"\n[request.tensor]\nmean = {}\nstd = {}\n'
    digests = set()
    for mean, std in (("0.5", "2"), ("[0.5]", "[2.0]")):
        path = tmp_path / "endpoint.toml"
        path.write_text(text.format(mean, std))
        digests.add(read_endpoint_file(path).digest())
    assert len(digests) == 1
