import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from worlds.in_process import Done, run
from worlds.own_process import kinprint
from worlds.tiny_task import CLASSES, MEAN, STD
from worlds.tiny_world import TinyWorld

from audit.api import open_bundle
from generator.demo.server import start_server, write_endpoint_file


def audit(world: TinyWorld, *arguments: object) -> Done:
    data = world.folder / "data"
    return run(
        "audit", world.bundle, "--trust", world.public_key, *arguments, XDG_DATA_HOME=str(data)
    )


def document(done: Done) -> dict[str, Any]:
    loaded = json.loads(done.stdout)
    assert isinstance(loaded, dict)
    return loaded


@contextmanager
def served(world: TinyWorld, name: str, folder: Path, delay_s: float = 0.0) -> Iterator[Path]:
    model = world.folder / f"{name}.onnx"
    with start_server(model, CLASSES, mean=MEAN, std=STD, delay_s=delay_s) as server:
        write_endpoint_file(folder / f"{name}.toml", server.port, CLASSES)
        yield folder / f"{name}.toml"


def test_a_copy_is_derived_and_a_stranger_is_not(tiny_world: TinyWorld) -> None:
    arguments = ["audit", tiny_world.bundle, "--trust", tiny_world.public_key]
    copy, stranger = (
        kinprint(*arguments, "--onnx", tiny_world.folder / f"{name}.onnx")
        for name in ("copy", "stranger")
    )
    assert (copy.returncode, stranger.returncode) == (10, 0), copy.stderr + stranger.stderr
    assert "derived" in copy.stdout
    assert "independent" in stranger.stdout


def test_a_narrow_terminal_cuts_off_names_and_never_a_verdict(tiny_world: TinyWorld) -> None:
    # As a shell writes out --onnx *.onnx.
    suspects = ["--onnx", tiny_world.folder / "copy.onnx", tiny_world.folder / "stranger.onnx"]
    for width in ("60", "80", "140"):
        done = run(
            "audit", tiny_world.bundle, "--trust", tiny_world.public_key, *suspects, COLUMNS=width
        )
        header, copy, stranger = done.stdout.splitlines()[:3]
        assert " derived " in copy
        assert " independent " in stranger
        assert ("MFUE rate" in header) == ("rank corr." in header) == (width == "140")


