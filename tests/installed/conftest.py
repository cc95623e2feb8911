from collections.abc import Iterator
from pathlib import Path

import pytest
from worlds.kept_environment import BuildError
from worlds.screens.ui_desk import make_folder

from installed.distribution import Distribution, build
from installed.installation import Installation, installed


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    return build(tmp_path_factory.mktemp("distribution"))


@pytest.fixture(scope="session")
def installation(distribution: Distribution) -> Iterator[Installation]:
    try:
        with installed(distribution.wheel) as ours:
            yield ours
    except BuildError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle, its owner's key and three suspects, far from the checkout."""
    return make_folder(tmp_path)
