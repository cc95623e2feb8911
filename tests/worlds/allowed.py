"""Endpoints of a user who allows whatever their files want, for tests that are about other things.

What is allowed to whom, and what is not, is tested in test_grants.py and test_allow.py.
"""

from pathlib import Path
from typing import Any

from adapters.endpoint.grants import NOTHING, Grants, NotGrantedError
from adapters.http.opening import open_endpoint
from adapters.http.suspect import HttpEndpoint


def open_allowed(path: Path, **options: Any) -> HttpEndpoint:
    """Open an endpoint file, with a yes to everything that it wants to use."""
    grants: Grants = NOTHING
    while True:
        try:
            return open_endpoint(path, grants=grants, **options)
        except NotGrantedError as error:
            grants = grants.union(need.grant for need in error.needs)
