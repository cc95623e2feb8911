"""What goes to a worker of a sweep and what comes back: frozen values that travel well.

A task is one suspect with all bundles that it has not been asked with. Bundles travel apart from
tasks, once per worker, as the bytes that their owner signed.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

from adapters.onnx.model import Device
from adapters.tariff import SpendingLimits
from audit.asking.options import AuditOptions
from audit.asking.plan import deciding_scores
from audit.bundle.manifest import BundleContents
from audit.journal.sweep_rows import PairStatus
from audit.journal.transfer import AuditCopy
from audit.signing.keys import PublicKey
from audit.suspects.found_files import SuspectKind
from audit.verdict.outcome import Outcome
from audit.verdict.rule import LookFor


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """How every pair of a sweep is asked."""

    scores: tuple[str, ...] = ()
    """Scores to compute, the deciding one first; each bundle's own, or both steps, if empty."""
    look_for: LookFor | None = None
    """What to be content with."""
    alpha: float | None = None
    """False-positive rate; each bundle's own if None."""
    beta: float | None = None
    """Miss rate; each bundle's own if None."""
    stop_early: bool = True
    """Stop asking when the verdict is certain enough."""
    labels_only: bool = False
    resize: bool = False
    """Ask also models that take images of another size than the bundle's."""
    budget: int | None = None
    """Largest number of images per pair."""
    device: Device = "auto"
    require_sandbox: bool = False
    """Parse no file unless its process can be shut in fully."""
    num_threads: int | None = None
    """Threads per suspect file; all cores if None."""
    max_requests: int | None = None
    """Requests per pair, for endpoints."""
    max_cost: str | None = None
    """Cost per pair, for endpoints; an exact decimal."""
    rate: float | None = None
    """Requests a second, instead of what the endpoint file says."""
    ca_bundle: Path | None = None
    allow_plain_http: bool = False
    is_agreed: bool = False
    """Ask endpoints that cost money though nothing limits what they cost."""

    @property
    def limits(self) -> SpendingLimits:
        """What one pair may send and cost."""
        return SpendingLimits(
            max_requests=self.max_requests,
            max_cost=None if self.max_cost is None else Decimal(self.max_cost),
        )

    def options(self, bundle: BundleContents, *, resume: bool = False) -> AuditOptions:
        """Return how one pair with this bundle is asked."""
        return AuditOptions(
            scores=self._scores(bundle),
            in_steps=AuditOptions(scores=self.scores, look_for=self.look_for).decides_in_steps(
                bundle.manifest
            ),
            look_for=self.look_for,
            budget=self.budget,
            resume=resume,
            alpha=self.alpha,
            beta=self.beta,
            stop_early=self.stop_early,
            limits=self.limits,
        )

    def asked_as(self, bundle: BundleContents) -> str:
        """Return what tells two ways of asking a pair apart: a change means asking anew.

        Whatever only limits how far an audit goes is not part of it.
        """
        told = {
            "scores": list(self._scores(bundle)),
            "score_version": bundle.manifest.score_version,
            "alpha": self.alpha,
            "beta": self.beta,
            "stop_early": self.stop_early,
            "labels_only": self.labels_only,
            "resize": self.resize,
        }
        if self.look_for is not None:
            told["look_for"] = self.look_for
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def _scores(self, bundle: BundleContents) -> tuple[str, ...]:
        # Nothing beside: of thousands of suspects only the verdict is wanted.
        return self.scores or deciding_scores(bundle.manifest, look_for=self.look_for)


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What every worker needs, sent once."""

    bundles: tuple[bytes, ...]
    """Bundle files."""
    trusted: tuple[PublicKey, ...]
    settings: SweepSettings
    versions: tuple[tuple[str, str], ...]
    """Of the coordinator; a worker must have the same."""

    @property
    def key(self) -> str:
        """Return a name for this content."""
        digest = hashlib.sha256()
        for bundle in self.bundles:
            # Digests have one length; files side by side could be cut in another place.
            digest.update(hashlib.sha256(bundle).digest())
        told = [asdict(self.settings), self.versions, [key.key_id for key in self.trusted]]
        digest.update(json.dumps(told, default=str).encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class SuspectTask:
    """One suspect to be asked."""

    suspect: str
    """Its key: equal for equal suspects, whatever they are called."""
    path: str
    """One of its names."""
    kind: SuspectKind
    sha256: str | None
    """Of the ONNX file, which must be the same when it is asked; None for an endpoint."""
    bundles: tuple[str, ...]
    """SHA-256 of the manifests of the bundles to ask with."""
    named_folder: str | None = None
    """Folder in which the sweep found it."""
    audits: tuple[str | None, ...] = ()
    """Audit per bundle that an earlier run of the sweep began, for endpoints."""


@dataclass(frozen=True, kw_only=True)
class PairResult:
    """What asking one suspect with one bundle came to."""

    bundle: str
    """SHA-256 of the manifest."""
    status: PairStatus
    reason: str
    """The outcome in words, or why there is none."""
    exit_code: int
    seconds: float
    outcome: Outcome | None = None
    is_complete: bool = True
    """False if a budget ended it before it could decide."""
    audit: str | None = None
    copy: AuditCopy | None = None
    """The audit's rows; None where it is in the sweep's journal already."""
    cost: str | None = None
    """Exact decimal."""
    currency: str | None = None
    outputs: tuple[str, ...] = ()
    """Outputs that disagree; each is to be asked as a suspect of its own."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What came of a task."""

    task: SuspectTask
    pairs: tuple[PairResult, ...]
    worker: str
    """Who asked."""
    cpu_s: float = 0.0
    """CPU time of the worker and what it started, seconds; 0 where nobody measured."""
