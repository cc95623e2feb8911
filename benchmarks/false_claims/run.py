"""``python -m benchmarks false_claims``: craft every false claim, and see who notices."""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from audit.asking.options import AuditOptions
from audit.asking.run import run_audit
from audit.bundle.bundle_file import parse_bundle
from audit.bundle.manifest import BundleContents
from audit.calibrating.bundle_faults import bundle_faults
from audit.calibrating.challenge import Challenge, Finding, challenge
from audit.calibrating.model_folder import model_files
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.signing.keys import PrivateKey, Trust
from audit.verdict.outcome import Verdict
from benchmarks.false_claims.claim import Claim, labels_of, signed_bytes
from benchmarks.false_claims.forgeries import FORGERIES, UNSEEN, World, honest_claim
from benchmarks.false_claims.networks import Population, train_population
from benchmarks.results_file import write_results
from generator.sources.onnx_export import export_onnx
from generator.sources.torch_suspect import TorchSuspect

KEY = PrivateKey.from_seed(bytes(32))
"""Anybody's: a signature says who claims, not that it is true."""


@dataclass(frozen=True, kw_only=True)
class Noticed:
    """What becomes of one claim."""

    by: str
    """``inspect``, ``challenge`` or ``nobody``."""
    finding: str
    words: tuple[str, ...]
    num_accused: int | None
    """Of the victims, by an audit; None where the bundle is not even read."""
    tests: tuple[dict[str, object], ...] = ()


def judged(
    claim: Claim, victims: Sequence[nn.Module], strangers: Path, *, with_changes: bool = True
) -> Noticed:
    """Inspect and challenge a claim, and audit those whom it is made against.

    Args:
        claim: Signed here, by whoever made it.
        victims: Innocent networks.
        strangers: Folder with a judge's ONNX files.
        with_changes: As in `audit.calibrating.challenge.challenge`.
    """
    try:
        bundle = parse_bundle(signed_bytes(claim, KEY), Trust(keys=(KEY.public_key,)))
    except AuditError as error:
        return Noticed(by="inspect", finding="refused", words=(str(error),), num_accused=None)
    num_accused = _num_accused(bundle, victims)
    found = challenge(bundle, model_files(strangers), with_changes=with_changes)
    by = "challenge" if found.finding is Finding.FAILS else "nobody"
    return Noticed(
        by="inspect" if bundle_faults(bundle) else by,
        finding=found.finding,
        words=found.faults,
        num_accused=num_accused,
        tests=_tests(found),
    )


def run() -> int:
    """Train, forge, judge, print and store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks false_claims")
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar10-*.zip")
    parser.add_argument("--work", type=Path, help="folder that keeps networks")
    parser.add_argument("--strangers", type=int, default=20)
    parser.add_argument("--images", type=int, default=4000, help="that a network is trained on")
    parser.add_argument("--epochs", type=float, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kinprint-false-claims-") as made:
        everybody = train_population(
            options.data,
            options.work or Path(made) / "networks",
            num_strangers=options.strangers,
            num_images=options.images,
            epochs=options.epochs,
        )
        strangers = Path(made) / "strangers"
        _export(everybody.strangers, strangers)
        print(f"trained after {time.monotonic() - began:.0f} s", flush=True)
        rows = _judge_all(everybody, strangers)
    settings = {
        "strangers": options.strangers,
        "images": options.images,
        "epochs": options.epochs,
        "queries": everybody.world(0).num_queries,
        "accuracies": _accuracies(everybody),
        "processor_seconds": round(sum(os.times()[:4])),
    }
    print(write_results("false_claims", settings, rows))
    return 0


def _judge_all(everybody: Population, strangers: Path) -> list[dict[str, object]]:
    rows = []
    for source in range(len(everybody.sources)):
        world = everybody.world(source)
        makers: dict[str, Callable[[World], Claim]] = {
            "honest, crafted queries": honest_claim,
            "honest, natural queries": partial(honest_claim, is_natural=True),
        }
        # Every kind of forgery once, honest bundles for every source.
        makers |= {**FORGERIES, **UNSEEN} if source == 0 else {}
        for name, make in makers.items():
            found = judged(make(world), everybody.victims, strangers)
            told = found.words[0] if found.words else ""
            print(f"{name} ({source}): {found.finding}, by {found.by}. {told}", flush=True)
            rows.append({"claim": name, "source": source, **vars(found)})
    return rows


def _export(models: Sequence[nn.Module], folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, model in enumerate(models):
        network = model.network
        assert isinstance(network, nn.Module)
        export_onnx(network, folder / f"stranger-{number:02d}.onnx", image_shape=(16, 16, 3))


def _num_accused(bundle: BundleContents, victims: Sequence[nn.Module]) -> int:
    num = 0
    for number, victim in enumerate(victims):
        with closing(Journal(None)) as journal:
            outcome = run_audit(
                journal, bundle, TorchSuspect(f"victim-{number}", victim), AuditOptions()
            )
        num += outcome.verdict is Verdict.DERIVED
    return num


def _tests(found: Challenge) -> tuple[dict[str, object], ...]:
    return tuple(
        {name: round(one, 6) if isinstance(one, float) else one for name, one in vars(test).items()}
        for test in found.tests
    )


def _accuracies(everybody: Population) -> dict[str, list[float]]:
    controls = everybody.controls
    return {
        kind: [
            round(float((labels_of([model], controls.images)[0] == controls.labels).mean()), 3)
            for model in getattr(everybody, kind)
        ]
        for kind in ("sources", "innocents", "low", "victims", "strangers")
    }
