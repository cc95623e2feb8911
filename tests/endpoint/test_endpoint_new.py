"""``kinprint endpoint new``: files to start from, for every wire format."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from worlds.bundle_builder import OWNER_KEY
from worlds.in_process import run
from worlds.record_builder import GOLDEN_BUNDLE

import adapters.wire
from adapters.endpoint.description import EndpointDescription
from adapters.http.endpoint_file import known_formats, read_endpoint_file
from adapters.suspect import SuspectConfigError
from audit.bundle.manifest import Preprocessing
from audit.endpoint.template import endpoint_template, field_docstrings

FORMATS = known_formats()
DOCS = Path(__file__).parents[2] / "docs" / "endpoints.md"


def test_every_format_has_its_line_and_its_section_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[`(\w+)`\]", text, flags=re.MULTILINE)
    described = re.findall(r"^### `(\w+)`$", text, flags=re.MULTILINE)
    assert sorted(listed) == sorted(described) == sorted(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_new_file_can_be_read_as_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / "vendor.toml"
    path.write_text(endpoint_template(name), encoding="utf-8")
    description = read_endpoint_file(path)
    assert description.format == name
    assert description.wire_format(3).batch_size >= 1
    assert description.class_names is None
    assert len(description.digest()) == 64


@pytest.mark.parametrize("name", FORMATS)
def test_the_bundles_classes_and_normalisation_stand_in_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "vendor.toml"
    contract = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), color_order="BGR")
    text = endpoint_template(name, ("cat", 'a "dog"', "Käfer"), contract)
    path.write_text(text, encoding="utf-8")
    description = read_endpoint_file(path)
    assert description.class_names == ("cat", 'a "dog"', "Käfer")
    tensor = tomllib.loads(text).get("request", {}).get("tensor")
    if tensor:
        assert (tensor["mean"], tensor["std"]) == ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
        assert tensor["color_order"] == "BGR"


@pytest.mark.parametrize("name", FORMATS)
def test_what_stands_in_comments_can_be_switched_on(tmp_path: Path, name: str) -> None:
    """Uncomment the common fields, all at once: they are TOML and they are known."""
    lines = endpoint_template(name).split("\n")
    first_table = next((i for i, line in enumerate(lines) if line.startswith("[")), len(lines))
    switched = [
        line[2:] if i < first_table and _is_field(line) else line for i, line in enumerate(lines)
    ]
    switched = [line for line in switched if not line.startswith(("ca_bundle", '"vendor'))]
    path = tmp_path / "vendor.toml"
    path.write_text("\n".join(switched), encoding="utf-8")
    description = read_endpoint_file(path)
    assert description.max_cost == 5.0
    assert description.class_names == ("cat", "dog")


def _is_field(line: str) -> bool:
    return line.startswith("# [") or (line.startswith("# ") and " = " in line)


def test_a_format_is_one_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shouting.py").write_text(
        "from typing import Literal\n"
        "from adapters.payload.open_server import OpenServerDescription\n"
        'TEMPLATE = \'url = "http://127.0.0.1:1/shout"\\n\\n[request]\\nkey = "LOUD"\\n\'\n'
        "class Description(OpenServerDescription):\n"
        '    format: Literal["shouting"]\n'
    )
    monkeypatch.setattr(adapters.wire, "__path__", [*adapters.wire.__path__, str(tmp_path)])
    assert "shouting" in known_formats()
    path = tmp_path / "vendor.toml"
    path.write_text(endpoint_template("shouting"), encoding="utf-8")
    image = np.zeros((1, 1, 1, 1), dtype=np.uint8)
    request = read_endpoint_file(path).wire_format(3).encode(image)
    assert request.body == b'{"LOUD":[[[[0.0]]]]}'


def test_a_long_list_of_classes_takes_a_line_each() -> None:
    names = [f"class number {number}" for number in range(100)]
    text = endpoint_template("mlflow", names)
    assert tomllib.loads(text)["class_names"] == names
    assert max(map(len, text.split("\n"))) < 120


def test_comments_come_from_the_fields_docstrings() -> None:
    told = field_docstrings(EndpointDescription)
    assert told["retries"] == "Attempts after the first one."
    assert f"# retries = 5                  # {told['retries']}" in endpoint_template("generic")


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(
        SuspectConfigError, match=r"got 'kserve'; did you mean kserve_v1\?"
    ) as error:
        endpoint_template("kserve")
    assert all(name in str(error.value) for name in FORMATS)


def test_the_command_writes_a_file_once(tmp_path: Path) -> None:
    path, key = tmp_path / "vendor.toml", tmp_path / "owner.pub"
    key.write_bytes(OWNER_KEY.public_key.pem)
    arguments = ["endpoint", "new", "kserve_v1", "-o", path]
    done = run(*arguments, "--bundle", GOLDEN_BUNDLE, "--trust", key)
    assert done.returncode == 0, done.stderr
    then = f"endpoint check {path} --bundle {GOLDEN_BUNDLE} --trust {key}"
    assert done.stderr.endswith(f"then: kinprint {then}\n")
    description = read_endpoint_file(path)
    assert description.class_names == ("cat", "dog", "frog", "ship")
    assert "mean = [0.5, 0.5, 0.5]" in path.read_text(encoding="utf-8")
    path.write_text("mine")
    refused = run(*arguments)
    assert refused.returncode == 2
    assert "exists; --force replaces it" in refused.stderr
    assert path.read_text() == "mine"
    assert run(*arguments, "--force").returncode == 0
    assert "mine" not in path.read_text(encoding="utf-8")


def test_without_a_place_the_file_goes_to_standard_output() -> None:
    done = run("endpoint", "new", "roboflow")
    assert (done.returncode, done.stdout) == (0, endpoint_template("roboflow"))
    assert run("endpoint", "new", "nonsense").returncode == 2
