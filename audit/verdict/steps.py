"""One verdict from two steps: crafted queries first, then the line-up (ADR 20).

The first step knows a copy by a handful of answers. Only where it does not say "derived" is the
line-up asked, whose ordinary images also find what learnt from the source's answers. Either may
accuse, at a level of its own; clearing takes both. The line-up is judged as if it stood alone: that
it is not always asked makes an accusation by it rarer, never likelier, so that the levels add up to
the verdict's whatever the two steps have in common.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from audit.bundle.manifest import Steps
from audit.verdict.outcome import Outcome, ScoreOutcome, StepsOutcome, Verdict

COPY = "answers like a copy"
LEARNT = "learnt from this model's answers or weights"
MEANINGS = {"crafted queries": COPY, "line-up": LEARNT}
"""What "derived" says of a suspect, by the step that says it."""


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """What one score says, or two steps together."""

    verdict: Verdict
    text: str
    scores: tuple[ScoreOutcome, ...]
    """That of the step that was asked last, then that of the other."""
    steps: StepsOutcome | None
    """None of one score."""


def judge_steps(
    crafted: ScoreOutcome, judge_line_up: Callable[[], ScoreOutcome], levels: Steps
) -> Stepped:
    """Put two steps together.

    Args:
        crafted: What the crafted queries say, at their own level.
        judge_line_up: Says what the line-up does, at its own level; called where that counts.
        levels: Of both.
    """
    line_up = None if crafted.verdict is Verdict.DERIVED else judge_line_up()
    verdict = Verdict.INCONCLUSIVE
    decided_by: Literal["crafted queries", "line-up"] | None = None
    if line_up is None:
        verdict, decided_by = Verdict.DERIVED, "crafted queries"
    elif line_up.verdict is Verdict.DERIVED:
        verdict, decided_by = Verdict.DERIVED, "line-up"
    elif {crafted.verdict, line_up.verdict} == {Verdict.INDEPENDENT}:
        verdict = Verdict.INDEPENDENT
    # A weighted Bonferroni p-value: an innocent gets p_i <= a alpha_i / alpha with at most that
    # probability, and these sum to a. A step that was not asked cannot make it smaller.
    shares = [(crafted, levels.crafted_alpha / levels.alpha)]
    if line_up is not None:
        shares.append((line_up, levels.line_up_alpha / levels.alpha))
    p_value = min(1.0, *(score.p_value / share for score, share in shares))
    smallest = min(1.0, *(score.smallest_p_value / share for score, share in shares))
    return Stepped(
        verdict=verdict,
        text=_words(verdict, crafted, line_up, levels),
        scores=(crafted,) if line_up is None else (line_up, crafted),
        steps=StepsOutcome(
            crafted=crafted.name,
            crafted_alpha=levels.crafted_alpha,
            line_up_alpha=levels.line_up_alpha,
            crafted_verdict=crafted.verdict,
            line_up_verdict=None if line_up is None else line_up.verdict,
            decided_by=decided_by,
            means=None if decided_by is None else MEANINGS[decided_by],
            p_value=p_value,
            smallest_p_value=smallest,
        ),
    )


def _words(
    verdict: Verdict, crafted: ScoreOutcome, line_up: ScoreOutcome | None, levels: Steps
) -> str:
    rate = (
        f"Of innocent models at most a share of {levels.alpha:.3g} is called derived: "
        f"{levels.crafted_alpha:.3g} by step one, {levels.line_up_alpha:.3g} by step two."
    )
    first = f"Step one, crafted queries: {crafted.reason}"
    if line_up is None:
        return f"Derived by step one, crafted queries: it {COPY}. {crafted.reason} {rate}"
    second = f"Step two, the line-up: {line_up.reason}"
    if verdict is Verdict.DERIVED:
        # What that means stands in the line-up's own words.
        return f"Derived by step two, the line-up. {line_up.reason} {first} {rate}"
    return f"{_open_or_clear(crafted, line_up)} {first} {second}"


def _open_or_clear(crafted: ScoreOutcome, line_up: ScoreOutcome) -> str:
    """Return what two steps say neither of which says "derived"."""
    if not line_up.num_queries:
        return "The first step does not say derived, and the second was not asked."
    no_copy, no_student = (one.verdict is Verdict.INDEPENDENT for one in (crafted, line_up))
    if no_copy and no_student:
        return "Both steps speak for an independent model."
    if no_copy:
        return "No copy; whether it learnt from this model's answers stays open."
    if no_student:
        return "The line-up shows no sign of derivation, but the crafted queries do not clear it."
    return "Neither step decides."


def crafted_score(outcome: Outcome) -> ScoreOutcome:
    """Return the score of step one, or the only one that decides."""
    steps = outcome.steps
    return next(
        (one for one in outcome.scores if steps is not None and one.name == steps.crafted),
        outcome.scores[0],
    )
