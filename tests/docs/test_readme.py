import re
from pathlib import Path

import pytest
from worlds.allowed import open_allowed
from worlds.in_process import run

from audit.exit_codes import ExitCode

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_every_command_and_option_in_the_readme_exists() -> None:
    commands = re.findall(r"^kinprint .*(?:\\\n.*)*", README, flags=re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        name, *words = command.replace("\\\n", " ").split()[1:]
        group = words[:1] if name in ("endpoint", "record") else []
        help_text = run(name, *group, "--help").stdout
        for option in (word for word in words if word.startswith("-")):
            assert re.search(rf"(^|[\s,]){re.escape(option)}\b", help_text), f"{name} {option}"


def test_the_exit_statuses_in_the_readme_are_those_of_the_code() -> None:
    told = {int(number) for number in re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)}
    assert told == {int(code) for code in ExitCode}


def test_the_endpoint_file_in_the_readme_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDOR_KEY", "secret")
    (example,) = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "vendor.toml").write_text(example)
    endpoint = open_allowed(tmp_path / "vendor.toml", bundle_classes=["cat", "dog"])
    assert endpoint.identity.name == "https://api.vendor.example/v1/classify"
    endpoint.close()


def test_links_in_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)h][^)]*)\)", README):
        name, _, anchor = target.partition("#")
        path = Path(__file__).parents[2] / name
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {title.lower().replace(" ", "-") for title in titles}, target
