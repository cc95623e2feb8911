"""Nothing of the source is missing in what is published, and nothing else is in it."""

import shutil
import subprocess

import pytest

from installed.distribution import CHECKOUT, Distribution

pytestmark = pytest.mark.installed


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(
    distribution: Distribution,
) -> None:
    assert distribution.wheel_files() == distribution.package_files()


def test_the_wheel_says_that_it_is_typed(distribution: Distribution) -> None:
    assert "\nClassifier: Typing :: Typed\n" in distribution.metadata()
    marks = {name for name in distribution.wheel_files() if name.endswith("/py.typed")}
    assert marks == {"adapters/py.typed", "audit/py.typed", "generator/py.typed"}


def test_the_source_distribution_holds_what_the_repository_holds(
    distribution: Distribution,
) -> None:
    if not (CHECKOUT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("there is no repository here that could be compared with")
    tracked, new = _listed_by_git("--cached"), _listed_by_git("--others", "--exclude-standard")
    found = distribution.sdist_files()
    assert tracked - found == set()
    assert found - tracked - new == set()


def _listed_by_git(*options: str) -> set[str]:
    # A build server often reads a checkout that belongs to somebody else.
    git = ["git", "-c", "safe.directory=*", "-C", str(CHECKOUT)]
    command = [*git, "ls-files", "-z", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = set(filter(None, done.stdout.split("\0")))
    return {name for name in names if (CHECKOUT / name).exists()}
