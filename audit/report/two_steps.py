"""A verdict in two steps for people who read no statistics: which step said what, what it means.

Each step keeps the words that it has alone (`audit.report.words`, `audit.report.line_up_sureness`);
here stands what only both together can say.
"""

from audit.verdict.outcome import Outcome, StepsOutcome, Verdict

HEADLINES = {
    "crafted queries": "The suspect answers like a copy of the source.",
    "line-up": "The suspect has learnt from the source's answers or weights.",
}
"""By the step that says "derived"."""
WHAT_WAS_ASKED = (
    "Ordinary images come first, to see that it does the same task. Then, as step one, images on "
    "which copies of the source answer differently from models that were built independently: they "
    "tell a copy by a handful of answers."
)
WHAT_CAME_THEN = (
    "Because they did not, step two asked ordinary images that no model of the line-up was trained "
    "on: siblings of the source, trained in the same way but for the chance in it, stand beside it "
    "like the others in a line-up, and what learnt from its answers resembles it most, too."
)


def step_level(outcome: Outcome, score: str) -> float:
    """Return the false-positive rate at which one score is judged."""
    steps = outcome.steps
    if steps is None:
        return outcome.answers_alpha
    return steps.crafted_alpha if score == steps.crafted else steps.line_up_alpha


def steps_asked(outcome: Outcome) -> str:
    """Return what two steps asked, in sentences."""
    steps = outcome.steps
    has_second = steps is not None and steps.line_up_verdict is not None
    return f"{WHAT_WAS_ASKED} {WHAT_CAME_THEN}" if has_second else WHAT_WAS_ASKED


def shares_in_words(outcome: Outcome, steps: StepsOutcome) -> str:
    """Return how sure both steps together are."""
    told = (
        f"Two steps may each accuse an innocent model, step one in at most "
        f"{steps.crafted_alpha:.1%} and step two in at most {steps.line_up_alpha:.1%} of cases, "
        f"together in at most {outcome.answers_alpha:.1%}. Counted for both, p\u00a0=\u00a0"
        f"{steps.p_value:.3g}."
    )
    if outcome.verdict is Verdict.INDEPENDENT:
        told += " It takes both steps to call a suspect independent."
    return told
