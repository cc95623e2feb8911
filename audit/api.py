"""The few calls that a script needs; nothing inside Kinprint imports them from here."""

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from adapters.python.suspect import Function
from adapters.suspect import Suspect
from adapters.tariff import SpendingLimits
from audit.asking.events import AuditEvent
from audit.asking.options import AuditOptions
from audit.asking.run import run_audit
from audit.bundle.bundle_file import read_bundle
from audit.bundle.manifest import BundleContents
from audit.journal.journal import Journal, default_journal
from audit.signing.keys import load_trust
from audit.suspects.opening import open_described, open_file, open_function, open_remote
from audit.verdict.outcome import Outcome
from audit.verdict.rule import LookFor

__all__ = [
    "audit_suspect",
    "open_bundle",
    "open_described",
    "open_file",
    "open_function",
    "open_remote",
]


def open_bundle(
    path: str | Path, *, trust: str | Path | Iterable[str | Path] = ()
) -> BundleContents:
    """Read a bundle and check its signature.

    Args:
        path: A ``.kinprint`` file.
        trust: A public key file that may have signed it, or several, besides those in the trust
            folder.

    Raises:
        BundleError: It is no bundle.
        SignatureInvalidError: Its bytes are not those that were signed.
        UntrustedKeyError: It is signed by a key that nobody told us to trust.
    """
    keys = (trust,) if isinstance(trust, str | Path) else trust
    return read_bundle(Path(path), load_trust([Path(key) for key in keys]))


def audit_suspect(
    bundle: BundleContents | str | Path,
    suspect: Suspect | Function,
    *,
    trust: str | Path | Iterable[str | Path] = (),
    scores: tuple[str, ...] = (),
    look_for: LookFor | None = None,
    budget: int | None = None,
    resume: bool = False,
    alpha: float | None = None,
    beta: float | None = None,
    stop_early: bool | None = None,
    limits: SpendingLimits | None = None,
    journal: str | Path | None = None,
    stamp: Callable[[bytes], bytes] | None = None,
    infer_classes: bool = False,
    on_event: Callable[[AuditEvent], None] | None = None,
) -> Outcome:
    """Audit a suspect to the end.

    Args:
        bundle: From `open_bundle`, or the file.
        suspect: From `open_file`, `open_described`, `open_remote` or `open_function`, or a function
            that answers for it (`open_function` says what it gets and returns).
        trust: Where ``bundle`` is a file, a public key that may have signed it, or several.
        scores: Scores to compute, the deciding one first; by default the bundle's own, or both
            steps of its verdict.
        look_for: ``copies`` asks the crafted queries only.
        budget: Largest number of images asked.
        resume: Go on with an unfinished audit of this suspect.
        alpha: False-positive rate of the verdict; by default the bundle's.
        beta: Its miss rate; by default the bundle's.
        stop_early: Stop asking when the verdict is certain enough (`audit.verdict.betting`); by
            default where answers cost money, which is at endpoints.
        limits: What an endpoint's requests may come to, all runs together; by default what its
            file says. A request that would exceed them is not sent.
        journal: SQLite file for the answers; by default the user's own.
        stamp: Gets a timestamp over the manifest before the first question
            (`audit.signing.timestamps.stamp_at`).
        infer_classes: Find the order of the suspect's classes from the control images, all of
            which are asked then; the event `OrderFound` tells it.
        on_event: Called with every event, `Finished` last.

    Raises:
        AuditError: A setting does not fit, or bundle and suspect do not.
        SuspectError: The suspect did not answer.
    """
    if isinstance(bundle, str | Path):
        bundle = open_bundle(bundle, trust=trust)
    if callable(suspect):
        suspect = open_function(bundle, suspect)
    options = AuditOptions(
        scores=scores,
        look_for=look_for,
        budget=budget,
        resume=resume,
        alpha=alpha,
        beta=beta,
        stop_early=stop_early,
        limits=limits or SpendingLimits(),
        infer_classes=infer_classes,
    )
    path = Path(journal) if journal is not None else default_journal()
    with closing(Journal(path)) as opened:
        return run_audit(
            opened,
            bundle,
            suspect,
            options,
            stamp=stamp,
            on_event=on_event or (lambda event: None),
        )
