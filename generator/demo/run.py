"""The main job on the embedded default: craft, sign, make suspects, audit them, print the table."""

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from adapters.preprocessing import InputRecipe, apply
from audit.asking.options import AuditOptions
from audit.bundle.bundle_file import creation_time, read_bundle, write_bundle
from audit.commands.audit_row import audit_row
from audit.signing.keys import PrivateKey, load_trust, write_key_pair
from audit.suspects.opening import open_file, open_remote
from audit.verdict.outcome import Verdict
from audit.verdict.sharing import usual_steps
from generator.demo.assets import demo_images, demo_network, demo_references, demo_source
from generator.demo.line_up import demo_line_up
from generator.demo.plans import MEAN, STD
from generator.demo.server import start_server, write_endpoint_file
from generator.images.splits import split_images
from generator.jobs.mfue import craft
from generator.pools.removal import fine_tune, prune
from generator.settings import CraftSettings
from generator.sources.onnx_export import export_onnx, quantise_int8
from generator.sources.source import Normalised
from generator.training.device import prepare_device, seeded

SETTINGS = CraftSettings(
    num_triggers=50, num_queries=100, num_probes=20, num_mimics=3, hardening_epochs=1, max_steps=40
)
"""Smaller than the paper's, so that the demo takes minutes on two cores."""


@dataclass(frozen=True, kw_only=True)
class DemoSuspect:
    """A suspect whose origin the demo knows."""

    name: str
    expected: Verdict
    path: Path
    """ONNX file or endpoint TOML."""
    is_endpoint: bool = False


def make_bundle(folder: Path, report: Callable[[str, int, int], None]) -> tuple[Path, Path]:
    """Craft and sign the demo's bundle.

    Args:
        folder: Gets ``demo.kinprint``, ``owner.key`` and ``owner.pub``.
        report: Progress by stage.

    Returns:
        The bundle and the public key.
    """
    source = demo_source()
    splits = split_images(
        demo_images("owner"),
        demo_images("held-out"),
        max_training=None,
        rng=np.random.default_rng(SETTINGS.seed),
    )
    (crafted,) = craft(
        source,
        splits,
        demo_references(),
        SETTINGS,
        model_name="CIFAR-10 ResNet-8 (demo)",
        owner="Kinprint demo",
        created=creation_time(),
        report=report,
    )
    line_up = demo_line_up(crafted.arrays, report)
    manifest = crafted.manifest.model_copy(
        update={"steps": usual_steps(crafted.manifest, num_members=len(line_up.record.members))}
    )
    key = PrivateKey.generate()
    for old in ("owner.key", "owner.pub"):
        (folder / old).unlink(missing_ok=True)
    public = write_key_pair(folder / "owner.key", key, None)
    write_bundle(folder / "demo.kinprint", manifest, crafted.arrays, key, line_up)
    return folder / "demo.kinprint", public


def make_suspects(folder: Path, report: Callable[[str, int, int], None]) -> list[DemoSuspect]:
    """Write the suspects as ONNX files: five derived from the source, two not.

    Args:
        folder: Where the files go.
        report: Progress by stage.
    """
    source, unseen = demo_source().model, demo_images("unseen")
    tuned = fine_tune(source, unseen, generator=seeded(7, "thief"), epochs=5)
    builders: list[tuple[str, Verdict, Callable[[Path], None]]] = [
        ("copy", Verdict.DERIVED, lambda path: _export(source, path)),
        ("fine-tuned", Verdict.DERIVED, lambda path: _export(tuned, path)),
        ("pruned-30", Verdict.DERIVED, lambda path: _export(prune(source, 0.3), path)),
        (
            "int8",
            Verdict.DERIVED,
            lambda path: quantise_int8(
                folder / "copy.onnx",
                path,
                calibration_inputs=apply(InputRecipe(mean=MEAN, std=STD), unseen.images[:200]),
            ),
        ),
        ("student", Verdict.DERIVED, lambda path: _export(demo_network("student"), path)),
        (
            "other-seed",
            Verdict.INDEPENDENT,
            lambda path: _export(demo_network("sibling"), path),
        ),
        (
            "other-architecture",
            Verdict.INDEPENDENT,
            lambda path: _export(demo_network("other_architecture"), path),
        ),
    ]
    suspects = []
    for number, (name, expected, build) in enumerate(builders):
        path = folder / f"{name}.onnx"
        build(path)
        suspects.append(DemoSuspect(name=name, expected=expected, path=path))
        report("suspects", number + 1, len(builders))
    return suspects


def _export(model: nn.Module, path: Path) -> None:
    assert isinstance(model, Normalised)
    export_onnx(model.network, path, image_shape=(32, 32, 3))


def run_demo(
    folder: Path,
    *,
    report: Callable[[str, int, int], None],
) -> tuple[list[dict[str, Any]], list[str]]:
    """Run the demo.

    Args:
        folder: Gets the bundle, the keys, the suspects and the journal.
        report: Progress by stage.

    Returns:
        One row per suspect, as in the JSON document of ``kinprint audit``, and what each one is
        ("derived" or "independent").
    """
    prepare_device("cpu")
    bundle_path, public = make_bundle(folder, report)
    suspects = make_suspects(folder, report)
    bundle = read_bundle(bundle_path, load_trust([public]))
    class_names = bundle.manifest.task.class_names
    rows: list[dict[str, Any]] = []
    with ExitStack() as servers:
        for name in ("fine-tuned", "other-seed"):
            (served,) = (suspect for suspect in suspects if suspect.name == name)
            server = servers.enter_context(
                start_server(served.path, class_names, mean=MEAN, std=STD)
            )
            endpoint = folder / f"{name}-api.toml"
            write_endpoint_file(endpoint, server.port, class_names)
            suspects.append(
                dataclasses.replace(served, name=f"{name}-api", path=endpoint, is_endpoint=True)
            )
        for number, demo_suspect in enumerate(suspects):
            opener = open_remote if demo_suspect.is_endpoint else open_file
            suspect = opener(bundle, demo_suspect.path)
            try:
                journal = folder / "journal.sqlite"
                rows.append(
                    audit_row(
                        bundle,
                        suspect,
                        demo_suspect.path,
                        AuditOptions(),
                        journal=journal,
                        is_shown=False,
                    )
                )
            finally:
                suspect.close()
            report("audits", number + 1, len(suspects))
    return rows, [suspect.expected.value for suspect in suspects]
