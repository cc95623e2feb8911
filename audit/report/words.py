"""A verdict in words for people who read no statistics: what was found, how sure, what it is not.

Sentences say what the numbers carry and no more; each takes its numbers from the outcome.
"""

from dataclasses import dataclass

from audit.bundle.claim_words import claim_words
from audit.bundle.commitment import UNDATED
from audit.records.record import Record, State
from audit.report.line_up_sureness import (
    RESTS_ON_SIBLINGS,
    WHAT_WAS_ASKED,
    line_up_sureness,
)
from audit.report.score_words import SCORE_WORDS
from audit.report.two_steps import HEADLINES, shares_in_words, step_level, steps_asked
from audit.report.weights_sureness import WHAT_WAS_COMPARED, weights_sureness
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.outcome import Outcome, ScoreOutcome, Verdict
from audit.verdict.p_values import innocents_needed

WEAK_P_VALUE = 0.05
"""Above this a finding of derivation carries a caution."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """The first page of a report."""

    headline: str
    found: tuple[str, ...]
    """What was done and found."""
    sureness: tuple[str, ...]
    """How far the numbers carry."""
    beyond: tuple[str, ...]
    """What does not follow."""


_HEADLINES = {
    Verdict.DERIVED: "The suspect behaves like a model derived from the source.",
    Verdict.INDEPENDENT: "The suspect behaves like a model that is independent of the source.",
    Verdict.INCONCLUSIVE: "The test does not decide whether the suspect is derived.",
    Verdict.NOT_COMPARABLE: "The suspect could not be compared with the source.",
    Verdict.NO_COPY: "The suspect is no copy of the source; extraction was not looked for.",
}

_BEYOND = {
    Verdict.DERIVED: (
        "It does not say how the suspect was made from the source: by copying, further training, "
        "pruning, or by learning from its answers.",
        "It does not say who made it, or whether that was allowed.",
        "It covers the kinds of innocent models that it was compared with, listed below; a kind "
        "that is missing there is not covered.",
    ),
    Verdict.INDEPENDENT: (
        "It does not prove that the suspect is independent: a derivation of a kind that is not "
        "among those listed below may go unseen.",
        "It says nothing about the data that the suspect was trained on.",
    ),
    Verdict.INCONCLUSIVE: ("It speaks neither for derivation nor against it.",),
    Verdict.NOT_COMPARABLE: (
        "It speaks neither for derivation nor against it: no trigger was shown to the suspect.",
    ),
    Verdict.NO_COPY: (
        "It does not say that the suspect learnt nothing from the source: a model that was trained "
        "on its answers is told apart by a line-up, which was not asked.",
        "It does not prove that the suspect is no copy: one that was changed in a way that is not "
        "among those listed below may go unseen.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How often queries were answered like the source: the plainest thing to compare."""

    num_queries: int
    suspect: int
    innocent: tuple[int, int]
    """Fewest and most among the innocent models."""


def words(record: Record, agreement: Agreement | None = None) -> Words:
    """Put a record's outcome in words.

    Args:
        record: The record.
        agreement: Known where the bundle is at hand.
    """
    outcome = record.closing.outcome
    if outcome is None:
        return Words(
            headline="The audit was interrupted; there is no result.",
            found=(
                f"{_suspect(record)} was asked {len(record.rows)} of the planned questions before "
                "the audit was broken off.",
            ),
            sureness=("Nothing can be concluded from an incomplete audit.",),
            beyond=(),
        )
    headline = _HEADLINES[outcome.verdict]
    if outcome.steps is not None and outcome.steps.decided_by is not None:
        headline = HEADLINES[outcome.steps.decided_by]
    weights = outcome.weights
    if weights is not None and weights.decided_by == "weights":
        headline = "The suspect's weights come from the source."
    if record.closing.state is State.BUDGET:
        headline = "The budget ended the test before it could decide."
    found = [_what_was_done(record, outcome)]
    sureness: list[str] = []
    steps = outcome.steps
    if steps is not None and steps.line_up_verdict is not None:
        # What was asked last stands first among the scores.
        for name, score in zip(("two", "one"), outcome.scores[:2], strict=True):
            found.insert(1, f"Step {name}: {_what_came_back(score, agreement)}")
            sureness[:0] = [f"Step {name}. {sentence}" for sentence in _how_sure(outcome, score)]
        sureness.append(shares_in_words(outcome, steps))
    elif outcome.scores:
        score = outcome.scores[0]
        found.append(_what_came_back(score, agreement))
        sureness += _how_sure(outcome, score)
        if steps is not None:
            sureness.append(shares_in_words(outcome, steps))
    else:
        found.append(outcome.text)
        sureness.append(
            "The control images come first for this reason: with wrong class names, colours or "
            "sizes every answer would look like that of an unrelated model."
        )
    if outcome.scores and (claim := claim_words(record.opening.bundle.manifest)):
        sureness.append(claim)
    if weights is not None:
        found.append(WHAT_WAS_COMPARED)
        sureness += weights_sureness(outcome, weights)
    return Words(
        headline=headline,
        found=tuple(found),
        sureness=tuple(sureness),
        beyond=_beyond(outcome),
    )


