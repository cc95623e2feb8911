"""A line-up for people who read no statistics: what it did, and how far its numbers carry."""

from audit.report.two_steps import step_level
from audit.verdict.line_up_outcome import LineUpOutcome
from audit.verdict.outcome import Outcome, ScoreOutcome, Verdict

WHAT_WAS_ASKED = (
    "Ordinary images come first, to see that it does the same task; the others are ordinary "
    "images, too, which no model of the line-up was trained on. Siblings of the source, trained in "
    "the same way but for the chance in it, stand beside it like the others in a line-up."
)
RESTS_ON_SIBLINGS = (
    "It rests on siblings that were made like the source but for the chance in it, and on none "
    "being left out: the owner says so, and what their accuracy can tell of it was checked."
)


def line_up_sureness(outcome: Outcome, score: ScoreOutcome, found: LineUpOutcome) -> list[str]:
    """Return how sure a line-up's verdict is, in sentences."""
    num_siblings = len(found.leads) - 1
    told = []
    if found.led_after is not None:
        told.append(
            f"The audit stopped after {score.num_queries} of {score.num_in_bundle} images, because "
            "one model of the line-up was ahead of all others. Whoever that had been, it would "
            "have stopped there, so that stopping adds nothing to the risk of an error."
        )
    if found.unfair is not None:
        told.append(f"For a fair comparison source and siblings must be alike, and {found.unfair}.")
    if found.basis == "line-up":
        told.append(
            "A model that has nothing of the source was made without knowing which of the "
            f"{num_siblings + 1} models is the source, and so resembles the source most in at most "
            f"1 of {num_siblings + 1} cases, whatever kind of model it is."
        )
    going_as_far = found.num_lineages_as_far
    told.append(
        f"{found.num_lineages} models that have nothing of the source answered the same images; "
        f"the source was as far ahead for {going_as_far if going_as_far else 'none'} of them."
    )
    if score.verdict is not Verdict.DERIVED and found.power:
        kinds = ", ".join(
            f"{one.num_found} of {one.num_models} ({kind})" for kind, one in found.power.items()
        )
        told.append(
            "Of models that the owner did derive from the source, so many would have been found by "
            f"then: {kinds}."
        )
    if score.verdict is Verdict.DERIVED:
        told.append(
            f"A suspect counts as derived only where an innocent would be accused in at most "
            f"{step_level(outcome, score.name):.1%} of cases."
        )
    return told
