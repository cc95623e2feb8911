"""What docs/ci.md tells scripts to do works."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.record_builder import GOLDEN_BUNDLE, audited_contents, copy_rule
from worlds.servers.fault_proxy import Fault
from worlds.servers.vendor_server import vendor

GUIDE = (Path(__file__).parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")
BUNDLE = audited_contents()
PRICE = 'price_per_request = 0.01\ncurrency = "USD"\nmax_cost = 2.0'


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "model.kinprint").write_bytes(GOLDEN_BUNDLE.read_bytes())
    (tmp_path / "owner.pub").write_bytes(GOLDEN_PUBLIC_KEY.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_the_notebook_runs_cell_by_cell(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells, names = blocks("python"), dict[str, object]()
    assert len(cells) == 4
    with vendor(BUNDLE, copy_rule) as server:
        server.endpoint_file(folder / "vendor.toml", PRICE)
        for number, cell in enumerate(cells):
            exec(compile(cell, f"cell {number}", "exec"), names)
    shown = capsys.readouterr().out
    assert shown.startswith("derived\n")
    assert "p = " in shown


def test_the_cron_script_goes_on_until_there_is_a_verdict_and_tells_it_once(folder: Path) -> None:
    (script,) = blocks("sh")
    programs = folder / "bin"
    programs.mkdir()
    _write_program(programs / "kinprint", f'exec {sys.executable} -m kinprint "$@"')
    _write_program(programs / "mail", f"cat >> {folder}/mails")
    (folder / "vendor.env").write_text("export VENDOR_KEY=secret\n")
    run = folder / "audit-vendor"
    run.write_text(script.replace("/srv/audits", str(folder)))

    later = Fault(status=429, headers=(("Retry-After", "3600"),), body=b"")
    with vendor(BUNDLE, copy_rule, lambda number: later if number in (3, 6) else None) as server:
        server.endpoint_file(folder / "vendor.toml", f"{PRICE}\nconcurrency = 1")
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        statuses = [subprocess.run(["sh", str(run)], env=environment).returncode for _ in range(5)]
        asked = dict(server.asked)
    assert statuses[:3] == [0, 0, 0]
    assert (folder / "mails").read_text().count("status 10") == 1
    # Nothing is asked after the verdict, and before it only what the quota refused again.
    assert sorted(asked.values())[-3:] == [1, 2, 2]


def test_the_command_of_the_workflow_has_options_that_exist() -> None:
    (text,) = blocks("yaml")
    command = text[text.index("kinprint audit ") : text.index("- name: Keep")]
    done = subprocess.run(
        [sys.executable, "-m", "kinprint", "audit", "--help"], capture_output=True, text=True
    )
    options = re.findall(r"--[a-z-]+", command)
    assert len(options) >= 9
    for option in options:
        assert re.search(rf"{option}\b", done.stdout), option


def _write_program(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
