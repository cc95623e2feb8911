"""Virtual environments of the servers (``KINPRINT_TEST_SERVERS`` names their folder)."""

from pathlib import Path

from worlds.kept_environment import BuildError, kept_environment

HERE = Path(__file__).parent


def server_python(name: str) -> Path:
    """Return the Python of a server's environment, built if it is not there.

    Args:
        name: Of a file ``requirements/NAME.txt``.

    Raises:
        BuildError: pip could not install it.
    """
    requirements = HERE / "requirements" / f"{name}.txt"
    try:
        # The list is complete: nothing is resolved, and nothing else can get in.
        with kept_environment(
            "servers",
            name,
            made_from=requirements.read_bytes(),
            arguments=["--no-deps", "--requirement", requirements],
        ) as python:
            return python
    except BuildError as error:
        raise BuildError(
            "these tests run a real server, and need a package index with all that "
            f"tests/servers/requirements/{name}.txt lists: {error}"
        ) from None
