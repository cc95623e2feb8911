"""The cluster guide: its manifests fit together, its commands take the options they are given."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

pytest.importorskip("distributed")

import yaml  # type: ignore[import-untyped]  # it has no types of its own
from distributed.cli import dask_scheduler, dask_worker

from audit.commands.sweep import command as sweep

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "cluster.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
DASK: dict[str, click.Command] = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}


def manifests() -> dict[str, dict[str, Any]]:
    """Return the Kubernetes objects by kind and name."""
    (text,) = (text for language, text in BLOCKS if language == "yaml" and "apiVersion" in text)
    return {f"{one['kind']} {one['metadata']['name']}": one for one in yaml.safe_load_all(text)}


def pods() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the metadata and the specification of every pod."""
    for one in manifests().values():
        if "template" in one["spec"]:
            template = one["spec"]["template"]
            yield template.get("metadata", {}), template["spec"]


def commands() -> list[list[str]]:
    """Return every command of the guide that starts something, those of pods included."""
    found = [
        shlex.split(line, comments=True)
        for language, text in BLOCKS
        if not language
        for line in text.splitlines()
    ]
    found += [container["command"] for _, spec in pods() for container in spec["containers"]]
    return [one for one in found if one and one[0] in ("dask", "kinprint")]


def test_the_guide_starts_schedulers_workers_and_sweeps() -> None:
    started = [tuple(one[:2]) for one in commands()]
    for name in (("dask", "scheduler"), ("dask", "worker"), ("kinprint", "sweep")):
        assert started.count(name) >= 2


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_commands_take_the_options_that_the_guide_gives_them(
    arguments: list[str], tmp_path: Path
) -> None:
    program, name, *rest = arguments
    if program == "dask":
        known = DASK[name].make_context(name, rest).params
        assert known["dashboard"] is False
        assert known["dashboard_address"] == "127.0.0.1:0"
        return
    (tmp_path / "owner.pub").touch()
    places = dict.fromkeys(("--bundles", "--suspects", "-o"), str(tmp_path))
    places["--trust"] = str(tmp_path / "owner.pub")
    given = [one for one in rest if one != "..."]  # what was said before
    for option, place in places.items():
        if option in given:
            given[given.index(option) + 1] = place
        else:
            given += [option, place]
    chosen = sweep.make_context("sweep", given).params
    assert chosen["cluster"] or chosen["local_cluster"]


def test_pods_mount_what_they_declare_and_carry_the_labels_they_are_found_by() -> None:
    objects = manifests()
    for _, spec in pods():
        declared = {one["name"] for one in spec["volumes"]}
        for container in spec["containers"]:
            assert {one["name"] for one in container["volumeMounts"]} == declared
            assert container["env"] == [{"name": "DASK_CONFIG", "value": "/etc/kinprint"}]
    labels = [tuple(metadata["labels"].items()) for metadata, _ in pods() if metadata]
    for kind in ("Deployment sweep-scheduler", "Deployment sweep-worker"):
        spec = objects[kind]["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    service = objects["Service sweep-scheduler"]["spec"]
    assert tuple(service["selector"].items()) in labels
    address = f"tls://sweep-scheduler:{service['ports'][0]['port']}"
    users = [one for one in commands() if one[0] == "dask" or "--cluster" in one]
    assert sum(address in one for one in users) == 2
    policy = objects["NetworkPolicy sweep-worker"]["spec"]
    assert tuple(policy["podSelector"]["matchLabels"].items()) in labels
    assert policy["egress"][0] == {"to": [{"podSelector": {"matchLabels": service["selector"]}}]}


def test_its_configuration_asks_for_certificates_and_closes_the_web_pages() -> None:
    (text,) = (text for language, text in BLOCKS if language == "yaml" and "ca-file" in text)
    told = yaml.safe_load(text)["distributed"]
    assert told["comm"]["require-encryption"] is True
    assert set(told["comm"]["tls"]) == {"ca-file", "scheduler", "worker", "client"}
    assert told["scheduler"]["http"]["routes"] == told["worker"]["http"]["routes"] == []
