"""``kinprint craft --packs``: bundles that tell nothing of one another, and their commitment."""

import json
from pathlib import Path

import numpy as np
import pytest
from worlds.in_process import run
from worlds.tiny_world import TinyWorld

from audit.api import open_bundle
from audit.bundle.manifest import BundleContents
from generator.images.labelled import ImageSet
from generator.images.packs import deal

NUM_PACKS = 2


@pytest.fixture(scope="module", params=["mfue", "ipguard"])
def packs(
    request: pytest.FixtureRequest, tiny_world: TinyWorld, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    folder = tmp_path_factory.mktemp("packs")
    given = tiny_world.craft_arguments(
        folder / "model.kinprint", work=str(tiny_world.folder / "work"), packs=str(NUM_PACKS)
    )
    if request.param != "mfue":
        given = [one for one in given if not one.startswith(("--triggers", "--num-probes"))]
        given.append(f"--method={request.param}")
    done = run(*given)
    assert done.returncode == 0, done.stderr
    paths = [folder / f"model-{number}.kinprint" for number in range(1, NUM_PACKS + 1)]
    assert done.stdout.split() == [str(path) for path in paths]
    assert sorted(folder.glob("*.kinprint")) == paths
    return paths


def opened(paths: list[Path], world: TinyWorld) -> list[BundleContents]:
    return [open_bundle(path, trust=[world.public_key]) for path in paths]


def seen(bundle: BundleContents) -> set[bytes]:
    """Return every image of a bundle but those that check whether a suspect classifies at all."""
    arrays = bundle.arrays
    images = (*arrays.queries, *arrays.query_carriers, *arrays.triggers, *arrays.carriers)
    return {image.tobytes() for image in images}


def test_no_image_of_one_pack_is_in_another(packs: list[Path], tiny_world: TinyWorld) -> None:
    first, second = opened(packs, tiny_world)
    assert seen(first)
    assert seen(second)
    assert not seen(first) & seen(second)
    if first.manifest.probes is not None:
        assert second.manifest.probes is not None
        assert first.manifest.probes.seed != second.manifest.probes.seed
    assert [bundle.manifest.crafting["pack"] for bundle in (first, second)] == [1, 2]
    assert first.manifest.models == second.manifest.models


def test_each_pack_finds_a_copy_and_is_committed_to_without_the_other(
    packs: list[Path], tiny_world: TinyWorld, tmp_path: Path
) -> None:
    done = run("commit", *packs, "--key", tiny_world.folder / "owner.key")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) == 64
    others = {path: bundle for path, bundle in zip(packs, opened(packs, tiny_world), strict=True)}
    auditor = tmp_path / "auditor.key"
    assert run("keygen", auditor).returncode == 0
    for path in packs:
        commitment = path.with_suffix(".kincommit")
        told = commitment.read_text()
        for other, bundle in others.items():
            assert bundle.manifest_sha256 not in told or other == path
        record = tmp_path / f"{path.stem}.kinrecord"
        audited = run(
            *("audit", path, "--trust", tiny_world.public_key, "--json", "--fail-on", "never"),
            *("--journal", tmp_path / f"{path.stem}.sqlite"),
            f"--onnx={tiny_world.folder / 'copy.onnx'}",
            *("--record", record, "--auditor-key", auditor),
        )
        assert audited.returncode == 0, audited.stderr
        assert json.loads(audited.stdout)["audits"][0]["outcome"]["verdict"] == "derived"
        verified = run(
            *("verify", record, "--bundle", path, "--commitment", commitment),
            *("--trust", tiny_world.public_key, "--trust", tmp_path / "auditor.pub"),
        )
        assert verified.returncode == 0, verified.stdout
        assert f"pack {path.stem[-1]} of {NUM_PACKS}" in " ".join(verified.stdout.split())
    (wrong,) = (path.with_suffix(".kincommit") for path in packs[1:])
    refused = run(
        *("verify", tmp_path / f"{packs[0].stem}.kinrecord", "--bundle", packs[0]),
        *("--commitment", wrong, "--trust", tiny_world.public_key),
        *("--trust", tmp_path / "auditor.pub"),
    )
    assert refused.returncode == 13


def test_every_class_is_dealt_evenly_and_every_image_once() -> None:
    labels = np.repeat(np.arange(3), [10, 11, 3])
    images = np.arange(24, dtype=np.uint8).reshape(-1, 1, 1, 1)
    whole = ImageSet(images=images, labels=labels, class_names=("a", "b", "c"))
    parts = deal(whole, 4, np.random.default_rng(0))
    assert sorted(int(i) for part in parts for i in part.images.ravel()) == list(range(24))
    assert [len(part) for part in parts] == [6, 6, 6, 6]
    for part in parts:
        counts = np.bincount(part.labels, minlength=3)
        assert counts[0] in (2, 3)
        assert counts[1] in (2, 3)
        assert counts[2] in (0, 1)
    (same,) = deal(whole, 1, np.random.default_rng(0))
    assert same is whole