def _beyond(outcome: Outcome) -> tuple[str, ...]:
    told = _BEYOND[outcome.verdict]
    found = outcome.scores[0].line_up if outcome.scores else None
    if outcome.verdict is not Verdict.DERIVED:
        return told
    if found is not None and found.basis == "line-up":
        # Here the innocents' kinds play no part.
        told = (*told[:-1], RESTS_ON_SIBLINGS)
    return (*told, UNDATED)


def _suspect(record: Record) -> str:
    suspect = record.opening.suspect
    what = {"onnx": "The file", "python": "Whatever answers through the auditor's function"}
    return f"{what.get(suspect.kind, 'The service')} “{suspect.name}”"


def _what_was_done(record: Record, outcome: Outcome) -> str:
    manifest = record.opening.bundle.manifest
    asked = (
        "Ordinary images come first, to see that it does the same task; the others are images on "
        "which copies of the source answer differently from models that were built independently."
    )
    if record.opening.scores == (LINE_UP,):
        asked = WHAT_WAS_ASKED
    elif outcome.steps is not None:
        asked = steps_asked(outcome)
    return (
        f"The source is the image classifier “{manifest.model_name}” (owner: {manifest.owner}). "
        f"{_suspect(record)}, the suspect, was shown {len(record.rows)} images that the owner had "
        f"fixed and signed beforehand, and its answers were written down. {asked}"
    )


def _what_came_back(score: ScoreOutcome, agreement: Agreement | None) -> str:
    told = {
        Verdict.DERIVED: "The suspect answers like models derived from the source.",
        Verdict.INDEPENDENT: "The suspect answers like models that are independent of the source.",
    }.get(score.verdict)
    if told is None:
        told = f"The answers do not decide. {score.reason}"
    if agreement is None or not (weighed := SCORE_WORDS[score.name].weighed):
        return told
    fewest, most = agreement.innocent
    return (
        f"{told} It gave the source's own answer to {agreement.suspect} of the "
        f"{agreement.num_queries} deciding images; the independent models did so for "
        f"{fewest if fewest == most else f'{fewest} to {most}'} of them. {weighed}"
    )


def _how_sure(outcome: Outcome, score: ScoreOutcome) -> list[str]:
    if score.line_up is not None:
        return line_up_sureness(outcome, score, score.line_up)
    num = score.num_lineages
    if num == 0:
        return ["No innocent model was there to compare with, so no error rate can be stated."]
    above, told = score.num_as_high, []
    if score.stopped_early:
        told.append(
            f"The audit stopped after {score.num_queries} of {score.num_in_bundle} images, because "
            "what came back was certain enough. Each innocent model counts with the point where "
            "its answers to all of the images speak most against it, so that stopping early adds "
            "nothing to the risk of a wrong verdict."
        )
    models = f"{score.num_innocents} models that the owner names as independent of the source"
    if num < score.num_innocents:
        models = f"{models}, made from {num} networks,"
    counted = "the networks" if num < score.num_innocents else "them"
    did = "came" if score.stopped_early else "scored"
    compared = (
        f"{models} answered the same images; {'none' if above == 0 else above} of {counted} {did} "
        "at least as high as the suspect"
    )
    if score.verdict is Verdict.INDEPENDENT:
        low = "none" if score.num_as_low == 0 else str(score.num_as_low)
        told.append(
            f"{compared} (p\u00a0=\u00a0{score.p_value:.3g}). Of {score.num_derived} models that "
            f"are derived from the source {low} {did} at least as low: if the suspect were derived "
            f"in one of these ways, that would be expected in at most {score.num_as_low + 1} of "
            f"{score.num_derived + 1} cases (p\u00a0=\u00a0{score.p_derived:.3g})."
        )
    else:
        told.append(
            f"{compared}. If the suspect were an innocent model of the same kinds, a score this "
            f"high would be expected in at most {above + 1} of {num + 1} cases "
            f"(p\u00a0=\u00a0{score.p_value:.3g})."
        )
    if above == 0 and score.verdict is not Verdict.INDEPENDENT:
        told.append(
            f"With {num} comparison {'networks' if num < score.num_innocents else 'models'} no "
            f"stronger statement is possible: {score.smallest_p_value:.3g} is the smallest p they "
            "can give."
        )
    if score.verdict is Verdict.DERIVED:
        told.append(
            f"The line above which a suspect counts as derived follows from the signed bundle and "
            f"was set to accuse at most {step_level(outcome, score.name):.1%} of all innocent "
            "models of these kinds."
        )
        if score.p_value > WEAK_P_VALUE:
            told.append(
                f"A p of {score.p_value:.3g} is weak evidence if it stands alone. "
                f"{innocents_needed(WEAK_P_VALUE)} independent networks can give {WEAK_P_VALUE}, "
                f"{innocents_needed(0.01)} can give 0.01: ask for a bundle with more, or add some "
                "with “kinprint calibrate”."
            )
        if not score.has_equals:
            told.append(
                "None of the innocent models is nearly as accurate as the source. A better one may "
                "score higher than they do, so that this p-value rests on weaker models only."
            )
    if score.verdict is Verdict.INDEPENDENT:
        told.append(
            f"The line below which a suspect counts as independent follows from the signed bundle "
            f"and was set to miss at most {outcome.beta:.1%} of derived models of the kinds that "
            f"it was set with ({score.num_derived} models)."
        )
        if score.blind_kinds:
            told.append(
                "Copies that were changed in one of these ways score like innocent models and go "
                f"unseen: {', '.join(score.blind_kinds)}."
            )
    return told
