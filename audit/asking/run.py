"""One audit from an open bundle and suspect to an outcome."""

from collections.abc import Callable
from dataclasses import replace

from adapters.class_map import SharedNameError
from adapters.http.suspect import HttpEndpoint
from adapters.suspect import Suspect
from audit.asking.cost import plan_spending
from audit.asking.events import AuditEvent, Finished
from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.verdict.outcome import Outcome


def run_audit(
    journal: Journal,
    bundle: BundleContents,
    suspect: Suspect,
    options: AuditOptions,
    *,
    stamp: Callable[[bytes], bytes] | None = None,
    on_event: Callable[[AuditEvent], None] = lambda event: None,
) -> Outcome:
    """Audit a suspect to the end.

    Args:
        journal: Where answers go; several audits may share it, and it stays open.
        bundle: A bundle whose signature was checked.
        suspect: Whom to ask; stays open.
        options: What is asked.
        stamp: Gets a timestamp over the manifest before the first question
            (`audit.signing.timestamps.stamp_at`).
        on_event: Called with every event, `Finished` last.

    Raises:
        AuditError: A setting does not fit, or bundle and suspect do not.
        SuspectError: The suspect did not answer.
    """
    try:
        return _run(journal, bundle, suspect, options, stamp, on_event)
    except SharedNameError as error:
        # The first answer shows it, so that hardly anything is asked twice.
        if not merge_named_alike(suspect, error):
            raise
    return _run(journal, bundle, suspect, options, stamp, on_event)


def merge_named_alike(suspect: Suspect, error: SharedNameError) -> bool:
    """Let an endpoint take classes of one name for one, if it does not yet and they are known."""
    while (inner := getattr(suspect, "inner", None)) is not None:
        suspect = inner
    if not isinstance(suspect, HttpEndpoint) or not error.groups or suspect.merges_classes:
        return False
    suspect.merge_classes(error.groups)
    return True


def _run(
    journal: Journal,
    bundle: BundleContents,
    suspect: Suspect,
    options: AuditOptions,
    stamp: Callable[[bytes], bytes] | None,
    on_event: Callable[[AuditEvent], None],
) -> Outcome:
    options = options.settled_for(bundle, suspect)
    spending = plan_spending(bundle, suspect, options)
    if spending is not None:
        options = replace(options, budget=spending.budget)
    session = AuditSession(bundle, suspect, journal, options, stamp=stamp)
    for event in session.run():
        on_event(event)
        if isinstance(event, Finished):
            return event.outcome
    raise AuditError("audit: ended without an outcome")
