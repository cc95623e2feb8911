"""What a timeline of audits says, in sentences that stand alone."""

from collections.abc import Mapping

from audit.records.record import utc
from audit.records.timeline import DatedAudit, Since, Timeline


def timeline_sentences(timeline: Timeline) -> tuple[str, ...]:
    """Say since when a suspect is what it was found to be, and what that rests on."""
    moments = dict(zip(timeline.audits, begun(timeline), strict=True))
    return (
        _since(timeline.since, moments),
        *_changed(timeline, moments),
        *_chances(timeline),
        *_missing(timeline),
        _times(timeline),
    )


def begun(timeline: Timeline) -> tuple[str, ...]:
    """Return when each audit began, UTC: days, or as much as tells the audits apart."""
    times = [utc(audit.time).replace("T", " ") for audit in timeline.audits]
    lengths = (len("2025-01-01"), len("2025-01-01 12:00"), len("2025-01-01 12:00:00"))
    length = next(
        (each for each in lengths if len({time[:each] for time in times}) == len(times)), None
    )
    return tuple(time[: length or lengths[-1]] for time in times)


def _since(since: Since | None, moments: Mapping[DatedAudit, str]) -> str:
    if since is None:
        return "No audit came to a decision, so nothing is known of any time."
    many = f"all {since.num_agreeing} audits that decide from then on agree"
    one = "no later audit decides"
    after = many if since.num_agreeing > 1 else one
    silent = f"; {_audits(since.num_silent)} of that time decided nothing" * bool(since.num_silent)
    verdict, first = since.verdict.value, moments[since.first]
    if since.before is None:
        return (
            f"{verdict.capitalize()} since {first} at the latest, the first audit here that "
            f"decides: {after}{silent}."
        )
    assert since.before.verdict is not None
    return (
        f"{verdict.capitalize()} since {first} at the latest: {after}{silent}. On "
        f"{moments[since.before]} it was {since.before.verdict.value}; what changed did so in "
        "between, or one of the two is an error."
    )


def _changed(timeline: Timeline, moments: Mapping[DatedAudit, str]) -> tuple[str, ...]:
    compared = [change for change in timeline.changes if change.num]
    if not compared:
        return ()
    days = [
        moments[audit]
        for audit, change in zip(timeline.audits[1:], timeline.changes, strict=True)
        if change.num_changed
    ]
    if not days:
        return ("From one audit to the next, no answer to the same question ever changed.",)
    return (f"Answers to the same questions changed before the audits of {', '.join(days)}.",)


def _chances(timeline: Timeline) -> tuple[str, ...]:
    outcomes = [audit.record.closing.outcome for audit in timeline.audits]
    alphas = [outcome.alpha for outcome in outcomes if outcome is not None]
    if len(alphas) < 2:
        return ()
    bound = sum(alphas)
    once = (
        f"that at least one of {len(alphas)} does so of an innocent suspect has probability at "
        f"most {bound:.3g}"
        if bound < 1
        else f"of {len(alphas)} audits of an innocent suspect one may well do so"
    )
    return (
        f"Each audit may wrongly say derived with its own probability ({_range(alphas)}): {once}. "
        "Audits of an unchanged model repeat one another's errors and do not confirm one another.",
    )


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _missing(timeline: Timeline) -> tuple[str, ...]:
    begun = max(audit.record.opening.count.total for audit in timeline.audits)
    here = len(timeline.audits)
    if begun <= here:
        return ()
    return (
        f"The auditor's journal counts {begun} audits of this suspect; {here} are here. Ask for "
        "the others.",
    )


def _times(timeline: Timeline) -> str:
    stamped = sum(audit.is_stamped for audit in timeline.audits)
    if stamped == len(timeline.audits):
        return "A trusted time-stamping authority saw the answers of every audit."
    saw = f"; a trusted time-stamping authority saw the answers of {stamped}" * bool(stamped)
    return f"Times are the auditor's word{saw}."


def _audits(num: int) -> str:
    return "1 audit" if num == 1 else f"{num} audits"
