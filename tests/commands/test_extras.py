"""What is said where a library is missing that only some users need."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from adapters.extras import require
from audit.errors import AuditError

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
MODULES = {"pyyaml": "yaml", "grpcio": "grpc", "open_inference_grpc": "open_inference"}
"""Of distributions that are called otherwise."""
OPTIONAL = [
    (MODULES.get(name := re.split(r"[\[>]", requirement)[0].replace("-", "_"), name), extra)
    for extra, requirements in PROJECT["optional-dependencies"].items()
    for requirement in requirements
    # onnxruntime itself says what it misses; tornado comes with distributed in any case.
    if extra != "cuda" and not requirement.startswith("tornado")
]


@pytest.mark.parametrize(("module", "extra"), OPTIONAL)
def test_a_missing_library_is_told_with_the_command_that_adds_it(
    module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(AuditError) as caught:
        require(module, by="craft", error=AuditError)
    assert re.fullmatch(
        rf'craft needs \S.*, which is not installed; pip install "kinprint\[{extra}\]"',
        str(caught.value),
    )


def test_a_library_that_is_there_is_not_imported() -> None:
    script = (
        "import sys; from adapters.extras import require\n"
        "require('torch', by='craft', error=ValueError); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
