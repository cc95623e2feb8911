"""What a change between two audits of one suspect means, in sentences that stand alone."""

from audit.records.change import Agreement, Answers, Change, OddAnswers, Sameness

_KINDS = {
    "control": ("control image", "control images"),
    "query": ("query", "queries"),
    "trigger": ("trigger", "triggers"),
    "probe": ("probe", "probes"),
    "line-up": ("question of the line-up", "questions of the line-up"),
}


def change_sentences(change: Change, *, alpha: float) -> tuple[str, ...]:
    """Say what two audits show of whether one model answered both.

    Args:
        change: Between them.
        alpha: The bundle's false-positive rate: above it, chance is not ruled out.
    """
    told = [_found(change)]
    if change.sameness is Sameness.CHANGED:
        told.append(_meant(change))
    if change.sameness in (Sameness.CHANGED, Sameness.UNCHANGED) and change.agreement is not None:
        told.append(_unrelated(change.agreement, alpha))
    return tuple(told)


def _found(change: Change) -> str:
    if change.sameness is Sameness.SAME_FILE:
        same = f" ({change.num_changed} of {change.num} answers differ)" * (change.num_changed > 0)
        return f"Both audits asked the same file, byte for byte: it is the same model.{same}"
    if change.sameness is Sameness.NOT_COMPARED:
        return (
            "No answer can be compared: the audits have no question in common, or they take the "
            "suspect's labels for other classes. An audit that asks everything (--ask-all) can be "
            "compared with any other."
        )
    counts = "; ".join(_counted(one) for one in change.answers)
    if change.sameness is Sameness.UNCHANGED:
        means = (
            "It is another file, which answers all of them like the earlier one."
            if change.is_other_file
            else "Nothing here speaks for another model."
        )
        return f"No answer changed: {counts}. {means}"
    return f"Answers changed: {counts}."


def _counted(one: Answers) -> str:
    low, high = one.interval
    name = _KINDS[one.kind][one.num != 1]
    return f"{one.num_changed} of {one.num} {name} (95 % interval {low:.1%} to {high:.1%})"


def _meant(change: Change) -> str:
    if change.is_other_file:
        return "It is another file, and answers otherwise."
    first = (
        "A model that always gives an image the same answer did not give both: another model or "
        "version answers now, or it is asked in another way, or it answers by whim."
    )
    return f"{first} {_whim(change.odd)}"


def _whim(odd: OddAnswers | None) -> str:
    if odd is None or not odd.num:
        return (
            "Neither audit asked these images twice, so nobody knows how often it contradicts "
            "itself; two audits on one day would tell."
            if odd is None
            else "Where an image was asked twice in one audit, nothing changed from one to another."
        )
    return (
        f"Of {odd.num} images that one audit asked twice and where one of three answers differs, "
        f"it is the other audit's in {odd.num_between}. Whim alone brings a third of them, and so "
        f"many or more with probability {odd.p_value:.3g}, if it does not remember its answers."
    )


def _unrelated(found: Agreement, alpha: float) -> str:
    said = (
        f"Its answers agree with the earlier ones on {found.num_agreeing} of {found.num} queries. "
        "Had a model that is unrelated to the earlier one taken its place, it would agree as much "
        f"with probability at most {found.p_value:.3g} (smallest possible: "
        f"{found.smallest_p_value:.3g})"
    )
    if found.p_value <= alpha:
        return f"{said}; the bundle's rate of {alpha:g} rules that out."
    return f"{said}; that is not ruled out."
