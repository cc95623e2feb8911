"""``docs/start.md`` as printed: every block, in order, in an empty folder."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "start.md"


def blocks() -> list[tuple[str, str]]:
    text = GUIDE.read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_every_block_runs_and_the_verdicts_are_those_of_the_page(tmp_path: Path) -> None:
    programs, place = tmp_path / "bin", tmp_path / "place"
    programs.mkdir()
    place.mkdir()
    for name, command in (("kinprint", "-m kinprint"), ("python", "")):
        path = programs / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {command} "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "COLUMNS": "200",
    }
    with socket.create_server(("127.0.0.1", 0)) as free:
        port, told = str(free.getsockname()[1]), ""
    for kind, text in blocks():
        text = text.replace("8765", port)
        if kind != "sh":
            (name,) = re.findall(r"\A# (\S+)\n", text)
            (place / name).write_text(text, encoding="utf-8")
            continue
        done = subprocess.Popen(
            ["sh", "-e"],
            cwd=place,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        # Whoever was started with & belongs to the block's session, and ends with it.
        script = f"{{ {text}\n}} > ../out 2>&1"
        done.communicate(script)
        told += (output := (tmp_path / "out").read_text(encoding="utf-8"))
        if "&\n" in text:
            os.killpg(done.pid, signal.SIGKILL)
        assert done.returncode == 0, (text, output)
    assert re.search(r"^copy\.onnx +derived", told, re.MULTILINE)
    # Copies of so small a model may end nearly as low as innocents: then nobody is cleared.
    assert re.search(r"^theirs\.onnx +(independent|inconclusive)", told, re.MULTILINE)
    assert re.search(r"^vendor\.toml +derived", told, re.MULTILINE)
    assert (place / "copy.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)h#][^)]*)\)", GUIDE.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        page = (GUIDE.parent / name).resolve()
        assert page.is_file(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            found = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in found, target
