"""The commands of an auditor, run as they are installed."""

import json
import shutil
from pathlib import Path

import click
import pytest
from worlds.bundle_builder import DATA
from worlds.golden_documents import COMMANDS, GOLDEN, command_document
from worlds.record_builder import audited_contents, copy_rule
from worlds.screens.terminal import Terminal
from worlds.servers.vendor_server import vendor

import kinprint
from installed.installation import Installation, clean_environment

pytestmark = pytest.mark.installed

HELPFUL = [
    name for name in kinprint.cli.list_commands(click.Context(kinprint.cli)) if name != "bench"
]
"""Commands with a help of their own."""
KEPT_HERE = ("--journal", "journal.sqlite", "--device", "cpu")
TRUSTED = ("model.kinprint", "--trust", "owner.pub")


def test_what_runs_is_installed_and_not_the_checkout(
    installation: Installation, folder: Path
) -> None:
    script = "import adapters, audit, generator, kinprint\n"
    script += "for each in (adapters, audit, generator, kinprint): print(each.__file__)"
    done = installation.run_python(folder, "-c", script)
    assert done.returncode == 0, done.stderr
    root = installation.python.parents[1]
    assert all(Path(path).is_relative_to(root) for path in done.stdout.split())


def test_all_that_it_requires_is_there_and_torch_is_not(
    installation: Installation, folder: Path
) -> None:
    checked = installation.run_python(folder, "-m", "pip", "check")
    assert checked.returncode == 0, checked.stdout
    listed = installation.run_python(folder, "-m", "pip", "list", "--format", "json")
    names = {each["name"].lower() for each in json.loads(listed.stdout)}
    assert "kinprint" in names
    assert names.isdisjoint({"torch", "onnxscript", "onnx2pytorch", "pytest"})


@pytest.mark.parametrize("name", ["", *HELPFUL])
def test_every_command_shows_its_help(installation: Installation, folder: Path, name: str) -> None:
    done = installation.kinprint(folder, *filter(None, [name]), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: kinprint {name}".rstrip())


@pytest.mark.parametrize("name", COMMANDS)
def test_documents_are_those_of_the_checkout(
    installation: Installation, tmp_path: Path, name: str
) -> None:
    for path in DATA.glob("*.*"):
        shutil.copy(path, tmp_path)
    found = command_document(
        name, program=[installation.program], folder=tmp_path, environment=clean_environment()
    )
    assert found == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize(
    ("suspect", "verdict", "status"),
    [("copy.onnx", "derived", 10), ("stranger.onnx", "independent", 0)],
)
def test_a_file_gets_its_verdict(
    installation: Installation, folder: Path, suspect: str, verdict: str, status: int
) -> None:
    done = installation.kinprint(folder, "audit", *TRUSTED, "--onnx", suspect, "--json", *KEPT_HERE)
    assert (done.returncode, done.stderr) == (status, "")
    (audit,) = json.loads(done.stdout)["audits"]
    assert audit["outcome"]["verdict"] == verdict


def test_an_endpoint_gets_its_verdict(installation: Installation, folder: Path) -> None:
    with vendor(audited_contents(), copy_rule) as server:
        server.endpoint_file(folder / "vendor.toml")
        done = installation.kinprint(
            folder, "audit", *TRUSTED, "--endpoint", "vendor.toml", *KEPT_HERE
        )
    assert done.returncode == 10, done.stderr
    assert "derived" in done.stdout
    assert server.asked


def test_evidence_is_recorded_verified_and_shown(installation: Installation, folder: Path) -> None:
    def run(*arguments: str) -> str:
        done = installation.kinprint(folder, *arguments)
        assert done.returncode in (0, 10), done.stderr
        return done.stdout

    run("keygen", "auditor.key")
    run(
        "audit",
        *TRUSTED,
        "--onnx",
        "copy.onnx",
        *KEPT_HERE,
        "--record",
        "a.kinrecord",
        "--auditor-key",
        "auditor.key",
    )
    record = ("a.kinrecord", "--bundle", *TRUSTED, "--trust", "auditor.pub")
    assert "derived" in run("verify", *record)
    run("report", *record, "-o", "report.html")
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "<img" in report  # matplotlib drew, and the template was found
    assert "</html>" in report


def test_a_sweep_asks_a_folder(installation: Installation, folder: Path) -> None:
    options = ("--bundles", ".", "--suspects", ".", "-o", "results", "--trust", "owner.pub")
    done = installation.kinprint(
        folder, "sweep", *options, "--jobs", "2", "--device", "cpu", "--json"
    )
    assert done.returncode == 10, done.stderr
    verdicts = [json.loads(line).get("verdict") for line in done.stdout.splitlines()]
    assert sorted(verdicts[:-1]) == ["derived", "independent", "not comparable"]
    assert "</html>" in (folder / "results" / "sweep.html").read_text(encoding="utf-8")


def test_a_script_asks_without_the_command_line(installation: Installation, folder: Path) -> None:
    (folder / "script.py").write_text(
        "import kinprint\n"
        'bundle = kinprint.open_bundle("model.kinprint", trust=["owner.pub"])\n'
        'suspect = kinprint.open_file(bundle, "copy.onnx")\n'
        "print(kinprint.audit_suspect(bundle, suspect).verdict)\n"
    )
    done = installation.run_python(folder, "script.py")
    assert (done.returncode, done.stdout) == (0, "derived\n"), done.stderr


def test_the_screen_opens_takes_a_key_and_ends(
    installation: Installation, folder: Path, terminal: Terminal
) -> None:
    terminal.enter(f"cd {folder}; unset PYTHONPATH")
    terminal.enter(f"{installation.program} ui --trust owner.pub --config config --device cpu")
    terminal.shows("Press Enter on a suspect")
    terminal.press("?")
    terminal.shows("Escape closes")
    terminal.press("Escape")
    terminal.shows("Press Enter on a suspect")
    terminal.press("q")
    terminal.waits_for_a_command()
    terminal.enter("echo it ended with $?")
    terminal.shows("it ended with 0")
