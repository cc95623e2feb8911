"""A whole audit, against a vendor that repeats the secret everywhere: it is found nowhere."""

import json
from pathlib import Path

import pytest
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import run
from worlds.own_process import kinprint
from worlds.record_builder import AUDITOR_KEY, GOLDEN_BUNDLE, audited_contents, copy_rule
from worlds.servers.fault_proxy import LASTING, Fault
from worlds.servers.vendor_server import Vendor, vendor

from adapters.endpoint.grants import origin_of
from audit.signing.keys import write_key_pair

SECRET = "sk/l1ve+ABCDEFGH0123456789"
FORMS = (SECRET, "sk%2Fl1ve%2BABCDEFGH0123456789", "ABCDEFGH", "l1ve")
AUTH = '[auth]\nscheme = "Bearer"\nenv = "VENDOR_KEY"'
METADATA = '\n[answer.metadata]\nwho = "echo"'
BUNDLE = audited_contents()
ECHO_HEADERS = (("X-Model-Name", f"model of {SECRET}"), ("Server", SECRET), ("Via", SECRET))


def environment(folder: Path) -> dict[str, str]:
    return {
        "VENDOR_KEY": SECRET,
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONWARNINGS": "default",
    }


def echoing(number: int) -> Fault | None:
    """Fail twice with the secret in the body, else add it to headers and document."""
    if number in (2, 9):
        body = f"request of {SECRET} failed".encode()
        return Fault(status=503, headers=(("Retry-After", "0"), *ECHO_HEADERS), body=body)
    return Fault(
        headers=ECHO_HEADERS,
        change=lambda body: json.dumps({**json.loads(body), "echo": f"you are {SECRET}"}).encode(),
    )


def everything_under(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_nowhere(where: dict[str, bytes]) -> None:
    for name, content in where.items():
        for form in FORMS:
            assert form.encode() not in content, f"{form} is in {name}"


def endpoint_file(folder: Path, server: Vendor) -> Path:
    path = server.endpoint_file(
        folder / "vendor.toml",
        'requests_per_second = 500\ncurrency = "USD"\nprice_per_image = 1.0',
        METADATA,
    )
    text = path.read_text().replace("[request]", AUTH + "\n[request]", 1)
    path.write_text(text)
    return path


def leave(server: Vendor) -> list[str]:
    """Return the options that let this server have the secret."""
    return ["--allow", f"env:VENDOR_KEY@{origin_of(server.url)}"]


def test_no_file_and_no_output_of_an_audit_holds_the_secret(tmp_path: Path) -> None:
    key = tmp_path / "auditor.key"
    write_key_pair(key, AUDITOR_KEY, None)
    record, report, junit = (tmp_path / name for name in ("a.kinrecord", "a.html", "a.xml"))
    with vendor(BUNDLE, copy_rule, echoing) as server:
        done = kinprint(
            "--debug", "audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--yes",
            "--endpoint", endpoint_file(tmp_path, server), "--json", "--junit", junit,
            "--record", record, "--auditor-key", key, *leave(server), **environment(tmp_path),
        )  # fmt: skip
        assert SECRET.encode() in server.requests_text  # it did travel
    assert done.returncode == 10, done.stderr
    reported = run(
        "report", record, "--bundle", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY,
        "--trust", key.with_suffix(".pub"), "-o", report, **environment(tmp_path),
    )  # fmt: skip
    assert reported.returncode == 0, reported.stderr
    shown = run("record", "list", **environment(tmp_path))
    found = everything_under(tmp_path)
    assert {"a.kinrecord", "a.html", "a.xml", "vendor.toml"} <= set(found)
    assert any(name.endswith("journal.sqlite") for name in found)
    assert any(name.endswith("pace.sqlite") for name in found)
    assert b"model of ***" in found["a.kinrecord"]  # it was repeated, and masked
    outputs = {
        f"{number}": (out + err).encode()
        for number, (out, err) in enumerate(
            (each.stdout, each.stderr) for each in (done, reported, shown)
        )
    }
    assert_nowhere({**found, **outputs})


@pytest.mark.parametrize("kind", LASTING)
def test_no_error_shows_the_secret_even_with_debug(tmp_path: Path, kind: str) -> None:
    fault = LASTING[kind].fault
    body = (fault.body or b"") + f" {SECRET}".encode()
    headers = tuple((name, f"{value}/{SECRET}") for name, value in fault.headers)
    bad = Fault(status=fault.status, headers=(*headers, *ECHO_HEADERS), body=body)
    with vendor(BUNDLE, copy_rule, lambda number: bad) as server:
        path = endpoint_file(tmp_path, server)
        done = run(
            "--debug", "audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--yes",
            "--endpoint", path, *leave(server), **environment(tmp_path),
        )  # fmt: skip
    assert done.returncode == 1
    told = done.stdout + done.stderr
    assert "Traceback" in told
    assert_nowhere({**everything_under(tmp_path), "stderr": told.encode()})


@pytest.mark.parametrize("is_insecure", [False, True])
def test_credentials_leave_over_plain_http_only_where_somebody_says_so(
    tmp_path: Path, is_insecure: bool
) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        path = endpoint_file(tmp_path, server)
    path.write_text(path.read_text().replace("127.0.0.1", "vendor.invalid"))
    options = [
        "--allow",
        f"env:VENDOR_KEY@{origin_of(server.url)}".replace("127.0.0.1", "vendor.invalid"),
    ]
    options += ["--insecure"] if is_insecure else []
    done = run(
        "audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--yes", "--endpoint", path,
        *options, **environment(tmp_path),
    )  # fmt: skip
    if is_insecure:
        assert done.returncode == 14
        assert "got no such host" in done.stderr
    else:
        assert done.returncode == 2
        assert "expected https, got http with credentials to another machine" in done.stderr
        assert "--insecure" in done.stderr
