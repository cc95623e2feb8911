"""What urllib3 does not promise and is used all the same is still there."""

import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import urllib3

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
USED = {
    "_get_conn": ("self", "timeout"),
    "_put_conn": ("self", "conn"),
}
"""Methods of a pool of connections, and their parameters (`adapters.http.connection`)."""


@pytest.mark.parametrize("name", USED)
def test_urllib3_has_the_private_methods_that_are_used(name: str) -> None:
    method = getattr(urllib3.HTTPConnectionPool, name, None)
    assert method is not None, (
        f"urllib3 {version('urllib3')} has no HTTPConnectionPool.{name}, which "
        "adapters/http/connection.py calls: mend that, or lower urllib3's bound in pyproject.toml"
    )
    assert tuple(inspect.signature(method).parameters) == USED[name]


def test_no_version_of_urllib3_is_taken_that_may_have_other_names() -> None:
    dependencies = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    assert "urllib3>=2.2,<3" in dependencies
