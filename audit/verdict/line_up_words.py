"""A line-up's verdict in words: who leads, how sure that is, and what it can find."""

from audit.verdict.line_up_outcome import LineUpOutcome
from audit.verdict.outcome import ScoreOutcome, Verdict
from audit.verdict.rule import MIN_QUERIES, DecisionRule


def line_up_words(
    score: ScoreOutcome, found: LineUpOutcome, rule: DecisionRule, *, num_classes: int
) -> str:
    """Return the verdict of a line-up in a few sentences."""
    return " ".join(
        sentence
        for sentence in (
            _standing(score, found),
            _meaning(score, found, rule),
            _limits(found, rule),
            _power(score, found),
            _few_classes(score, num_classes),
        )
        if sentence
    )


def _standing(score: ScoreOutcome, found: LineUpOutcome) -> str:
    num, members = score.num_queries, len(found.leads)
    asked = "1 question" if num == 1 else f"{num} questions"
    if not num:
        return "No question of the line-up was answered."
    if found.led_after is not None and found.is_led_by_source:
        return (
            f"After {asked} the suspect resembles the source more than any of its "
            f"{members - 1} siblings, by more than {found.lead_bound:.3g} nats."
        )
    if found.led_after is not None:
        return (
            f"After {asked} the suspect resembles a sibling of the source more than any other of "
            f"the {members} members, by more than {found.lead_bound:.3g} nats."
        )
    if found.is_led_by_source:
        return (
            f"Over {asked} the suspect resembles the source more than any of its {members - 1} "
            f"siblings, by {score.value:.1f} nats."
        )
    place = "first" if found.rank == 1 else f"number {found.rank}"
    return f"Over {asked} nobody leads; the source is {place} of {members}."


def _meaning(score: ScoreOutcome, found: LineUpOutcome, rule: DecisionRule) -> str:
    if found.led_after is None and score.num_queries < MIN_QUERIES:
        return f"At least {MIN_QUERIES} answers are needed."
    if found.led_after is None and score.num_queries < score.num_in_bundle:
        return (
            f"Asking ended after {score.num_queries} of {score.num_in_bundle} questions, which "
            "decides nothing: ask the others."
        )
    if found.basis == "line-up":
        rank = (
            f"p = {found.rank_p_value:.3f}: whatever an innocent model is, it resembles the source "
            f"most with probability at most {found.smallest_p_value:z.3f}."
        )
    else:
        rank = f"Among the panel's innocents p = {found.innocents_p_value:z.3f}."
    told = "none" if not found.num_lineages_as_far else str(found.num_lineages_as_far)
    panel = f"Of {found.num_lineages} innocent networks of the panel, {told} went as far."
    match score.verdict:
        case Verdict.DERIVED:
            return f"{rank} {panel} It has learnt from this model's answers or weights."
        case Verdict.INDEPENDENT:
            return (
                "There is no sign of derivation, and few derived models show as little "
                f"(p = {found.derived_p_value:z.3f})."
            )
    if found.is_led_by_source and found.num_lineages_as_far:
        return f"{rank} {panel} A kind of innocents may lean to the source, so that it stays open."
    return "There is no sign of derivation."


def _limits(found: LineUpOutcome, rule: DecisionRule) -> str:
    if found.unfair is not None:
        return f"Because {found.unfair}, its lead is ranked among innocents and not among siblings."
    if found.basis == "innocents":
        return (
            f"With {len(found.leads) - 1} siblings the line-up itself can give p = "
            f"{found.smallest_p_value:z.3f} at best, above {rule.alpha:g}, so that the lead is "
            "ranked among innocents."
        )
    return ""


def _power(score: ScoreOutcome, found: LineUpOutcome) -> str:
    if score.verdict is Verdict.DERIVED or not found.power:
        return ""
    kinds = ", ".join(
        f"{one.num_found} of {one.num_models} ({kind})" for kind, one in found.power.items()
    )
    return f"So many of the bundle's own derived models are found by then: {kinds}."


def _few_classes(score: ScoreOutcome, num_classes: int) -> str:
    if num_classes > 2 or score.verdict is Verdict.DERIVED:
        return ""
    return (
        "With two classes an answer says little, so that finding nothing says little, too: what "
        "learnt from the source may need many times the questions."
    )
