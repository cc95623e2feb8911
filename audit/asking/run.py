"""One audit from an open bundle and suspect to an outcome."""

from collections.abc import Callable
from pathlib import Path

from adapters.suspect import Capability, Suspect
from adapters.tariff import SpendingLimits
from audit.asking.cost import plan_spending
from audit.asking.events import AuditEvent, Finished
from audit.asking.session import AuditSession
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.journal.journal import Journal, default_journal
from audit.scores.query_scores import can_score
from audit.verdict.outcome import Outcome
from audit.verdict.rule import choose_rule


def scores_to_ask(bundle: BundleContents, suspect: Suspect) -> tuple[str, ...]:
    """Return the scores of an audit for which nobody chose any.

    The bundle's own score decides. Others are shown beside it where they cost nothing: files that
    give probabilities; an endpoint is asked for nothing more than the verdict needs.
    """
    return default_scores(
        bundle, is_file=suspect.identity.kind == "onnx", capability=suspect.capability
    )


def default_scores(
    bundle: BundleContents, *, is_file: bool, capability: Capability
) -> tuple[str, ...]:
    """Return the scores of an audit for which nobody chose any, before the suspect is open.

    Args:
        bundle: What is asked.
        is_file: The suspect is a model file, so that asking is free.
        capability: What it tells.
    """
    default = bundle.manifest.default_score
    is_free = is_file and capability is Capability.PROBABILITIES
    beside = [
        name
        for name, is_there in (
            ("rank-correlation", can_score(bundle, "rank-correlation")),
            ("mfue-w", len(bundle.arrays.triggers) > 0),
        )
        if is_free and is_there and name != default
    ]
    return (default, *beside)


def audit_suspect(
    bundle: BundleContents,
    suspect: Suspect,
    *,
    scores: tuple[str, ...] = (),
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
        bundle: From `open_bundle`.
        suspect: From `open_file`, `open_described` or `open_remote`.
        scores: Scores to compute, the deciding one first; by default the bundle's own.
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
    opened = Journal(Path(journal) if journal is not None else default_journal())
    try:
        return audit_into(
            opened,
            bundle,
            suspect,
            scores=scores,
            budget=budget,
            resume=resume,
            alpha=alpha,
            beta=beta,
            stop_early=stop_early,
            limits=limits,
            stamp=stamp,
            infer_classes=infer_classes,
            on_event=on_event,
        )
    finally:
        opened.close()


def audit_into(
    journal: Journal,
    bundle: BundleContents,
    suspect: Suspect,
    *,
    scores: tuple[str, ...] = (),
    budget: int | None = None,
    resume: bool = False,
    alpha: float | None = None,
    beta: float | None = None,
    stop_early: bool | None = None,
    limits: SpendingLimits | None = None,
    stamp: Callable[[bytes], bytes] | None = None,
    infer_classes: bool = False,
    on_event: Callable[[AuditEvent], None] | None = None,
) -> Outcome:
    """Audit a suspect to the end, into an open journal that stays open.

    Arguments and errors as in `audit_suspect`; several audits may share a journal.
    """
    scores = scores or scores_to_ask(bundle, suspect)
    spending = plan_spending(bundle, suspect, scores, budget=budget, limits=limits)
    if spending is not None:
        budget = spending.budget
    session = AuditSession(
        bundle,
        suspect,
        journal,
        scores=scores,
        budget=budget,
        resume=resume,
        rule=choose_rule(
            bundle.manifest,
            alpha=alpha,
            beta=beta,
            stop_early=suspect.identity.kind != "onnx" if stop_early is None else stop_early,
        ),
        stamp=stamp,
        limits=limits,
        infer_classes=infer_classes,
    )
    for event in session.run():
        if on_event is not None:
            on_event(event)
        if isinstance(event, Finished):
            return event.outcome
    raise AuditError("audit: ended without an outcome")