def test_several_suspects_are_one_document_and_the_gravest_verdict_is_the_status(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no model")
    folder = tiny_world.folder
    options = ["--onnx", folder / "stranger.onnx", "--onnx", broken, "--onnx", folder / "copy.onnx"]
    done = audit(tiny_world, *options, "--json")
    told = document(done)
    assert done.returncode == told["exit_code"] == 10
    verdicts = [row.get("outcome", {}).get("verdict") for row in told["audits"]]
    assert verdicts == ["independent", None, "derived"]
    assert told["audits"][1]["suspect"]["path"] == str(broken)
    assert "expected an ONNX model" in told["audits"][1]["error"]


def test_labels_only_decides_by_labels_and_shows_no_score_that_needs_more(
    tiny_world: TinyWorld,
) -> None:
    copy = tiny_world.folder / "copy.onnx"
    full, labels = (
        document(audit(tiny_world, "--onnx", copy, "--json", *more))["audits"][0]["outcome"]
        for more in ([], ["--labels-only"])
    )
    assert [score["name"] for score in full["scores"]] == [
        "likelihood-ratio",
        "rank-correlation",
        "mfue-w",
    ]
    assert [score["name"] for score in labels["scores"]] == ["likelihood-ratio"]
    assert labels["scores"][0] == full["scores"][0]


def test_the_papers_scores_are_there_on_request(tiny_world: TinyWorld) -> None:
    options = ["--onnx", tiny_world.folder / "copy.onnx", "--json"]
    done = audit(tiny_world, *options, "--score", "mfue-w", "--score", "mfue-b")
    outcome = document(done)["audits"][0]["outcome"]
    assert [score["name"] for score in outcome["scores"]] == ["mfue-w", "mfue-b"]
    # A copy through another runtime: its losses are the source's up to float32 rounding.
    assert outcome["scores"][0]["value"] == 1.0
    assert outcome["scores"][1]["value"] == 1.0


def test_a_label_only_endpoint_gets_the_same_verdict_as_the_file(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    for name, status in (("copy", 10), ("stranger", 0)):
        with served(tiny_world, name, tmp_path) as endpoint:
            done = audit(tiny_world, "--endpoint", endpoint, "--json", "--ask-all")
        from_file = audit(tiny_world, "--onnx", tiny_world.folder / f"{name}.onnx", "--json")
        assert done.returncode == status, done.stderr
        assert (
            document(done)["audits"][0]["outcome"]["scores"][0]
            == document(from_file)["audits"][0]["outcome"]["scores"][0]
        )


def test_an_endpoint_is_asked_no_more_than_the_verdict_needs(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    for name, status in (("copy", 10), ("stranger", 0)):
        with served(tiny_world, name, tmp_path) as endpoint:
            done = audit(tiny_world, "--endpoint", endpoint, "--json")
        assert done.returncode == status, done.stderr
        outcome = document(done)["audits"][0]["outcome"]
        assert outcome["scores"][0]["stopped_early"]
        bundle = open_bundle(tiny_world.bundle, trust=[tiny_world.public_key])
        assert outcome["num_questions"] < len(bundle.arrays.controls) + len(bundle.arrays.queries)


def test_an_endpoint_is_asked_no_faster_than_was_said(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    with served(tiny_world, "copy", tmp_path) as endpoint:
        done = audit(tiny_world, "--endpoint", endpoint, "--json", "--rate", "40")
        wrong = audit(tiny_world, "--endpoint", endpoint, "--rate", "0")
    (row,) = document(done)["audits"]
    # n requests have n - 1 pauses of 1/40 s between their starts
    assert row["run"]["seconds"] >= 0.95 * (row["outcome"]["num_questions"] - 1) / 40
    assert wrong.returncode == 2
    assert "rate: expected more than 0 requests a second, got 0" in wrong.stderr


def test_a_killed_audit_resumes_with_the_same_record_and_asks_nothing_twice(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.sqlite"
    with served(tiny_world, "copy", tmp_path, delay_s=0.02) as endpoint:
        arguments = ["audit", tiny_world.bundle, "--trust", tiny_world.public_key]
        arguments += ["--endpoint", endpoint, "--ask-all", "--journal", journal, "--json"]
        process = subprocess.Popen(
            [sys.executable, "-m", "kinprint", *map(str, arguments)], stdout=subprocess.DEVNULL
        )
        while not journal.exists() or _num_answers(journal) < 20:
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        before = _num_answers(journal)
        resumed = run(*arguments, "--resume")
        whole = run(*arguments[:-3], "--journal", tmp_path / "other.sqlite", "--json")
    told, expected = (document(done)["audits"][0] for done in (resumed, whole))
    assert told["run"]["resumed_answers"] == before
    for one in (told, expected):  # each begins anywhere, so that other queries are early ones
        del one["outcome"]["scores"][0]["parts"]
    assert {**told, "run": None} == {**expected, "run": None}


def _num_answers(journal: Path) -> int:
    import sqlite3

    database = sqlite3.connect(journal)
    try:
        return int(database.execute("SELECT count(*) FROM answers").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        database.close()


def test_a_file_is_shown_by_the_name_it_has(tiny_world: TinyWorld, tmp_path: Path) -> None:
    path = tmp_path / "net[red]v2.onnx"
    path.write_bytes((tiny_world.folder / "copy.onnx").read_bytes())
    done = audit(tiny_world, "--onnx", path, "--journal", tmp_path / "j.sqlite", "--budget", "120")
    assert done.stdout.count("net[red]v2.onnx") == 2
    assert done.stderr == ""


def test_a_budget_that_is_too_small_stops_resumably(tiny_world: TinyWorld, tmp_path: Path) -> None:
    options = ["--onnx", tiny_world.folder / "copy.onnx", "--journal", tmp_path / "j.sqlite"]
    stopped = audit(tiny_world, *options, "--budget", "95")
    assert stopped.returncode == 12
    assert "--resume" in stopped.stdout
    assert audit(tiny_world, *options, "--resume").returncode == 10


@pytest.mark.parametrize("position", [0, 100, 5000, -1])
def test_a_changed_byte_of_the_bundle_is_refused(
    tiny_world: TinyWorld, tmp_path: Path, position: int
) -> None:
    data = bytearray(tiny_world.bundle.read_bytes())
    data[position] ^= 1
    changed = tmp_path / "changed.kinprint"
    changed.write_bytes(data)
    done = run(
        "audit",
        changed,
        "--trust",
        tiny_world.public_key,
        "--onnx",
        tiny_world.folder / "copy.onnx",
    )
    assert done.returncode == 13
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_bundle_cut_short_and_one_of_an_unknown_key_are_refused(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    short = tmp_path / "short.kinprint"
    short.write_bytes(tiny_world.bundle.read_bytes()[:-500])
    run("keygen", tmp_path / "other.key")
    suspect = ["--onnx", tiny_world.folder / "copy.onnx"]
    cut = run("audit", short, "--trust", tiny_world.public_key, *suspect)
    unknown = run("audit", tiny_world.bundle, "--trust", tmp_path / "other.pub", *suspect)
    assert cut.returncode == unknown.returncode == 13
    assert "trust" in unknown.stderr
    nobody = run("audit", tiny_world.bundle, *suspect, XDG_CONFIG_HOME=str(tmp_path / "empty"))
    assert nobody.returncode == 13 or nobody.returncode == 2
    assert "--trust" in nobody.stderr


def test_a_model_of_another_number_of_classes_is_named(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    import torch
    from torch import nn

    from generator.sources.onnx_export import export_onnx

    network = nn.Sequential(nn.Flatten(), nn.Linear(12 * 12 * 3, 7))
    with torch.random.fork_rng(devices=[]):
        export_onnx(network, tmp_path / "seven.onnx", image_shape=(12, 12, 3))
    done = audit(tiny_world, "--onnx", tmp_path / "seven.onnx")
    assert done.returncode in (2, 15)
    assert "7" in done.stderr
    assert "3" in done.stderr


class _Misbehaving(BaseHTTPRequestHandler):
    mode = "html"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = {
            "html": b"<html><body>Welcome</body></html>",
            "outside": b'{"label": "purple"}',
            "half": b'{"label": "gre',
        }[self.mode]
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.mode == "html" else "application/json")
        self.send_header("Content-Length", str(len(body) + (20 if self.mode == "half" else 0)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("mode", "message"), [("html", "got a web page"), ("outside", "'purple'"), ("half", "")]
)
def test_an_endpoint_that_answers_nonsense_stops_the_audit_clearly(
    tiny_world: TinyWorld, tmp_path: Path, mode: str, message: str
) -> None:
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (_Misbehaving,), {"mode": mode}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = tmp_path / "e.toml"
    write_endpoint_file(endpoint, server.server_port, CLASSES)
    endpoint.write_text("retries = 1\n" + endpoint.read_text())
    try:
        done = audit(tiny_world, "--endpoint", endpoint)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 14, done.stderr
    assert message in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_an_endpoint_that_is_down_is_unreachable(tiny_world: TinyWorld, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    endpoint = tmp_path / "e.toml"
    write_endpoint_file(endpoint, port, CLASSES)
    endpoint.write_text("retries = 1\n" + endpoint.read_text())
    assert audit(tiny_world, "--endpoint", endpoint).returncode == 14


def test_fail_on_chooses_which_verdicts_count(tiny_world: TinyWorld) -> None:
    copy = ["--onnx", tiny_world.folder / "copy.onnx"]
    assert audit(tiny_world, *copy, "--fail-on", "never").returncode == 0
    assert audit(tiny_world, *copy, "--fail-on", "derived").returncode == 10


def test_an_audit_needs_a_suspect_and_a_bundle(tiny_world: TinyWorld) -> None:
    nothing = audit(tiny_world)
    missing = run("audit", "no.kinprint", "--onnx", tiny_world.folder / "copy.onnx")
    assert (nothing.returncode, missing.returncode) == (2, 2)
    assert "no suspect" in nothing.stderr
    assert "no.kinprint" in missing.stderr


def test_a_mistyped_command_names_the_nearest() -> None:
    done = run("audti")
    assert done.returncode == 2
    assert "did you mean 'audit'" in done.stderr


def test_help_lists_the_commands_without_loading_anything_heavy() -> None:
    code = (
        "import sys, kinprint\n"
        "sys.argv = ['kinprint', '--help']\n"
        "try:\n    kinprint.main()\nexcept SystemExit as done:\n    assert not done.code\n"
        "heavy = {'numpy', 'pydantic', 'torch', 'rich', 'onnx', 'requests'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "audit" in done.stdout


def test_an_audit_never_imports_torch(tiny_world: TinyWorld, tmp_path: Path) -> None:
    code = (
        "import sys, kinprint\n"
        f"sys.argv = ['kinprint', 'audit', {str(tiny_world.bundle)!r}, '--trust', "
        f"{str(tiny_world.public_key)!r}, '--onnx', {str(tiny_world.folder / 'copy.onnx')!r}, "
        f"'--journal', {str(tmp_path / 'j.sqlite')!r}]\n"
        "try:\n    kinprint.main()\nexcept SystemExit as done:\n    assert done.code == 10\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_foreign_package_of_our_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "__init__.py").write_text('"""Adapters for transformers."""\n')
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import kinprint; sys.argv = ['kinprint', '--help']; kinprint.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "belongs to another distribution" in done.stderr
    assert "virtual environment" in done.stderr


def test_a_script_gets_the_same_verdict(tiny_world: TinyWorld, tmp_path: Path) -> None:
    import kinprint as public

    bundle = public.open_bundle(tiny_world.bundle, trust=[tiny_world.public_key])
    suspect = public.open_file(bundle, tiny_world.folder / "copy.onnx")
    try:
        outcome = public.audit_suspect(bundle, suspect, journal=tmp_path / "j.sqlite")
    finally:
        suspect.close()
    assert outcome.verdict is public.Verdict.DERIVED
