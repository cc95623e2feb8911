"""Folders of ONNX models that are no suspects: innocents to calibrate by, or to challenge with.

A file that cannot be asked is a row with its reason and never stops the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapters.onnx.process.fork_client import ForkServer, can_fork
from adapters.onnx.process.limits import OnnxLimits
from adapters.onnx.sandbox_check import SandboxError
from adapters.suspect import Suspect, SuspectError
from audit.bundle.manifest import BundleContents, min_control_accuracy
from audit.bundle.probes import probes
from audit.calibrating.weight_models import kinship_of
from audit.errors import AuditError
from audit.scores.mfue import cross_entropy, probe_hits
from audit.scores.query_scores import can_score
from audit.scores.rank_correlation import top_classes
from audit.suspects.opening import open_described, open_file


@dataclass(frozen=True, kw_only=True)
class PanelAnswers:
    """What one model answers to a bundle; N triggers, Q queries."""

    name: str
    path: Path
    digest: str
    """SHA-256 of the file."""
    control_accuracy: float
    control_labels: NDArray[np.int64]
    """``[C]``"""
    query_labels: NDArray[np.int64]
    """``[Q]``"""
    query_log_probabilities: NDArray[np.float64]
    """``[Q, K]``; ``[0, K]`` where the bundle's score does not take them."""
    ranking: NDArray[np.int64]
    """Likeliest D classes of each query, ``[Q, D]``; D is 0 where the bundle has no rankings."""
    trigger_losses: NDArray[np.float64]
    """``-log p_y`` on each trigger, ``[N]``."""
    probe_hits: NDArray[np.int64]
    """Number of the M probes of each trigger that get its class, ``[N]``."""
    kinship: float | None = None
    """How near its weights are to the source's, where the bundle has a sketch."""


@dataclass(frozen=True, kw_only=True)
class PanelRefusal:
    """A file that cannot be compared, and why."""

    path: Path
    reason: str


def model_files(folder: Path) -> tuple[Path, ...]:
    """Return the models of a folder: every ``*.onnx``, or the ``*.toml`` that describes it.

    Raises:
        AuditError: There is no such folder, or no model in it.
    """
    if not folder.is_dir():
        raise AuditError(f"models: there is no folder {folder}")
    described = {path.with_suffix("") for path in folder.rglob("*.toml")}
    files = sorted(folder.rglob("*.onnx"))
    chosen = tuple(
        path.with_suffix(".toml") if path.with_suffix("") in described else path for path in files
    )
    if not chosen:
        raise AuditError(f"models: expected *.onnx files in {folder}, found none")
    return chosen


def open_panel(
    bundle: BundleContents,
    paths: Sequence[Path],
    limits: OnnxLimits = OnnxLimits(),  # noqa: B008 (frozen)
) -> Iterator[tuple[Path, Suspect | PanelRefusal]]:
    """Open one model after another; a file that is there twice is opened once.

    Args:
        bundle: What will be asked.
        paths: From `model_files`.
        limits: What each file may cost.

    Raises:
        SandboxError: `limits` ask for a full confinement, and there is none; nothing was parsed.

    Yields:
        The path, and the open suspect (closed when the next one is asked for) or why there is none.
    """
    server = ForkServer() if len(paths) > 1 and can_fork() else None
    try:
        yield from _open_all(bundle, paths, limits, server)
    finally:
        if server is not None:
            server.close()


def _open_all(
    bundle: BundleContents, paths: Sequence[Path], limits: OnnxLimits, server: ForkServer | None
) -> Iterator[tuple[Path, Suspect | PanelRefusal]]:
    seen: dict[str, Path] = {}
    for path in paths:
        opening = open_described if path.suffix == ".toml" else open_file
        try:
            suspect = opening(bundle, path, limits=limits, server=server)
        except SandboxError:
            raise  # the next one would fare no better
        except (SuspectError, AuditError) as error:
            yield path, PanelRefusal(path=path, reason=str(error))
            continue
        try:
            digest = suspect.identity.digest
            if digest in seen:
                yield path, PanelRefusal(path=path, reason=f"the same file as {seen[digest]}")
                continue
            seen[digest] = path
            yield path, suspect
        finally:
            suspect.close()


def ask_everything(bundle: BundleContents, suspect: Suspect, path: Path) -> PanelAnswers:
    """Ask a model what the bundle's own calibration models were asked.

    Raises:
        SuspectError: It does not answer, gives no probabilities, or fails the control images.
    """
    arrays, settings = bundle.arrays, bundle.manifest.probes
    control_labels = answered_labels(suspect, arrays.controls)
    right = float((control_labels == arrays.control_labels).mean())
    floor = min_control_accuracy(bundle)
    if right < floor:
        raise SuspectError(
            f"{right:.0%} of the control images right, below {floor:.0%}: an audit would call it "
            "not comparable, so it can calibrate nothing"
        )
    hits = np.zeros(len(arrays.triggers), dtype=np.int64)
    for index in range(len(arrays.triggers) if settings else 0):
        assert settings is not None, "the loop is empty without probes"
        images = probes(
            index,
            arrays.triggers[index],
            arrays.probe_ends[index],
            int(arrays.probe_alphas[index]),
            settings,
        )
        given = answered_labels(suspect, images)
        hits[index] = probe_hits(given[None], arrays.trigger_labels[index : index + 1])[0]
    return PanelAnswers(
        name=path.stem,
        path=path,
        digest=suspect.identity.digest,
        control_accuracy=right,
        control_labels=control_labels,
        query_labels=answered_labels(suspect, arrays.queries),
        query_log_probabilities=_log_probabilities(
            suspect, arrays.queries[: len(arrays.source_query_log_probabilities)]
        ).reshape(len(arrays.source_query_log_probabilities), bundle.manifest.task.num_classes),
        ranking=_ranking(bundle, suspect),
        trigger_losses=_losses(suspect, arrays.triggers, arrays.trigger_labels),
        probe_hits=hits,
        kinship=kinship_of(suspect.identity.details),
    )


def _batches(suspect: Suspect, images: NDArray[np.uint8]) -> Iterator[slice]:
    for start in range(0, len(images), suspect.batch_size):
        yield slice(start, start + suspect.batch_size)


def answered_labels(suspect: Suspect, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the classes that a model gives ``[N, H, W, C]``, ``[N]``."""
    parts = [suspect.predict(images[part]).labels for part in _batches(suspect, images)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _ranking(bundle: BundleContents, suspect: Suspect) -> NDArray[np.int64]:
    arrays = bundle.arrays
    if not can_score(bundle, "rank-correlation"):
        return np.empty((len(arrays.queries), 0), dtype=np.int64)
    return top_classes(_log_probabilities(suspect, arrays.queries))


def _losses(
    suspect: Suspect, images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    if not len(images):
        return np.zeros(0)
    return cross_entropy(_log_probabilities(suspect, images), labels)


def _log_probabilities(suspect: Suspect, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return ``[N, K]``, or nothing for no images."""
    parts = []
    for part in _batches(suspect, images):
        rows = suspect.predict(images[part]).log_probabilities
        if rows is None:
            raise SuspectError("output: expected probabilities or logits, got labels only")
        parts.append(rows)
    return np.concatenate(parts) if parts else np.zeros((0, 0))
