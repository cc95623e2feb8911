"""``kinprint inspect``: what it shows of trusted, untrusted and damaged bundles."""

import json
from pathlib import Path

from click.testing import CliRunner, Result
from worlds.bundle_builder import (
    GOLDEN,
    GOLDEN_PUBLIC_KEY,
    OWNER_KEY,
    golden_manifest,
    packed,
    small_arrays,
    small_manifest,
)

from audit.bundle.bundle_file import write_bundle
from audit.commands.inspect import command as inspect
from audit.signing.canonical import canonical_bytes


def _inspect(*arguments: object, environment: Path) -> Result:
    runner = CliRunner(env={"XDG_CONFIG_HOME": str(environment), "HOME": str(environment)})
    return runner.invoke(inspect, [str(argument) for argument in arguments])


def test_inspect_shows_a_trusted_bundle(tmp_path: Path) -> None:
    result = _inspect(GOLDEN, "--trust", GOLDEN_PUBLIC_KEY, environment=tmp_path)

    assert result.exit_code == 0
    assert "VALID AND TRUSTED" in result.stdout
    assert "4: cat, dog, frog, ship" in result.stdout
    assert result.stderr == ""


def test_inspect_warns_of_an_untrusted_bundle_and_exits_13(tmp_path: Path) -> None:
    result = _inspect(GOLDEN, "--json", environment=tmp_path)

    document = json.loads(result.stdout)
    assert result.exit_code == 13
    assert document["schema_version"] == 2
    assert document["signature"]["state"] == "valid but untrusted"
    assert document["manifest"]["owner"] == "The Kinprint tests"
    assert document["counts"]["probes"] == 18
    assert "anybody can have made this bundle" in result.stderr


def test_inspect_shows_nothing_of_a_bundle_with_a_wrong_signature(tmp_path: Path) -> None:
    bundle = tmp_path / "b.kinprint"
    bundle.write_bytes(packed(manifest=canonical_bytes(golden_manifest(owner="Liar"))))
    images = tmp_path / "o.png"

    result = _inspect(bundle, "--json", "--images", images, environment=tmp_path)

    document = json.loads(result.stdout)
    assert result.exit_code == 13
    assert document["signature"]["state"] == "invalid"
    assert document["manifest"] is None
    assert "Liar" not in result.output
    assert not images.exists()


def test_inspect_passes_no_control_characters_to_the_terminal(tmp_path: Path) -> None:
    bundle = tmp_path / "b.kinprint"
    manifest = small_manifest().model_copy(update={"owner": "\x1b[2J[bold]me[/bold]\u202e"})
    write_bundle(bundle, manifest, small_arrays(), OWNER_KEY)

    result = _inspect(bundle, "--trust", GOLDEN_PUBLIC_KEY, environment=tmp_path)

    assert "?[2J[bold]me[/bold]?" in result.stdout
    assert "\x1b" not in result.stdout


def test_inspect_writes_the_contact_sheet(tmp_path: Path) -> None:
    images = tmp_path / "o.png"

    result = _inspect(
        GOLDEN, "--trust", GOLDEN_PUBLIC_KEY, "--images", images, environment=tmp_path
    )

    assert result.exit_code == 0
    assert images.read_bytes().startswith(b"\x89PNG")
