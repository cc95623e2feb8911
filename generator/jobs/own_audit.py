"""A finished bundle tried on its own source, before anybody relies on it.

The source, rounded as runtimes store it, has to be called derived, and an innocent that was held
back from crafting and calibration must not be.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from audit.asking.options import AuditOptions
from audit.asking.run import run_audit
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.bundle.manifest import Arrays, Manifest
from audit.journal.journal import Journal
from audit.signing.keys import PrivateKey, Trust
from audit.verdict.outcome import Outcome, Verdict
from generator.errors import GenerationError
from generator.pools.references import PoolModel
from generator.pools.removal import quantise_weights
from generator.sources.source import Source
from generator.sources.torch_suspect import TorchSuspect

_INT8 = 8


def audit_own_source(
    manifest: Manifest,
    arrays: Arrays,
    key: PrivateKey,
    source: Source,
    held_back: Sequence[PoolModel],
    *,
    report: Callable[[str, int, int], None],
    tell: Callable[[str], None],
) -> None:
    """Audit the source, its rounded copies and innocents that were held back.

    Args:
        manifest: As it will be signed.
        arrays: Likewise.
        key: The owner's.
        source: What the bundle speaks for.
        held_back: Innocents that the bundle has never seen.
        report: Progress.
        tell: Says what is not wrong, but not good either.

    Raises:
        GenerationError: The bundle is useless, or accuses an innocent; says which pool is to blame.
    """
    copies = {
        "the source": source.model,
        "its fp16 copy": _half(source.model),
        "its int8 copy": quantise_weights(source.model, _INT8),
    }
    suspects = [(name, TorchSuspect(name, model), True) for name, model in copies.items()]
    suspects += [(one.name, _asked(one), False) for one in held_back]
    with TemporaryDirectory(prefix="kinprint-craft-") as folder:
        draft = Path(folder) / "draft.kinprint"
        write_bundle(draft, manifest, arrays, key)
        bundle = read_bundle(draft, Trust(keys=(key.public_key,)))
        options = AuditOptions(scores=(manifest.default_score,), stop_early=False)
        for number, (name, suspect, is_derived) in enumerate(suspects, start=1):
            with closing(Journal(Path(folder) / f"{number}.sqlite")) as journal:
                outcome = run_audit(journal, bundle, suspect, options)
            report("own audit", number, len(suspects))
            if is_derived and outcome.verdict is not Verdict.DERIVED:
                raise GenerationError(
                    f"bundle: not written, because it calls {name} {outcome.verdict.value}: "
                    f"{_blamed(outcome)}"
                )
            if not is_derived and outcome.verdict is Verdict.DERIVED:
                raise GenerationError(
                    f"bundle: not written, because it calls {name} derived, an innocent that was "
                    "held back: the innocents that calibrate are too few, or of other kinds than "
                    "this one; give more (--train-references), or --ancestor where the model was "
                    "fine-tuned from a public checkpoint, or choose another --seed"
                )
            if not is_derived and outcome.verdict is Verdict.INCONCLUSIVE:
                tell(f"{name}, an innocent that was held back, is not cleared: {outcome.text}")


def _blamed(outcome: Outcome) -> str:
    """Say which pool is to blame."""
    if not outcome.scores:
        return f"{outcome.text} The copies' weights may not stand rounding."
    score = outcome.scores[0]
    if score.num_as_high:
        return (
            f"{score.num_as_high} of {score.num_lineages} innocents score as high. What sets it "
            "apart from them is missing: fine-tuned from a public checkpoint, it needs "
            "--ancestor; else give more --queries or held-out images"
        )
    return (
        f"its score is {score.value:.3f}, the threshold "
        f"{'none' if score.derived_above is None else format(score.derived_above, '.3f')}, with no "
        "innocent as high. The derived models that shape queries are too unlike it, or the queries "
        "too few: give more --queries or held-out images"
    )


def _asked(model: PoolModel) -> TorchSuspect:
    assert model.network is not None, "trained here"
    return TorchSuspect(model.name, model.network)


def _half(model: nn.Module) -> nn.Module:
    """Return a copy whose weights are those of half precision."""
    rounded = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in (*rounded.parameters(), *rounded.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().to(tensor.dtype))
    return rounded
