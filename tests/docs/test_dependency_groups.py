"""The group of libraries for machines without an NVIDIA device is the project's but for one."""

import tomllib
from pathlib import Path


def test_the_small_runtime_takes_the_place_of_the_large_one_and_nothing_else_differs() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)
    large = {line for line in project["project"]["dependencies"] if "onnxruntime" not in line}
    small = set(project["dependency-groups"]["cpu"])
    assert small - large == {"onnxruntime>=1.26"}
    assert large <= small
