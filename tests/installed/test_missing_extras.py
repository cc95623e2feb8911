"""Without extras: what needs one says so, and nothing else needs any."""

import shlex
from pathlib import Path

import pytest
from worlds.record_builder import AUDITOR_KEY

from adapters.extras import install_command
from audit.signing.keys import write_key_pair
from installed.installation import Installation

pytestmark = pytest.mark.installed

AUDIT = ("audit", "model.kinprint", "--trust", "owner.pub")
MODEL = ("--model", "net.py:net", "--normalise", "0.5/0.5", "--images", "images")
RECORD = ("--record", "a.kinrecord", "--auditor-key", "auditor.key")
SWEEP = ("sweep", "--bundles", ".", "--suspects", ".", "-o", "results", "--trust", "owner.pub")
SAGEMAKER = """\
format = "sagemaker"
url = "https://runtime.sagemaker.eu-west-1.amazonaws.com/endpoints/suspect/invocations"
class_names = ["a", "b", "c", "d"]
[aws]
region = "eu-west-1"
[request]
form = "raw"
[answer]
path = "@"
"""
GRPC = """\
format = "open_inference_grpc"
url = "http://127.0.0.1:1"
model = "suspect"
"""
IMPORT_ALL = """\
import importlib, pkgutil
import adapters, audit, generator
for package in (adapters, audit, generator):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            print(package.__name__, error.name)
"""


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("craft",), "generator"),
        (("references", *MODEL, "--out", "innocents"), "generator"),
        (("demo",), "generator"),
        (("ui", "--serve"), "serve"),
        ((*AUDIT, "--onnx", "copy.onnx", *RECORD, "--timestamp-url", "http://[::1]/"), "timestamp"),
        ((*AUDIT, "--endpoint", "sagemaker.toml"), "aws"),
        ((*AUDIT, "--endpoint", "grpc.toml"), "grpc"),
        ((*SWEEP, "--local-cluster", "2"), "cluster"),
        ((*SWEEP, "--cluster", "tcp://127.0.0.1:1"), "cluster"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:1]),
)
def test_a_command_names_the_extra_that_it_misses(
    installation: Installation, folder: Path, arguments: tuple[str, ...], extra: str
) -> None:
    write_key_pair(folder / "auditor.key", AUDITOR_KEY, None)
    (folder / "sagemaker.toml").write_text(SAGEMAKER)
    (folder / "grpc.toml").write_text(GRPC)
    done = installation.kinprint(folder, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith(f" is not installed; {install_command(extra)}\n")


def test_benchmarks_are_looked_for_in_a_checkout(installation: Installation, folder: Path) -> None:
    done = installation.kinprint(folder, "bench", "startup")
    assert done.returncode == 2
    assert "the benchmarks are in the source repository only" in done.stderr


def test_the_command_that_is_told_adds_the_extra_to_what_is_installed(
    installation: Installation, folder: Path
) -> None:
    pip, *arguments = shlex.split(install_command("timestamp"))
    # Dry: the environment is every test's. pip would have to find a Kinprint if it wanted another.
    done = installation.run_python(folder, "-m", pip, *arguments, "--dry-run")
    assert done.returncode == 0, done.stderr
    (told,) = (line for line in done.stdout.splitlines() if line.startswith("Would install"))
    assert [word.rpartition("-")[0] for word in told.split()[2:]] == ["rfc3161-client"]


def test_only_modules_of_extras_need_what_is_not_installed(
    installation: Installation, folder: Path
) -> None:
    done = installation.run_python(folder, "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) == {
        # The browser's page imports it first of what textual-serve brings.
        "audit aiohttp_jinja2",
        "audit distributed",
        "generator torch",
        # The clusters of this machine import it before distributed, which brings it.
        "audit dask",
    }
