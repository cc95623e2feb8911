"""``kinprint inspect``: what it shows of trusted, untrusted and damaged bundles."""

import json
from pathlib import Path

import pytest
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


def test_inspect_shows_everything_that_decides(tmp_path: Path) -> None:
    result = _inspect(GOLDEN, "--trust", GOLDEN_PUBLIC_KEY, environment=tmp_path)

    told = " ".join(result.stdout.replace("│", " ").split())
    # ln(1.05 / 0.05) = 3.04; half of 75 % is 37.5 %; two innocents give 1 / 3 at best
    assert "epsilon 0.05, an answer is worth at most 3.04 nats" in told
    assert "comparable from 37.5% of the control images right, 50% of the source's share" in told
    assert "2 networks, smallest p 0.333" in told
    assert "derived models 1 calibrate" in told


def test_inspect_says_which_picture_carries_most(tmp_path: Path) -> None:
    result = _inspect(GOLDEN, "--trust", GOLDEN_PUBLIC_KEY, "--json", environment=tmp_path)

    document = json.loads(result.stdout)
    # The derived model gives the source's class c, P = 1/2 and Q = 1/8: ln(0.55 / 0.175) = 1.145.
    # Innocents give c + 1 (P = 1/4, Q = 1/2: ln(0.3 / 0.55) = -0.606) but for queries 1 and 4:
    # one gives c + 1 and one c (1.145) or c + 2 (1/8, 1/4: ln(0.175 / 0.3) = -0.539).
    # So the five are worth 1.751, 0.876, 1.751, 1.751 and 1.718.
    assert document["largest_picture_share"] == pytest.approx(1.751 / 7.847, abs=1e-3)
    assert document["faults"] == []


def test_inspect_ends_with_10_for_a_bundle_that_contradicts_itself(tmp_path: Path) -> None:
    manifest = small_manifest()
    source = manifest.source.model_copy(update={"control_accuracy": 0.3})
    bundle = tmp_path / "b.kinprint"
    write_bundle(bundle, manifest.model_copy(update={"source": source}), small_arrays(), OWNER_KEY)

    result = _inspect(bundle, "--trust", GOLDEN_PUBLIC_KEY, environment=tmp_path)

    assert result.exit_code == 10
    assert "Fault: The manifest says that the source gets 30% of the control images right; the" in (
        result.stdout
    )
