"""What an option need not say: variables and ``kinprint.toml`` files, and whose files count."""

import os
import re
from pathlib import Path

import pytest
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import run
from worlds.record_builder import GOLDEN_BUNDLE

from audit.project.settings import Settings, parse_settings

PROJECT = 'bundle = "model.kinprint"\ntrust = ["owner.pub"]\njournal = "j.sqlite"\nrate = 2\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, below a project."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    project = tmp_path / "project"
    (project / "below").mkdir(parents=True)
    (project / "model.kinprint").write_bytes(GOLDEN_BUNDLE.read_bytes())
    (project / "owner.pub").write_bytes(GOLDEN_PUBLIC_KEY.read_bytes())
    (project / "kinprint.toml").write_text(PROJECT)
    monkeypatch.chdir(project / "below")
    return project


def is_trusted() -> bool:
    return run("inspect", "../model.kinprint").returncode == 0


def test_a_strangers_project_counts_for_nothing_and_is_named(folder: Path) -> None:
    done = run("inspect", "../model.kinprint")
    assert done.returncode == 13
    assert f"note: {folder / 'kinprint.toml'} counts for nothing" in done.stderr
    assert "Missing argument 'BUNDLE" in run("audit", "--onnx", "../owner.pub").stderr
    assert "NOT allowed" in run("config").stdout


def test_an_allowed_project_counts_from_the_folders_below_it(folder: Path) -> None:
    told = run("config", "allow")
    assert told.returncode == 0, told.stderr
    assert is_trusted()
    # The project's bundle was opened by its key; its rate is for endpoints, and no matter here.
    done = run("audit", "--onnx", "../owner.pub")
    assert done.stderr.startswith("error: onnx: file: expected an ONNX model"), done.stderr
    assert f"trust         {folder / 'owner.pub'}" in run("config").stdout
    assert run("config", "forget").returncode == 0
    assert not is_trusted()


def test_one_key_needs_no_list(folder: Path) -> None:
    (folder / "kinprint.toml").write_text('trust = "owner.pub"\n')
    assert run("config", "allow").returncode == 0
    assert is_trusted()
    (folder / "owner.pub").write_bytes(b"another key")
    assert not is_trusted()


@pytest.mark.parametrize("changed", ["kinprint.toml", "owner.pub"])
def test_what_was_allowed_counts_no_more_once_a_byte_changed(folder: Path, changed: str) -> None:
    assert run("config", "allow").returncode == 0
    path = folder / changed
    path.write_bytes(path.read_bytes() + b"\n")
    assert not is_trusted()
    assert "NOT allowed" in run("config").stdout


def test_a_copy_of_an_allowed_project_is_another_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("config", "allow").returncode == 0
    clone = folder.parent / "clone" / "below"
    clone.mkdir(parents=True)
    for path in folder.iterdir():
        if path.is_file():
            (clone.parent / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(clone)
    assert not is_trusted()


def test_an_option_goes_before_a_variable_before_the_project_before_the_users_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = folder.parent / "config" / "kinprint"
    own.mkdir(parents=True)
    (own / "kinprint.toml").write_text('trust = ["no.pub"]\n')
    assert f"({own / 'kinprint.toml'})" in run("config").stdout
    assert run("config", "allow").returncode == 0
    assert is_trusted()
    monkeypatch.setenv("KINPRINT_TRUST", os.pathsep.join(["a.pub", "b.pub"]))
    assert "b.pub  (variable KINPRINT_TRUST)" in run("config").stdout
    assert "below/a.pub" in run("inspect", "../model.kinprint").stderr
    assert run("inspect", "../model.kinprint", "--trust", "../owner.pub").returncode == 0


@pytest.mark.parametrize("line", ["require_sandbox = false", 'allow = ["env:A@b"]', "yes = true"])
def test_no_file_can_say_anything_of_sandbox_secrets_or_consent(folder: Path, line: str) -> None:
    (folder / "kinprint.toml").write_text(line)
    refused = run("config", "allow")
    assert refused.returncode == 2
    assert "expected one of bundle, trust, journal" in refused.stderr


def test_the_file_on_the_page_is_one_and_names_every_setting() -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    settings = parse_settings(Path("kinprint.toml"), text.encode())
    assert settings.model_fields_set == set(Settings.model_fields)
    for name in Settings.model_fields:
        assert f"`KINPRINT_{name.upper()}`" in page
