"""What scripts read of ``kinprint endpoint check --json``: the document and its schema."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from servers.classifiers import write_classifier
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.in_process import Done, run
from worlds.record_builder import GOLDEN_BUNDLE, audited_contents, copy_rule

from audit.documents.check_document import SCHEMA_VERSION, make_schema, schema_text
from generator.demo.server import RunningServer, start_server, write_endpoint_file

BUNDLE = audited_contents()
SCHEMA = json.loads(schema_text())
PRICE = 'price_per_image = 0.0015\ncurrency = "EUR"\nrequests_per_second = 1000\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Serve a copy of the source, which takes images of 8x8 and no others."""
    path = tmp_path_factory.mktemp("model") / "suspect.onnx"
    write_classifier(path, BUNDLE, copy_rule)
    with start_server(path, ["cat", "dog", "frog", "ship"]) as running:
        yield running


def check(server: RunningServer, folder: Path, *options: str, fields: str = "") -> Done:
    path = folder / "vendor.toml"
    write_endpoint_file(path, server.port, ["cat", "dog", "frog", "ship"])
    path.write_text(f"{fields}\n{path.read_text()}")
    return run(
        "endpoint", "check", path, "--bundle", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY,
        "--json", "--quiet", *options, XDG_CACHE_HOME=str(folder),
    )  # fmt: skip


def validated(text: str) -> dict[str, Any]:
    document = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert isinstance(document, dict)
    return document


def test_the_shipped_schema_is_that_of_the_models() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert make_schema() == SCHEMA, "python -m audit.documents.check_document writes it anew"


def test_a_real_check_fits_the_schema(server: RunningServer, tmp_path: Path) -> None:
    done = check(server, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    document = validated(done.stdout)
    assert document["schema_version"] == SCHEMA_VERSION
    assert document["controls"]["num_correct"] == document["controls"]["num_images"] == 8
    assert document["capability"] == "labels"
    assert document["class_order"] is None
    jpeg, enlarged = document["alterations"]
    assert (jpeg["name"], jpeg["refusal"], jpeg["num_images"]) == ("jpeg", None, 8)
    assert "expected 8x8, got 16x16" in enlarged["refusal"]
    assert float(document["audit"]["cost"]) == 0
    assert document["audit"]["num_requests"] == 32
    assert document["audit"]["seconds"] is None


def test_a_check_with_a_price_and_an_order_fits_the_schema(
    server: RunningServer, tmp_path: Path
) -> None:
    done = check(server, tmp_path, "--yes", "--infer-classes", fields=PRICE)
    document = validated(done.stdout)
    assert document["class_order"]["is_identity"]
    assert document["class_order"]["class_names"] == {}
    # 32 images at 0.0015
    assert (document["audit"]["cost"], document["audit"]["currency"]) == ("0.0480", "EUR")
    assert document["audit"]["seconds"] == pytest.approx(31 / 1000)


def test_a_check_of_another_task_fits_the_schema(tmp_path: Path) -> None:
    model = tmp_path / "other.onnx"
    write_classifier(model, BUNDLE, lambda kind, index, label: (label + 1) % 4)
    with start_server(model, ["cat", "dog", "frog", "ship"]) as other:
        done = check(other, tmp_path)
    assert done.returncode == 15
    document = validated(done.stdout)
    assert not document["controls"]["comparable"]
    assert document["controls"]["likely_causes"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("controls"),
        lambda document: document.update(schema_version=2),
        lambda document: document["controls"].update(interval=[0.5]),
        lambda document: document["latency"].update(median_s="fast"),
        lambda document: document["alterations"][0].pop("refusal"),
        lambda document: document["audit"].update(cost=0.5),
    ],
)
def test_the_schema_refuses_what_is_none(server: RunningServer, tmp_path: Path, spoil: Any) -> None:
    document = validated(check(server, tmp_path, "--num", "2").stdout)
    spoil(document)
    with pytest.raises(jsonschema.ValidationError, match=r"."):
        jsonschema.Draft202012Validator(SCHEMA).validate(document)


def test_a_field_that_a_later_version_adds_does_not_matter(
    server: RunningServer, tmp_path: Path
) -> None:
    document = validated(check(server, tmp_path, "--num", "2").stdout)
    document["latency"]["weather"] = "fine"
    validated(json.dumps(document))


def test_the_schema_is_printed_without_a_file() -> None:
    done = run("endpoint", "check", "--json-schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == SCHEMA
