"""What a verdict that is not "derived" owes to time: early, late and second answers side by side.

A suspect that spoils the beginning of an audit, or whatever it notices, answers the same model's
queries like two models. Nobody is called independent whose early, late and second answers do not
all look innocent; who is hardly one model is called nothing. "Derived" is untouched: silence, dice
and a change of mind never keep anybody from being found.
"""

from collections.abc import Mapping

from audit.answer import Answer
from audit.bundle.manifest import BundleContents
from audit.question import AGAIN
from audit.scores.evidence import QueryEvidence, query_evidence
from audit.scores.query_scores import MEAN_SCORES, QUERY_SCORES
from audit.verdict.early_stop import TILTS
from audit.verdict.outcome import ScoreOutcome, Verdict
from audit.verdict.parts import (
    CHANGE_LEVEL,
    AskedValues,
    compare_parts,
    has_changed,
    is_agreed,
    looks_innocent,
)
from audit.verdict.populations import populations
from audit.verdict.random_answers import CHANCE_LEVEL
from audit.verdict.rule import MIN_QUERIES, DecisionRule

_HARMLESS = (
    "A service that changed its model meanwhile looks like that, and so does a suspect that treats "
    "the beginning of an audit otherwise; neither is called anything. Ask it again another day."
)


def look_again(
    score: ScoreOutcome, bundle: BundleContents, answers: Mapping[str, Answer], rule: DecisionRule
) -> ScoreOutcome:
    """Return the score with its parts, and with the verdict that these leave it.

    Args:
        score: With the verdict that its value and its ranks come to.
        bundle: What was asked.
        answers: By question id, second answers among them.
        rule: The error rates.
    """
    if score.name not in QUERY_SCORES:
        return score
    compared = populations(bundle.manifest)
    evidence = query_evidence(bundle, answers, score.name, num_first=score.stopped_after)
    parts = None
    if evidence is not None and score.num_queries >= MIN_QUERIES:
        values = AskedValues(
            suspect=evidence.suspect, models=evidence.models, tilt=TILTS[score.name]
        )
        parts = compare_parts(values, compared, rule)
    score = score.model_copy(update={"parts": parts})
    if score.verdict is Verdict.DERIVED:
        return score
    second = _second_evidence(bundle, answers, score)
    is_second_innocent = second is None or looks_innocent(
        second.suspect, second.models, compared, rule
    )
    repeats = score.repeats
    has_contradicted = repeats is not None and repeats.p_value <= CHANCE_LEVEL
    is_evasive = (
        score.is_evasive
        or (parts is not None and has_changed(parts))
        or (has_contradicted and not is_second_innocent)
    )
    # A few second answers tell of a change; what it was takes as many as of control images.
    is_open = repeats is not None and repeats.num_queries_changed > 0 and not repeats.num_controls
    is_clear = is_second_innocent and not is_open and (parts is None or is_agreed(parts))
    return score.model_copy(
        update={
            "is_evasive": is_evasive,
            "verdict": score.verdict if is_clear and not is_evasive else Verdict.INCONCLUSIVE,
        }
    )


def _second_evidence(
    bundle: BundleContents, answers: Mapping[str, Answer], score: ScoreOutcome
) -> QueryEvidence | None:
    """Return what the second answers say where one of them is another; None without one."""
    if not score.repeats or not score.repeats.num_queries_changed or score.name not in MEAN_SCORES:
        return None
    prefix = f"{AGAIN}query/"
    second = {
        question.removeprefix(AGAIN): answer
        for question, answer in answers.items()
        if question.startswith(prefix)
    }
    return query_evidence(bundle, second, score.name)


def change_words(score: ScoreOutcome) -> str | None:
    """Return what is to be said of a suspect that answers like two models; None of others."""
    again, parts = score.repeats, score.parts
    if not score.is_evasive:
        return None
    if again is not None and again.p_value <= CHANCE_LEVEL and not score.looks_random:
        return (
            f"Asked again, the suspect changed its answer to {again.num_queries_changed} of "
            f"{again.num_queries} queries and to {again.num_controls_changed} of "
            f"{again.num_controls} control images, and what it says the second time does not look "
            f"like an innocent model. {_HARMLESS}"
        )
    if parts is not None and has_changed(parts):
        return (
            f"The suspect answers its first {parts.num_early} queries like one model and the last "
            f"{parts.num_late} like another (scores {parts.early:z.3f} and {parts.late:z.3f}): "
            "where an answer depends on its image alone, so much happens in fewer than "
            f"{CHANGE_LEVEL:.0%} of audits. {_HARMLESS}"
        )
    return None


def disagreement(score: ScoreOutcome) -> str | None:
    """Return which answers of a low score do not look innocent by themselves; None where all do."""
    parts, again = score.parts, score.repeats
    if parts is None or score.verdict is not Verdict.INCONCLUSIVE:
        return None
    for when, num, value, below in (
        ("first", parts.num_early, parts.early, parts.early_below),
        ("last", parts.num_late, parts.late, parts.late_below),
    ):
        if below is not None and value >= below:
            return (
                f"but that of the {when} {num} answers alone is {value:z.3f}, not below "
                f"{below:z.3f}, so that it is not called independent."
            )
    if again is not None and again.num_queries_changed:
        return (
            f"but asked again the suspect changed its answer to {again.num_queries_changed} of "
            f"{again.num_queries} queries, so that it is not called independent."
        )
    return None
