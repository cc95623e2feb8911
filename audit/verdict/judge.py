"""From answers to a verdict: a pure function of the bundle and the answers.

Nothing here asks, waits or stores; the same bundle, answers and rule give the same outcome
everywhere. Thresholds and p-values are computed on exactly the questions that the suspect
answered, from the calibration models' stored answers to the same questions; where an audit stopped
early, on all of them, because that is what was bet on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.manifest import BundleContents, innocents, min_control_accuracy
from audit.scores.comparison import Comparison, compare, whole_scores
from audit.scores.query_scores import QUERY_SCORES, can_score
from audit.verdict.betting import EarlyStop
from audit.verdict.early_stop import follow_controls, follow_queries
from audit.verdict.outcome import ControlCheck, Outcome, Repeats, ScoreOutcome, Verdict
from audit.verdict.p_values import clopper_pearson, rank_p_value, smallest_p_value
from audit.verdict.random_answers import (
    CHANCE_LEVEL,
    compare_repeats,
    is_at_chance,
    is_below_strangers,
    looks_random,
)
from audit.verdict.rule import MAX_REFUSED, MIN_QUERIES, DecisionRule, bundle_rule
from audit.verdict.sentences import not_comparable_words, verdict_words
from audit.verdict.thresholds import Thresholds, conformal_thresholds


def judge(
    bundle: BundleContents,
    answers: Mapping[str, Answer],
    scores: tuple[str, ...],
    rule: DecisionRule | None = None,
) -> Outcome:
    """Compute the outcome of an audit from its answers.

    Args:
        bundle: What was asked.
        answers: By question id (`audit.asking.plan`); some may be missing.
        scores: Scores to compute, the deciding one first; the others are left out where nothing
            was asked for them.
        rule: Error rates and whether the audit may stop early; by default the bundle's own.

    Returns:
        The outcome; `Verdict.NOT_COMPARABLE` without scores if the controls went wrong.
    """
    rule = rule or bundle_rule(bundle.manifest)
    control = check_controls(bundle, answers, rule)
    results: tuple[ScoreOutcome, ...] = ()
    if control.comparable:
        deciding, *others = (_judge_score(bundle, answers, rule, name) for name in scores)
        # The deciding score stays also where nothing was asked for it: its verdict is the audit's.
        results = (deciding, *(one for one in others if one.num_queries))
    return Outcome(
        verdict=results[0].verdict if results else Verdict.NOT_COMPARABLE,
        text=results[0].reason if results else not_comparable_words(control),
        alpha=rule.alpha,
        beta=rule.beta,
        stopping_error=rule.stopping_error,
        control=control,
        scores=results,
        num_questions=len(answers),
    )


def check_controls(
    bundle: BundleContents, answers: Mapping[str, Answer], rule: DecisionRule
) -> ControlCheck:
    """Compare the suspect's accuracy on the control images with the source's.

    Unanswered and refused images count as wrong, but for those that an early stop made needless.
    """
    expected, floor = bundle.arrays.control_labels, min_control_accuracy(bundle)
    follower = follow_controls(bundle, rule)
    stop = follower.follow(answers) if follower else None
    num_images = stop.num_values if stop else len(expected)
    hits = int((_labels(answers, "control", num_images) == expected[:num_images]).sum())
    return ControlCheck(
        num_images=num_images,
        accuracy=hits / num_images,
        interval=clopper_pearson(hits, num_images),
        source_accuracy=bundle.manifest.source.control_accuracy,
        min_accuracy=floor,
        comparable=stop.is_above if stop else hits / num_images >= floor,
    )


def _judge_score(
    bundle: BundleContents, answers: Mapping[str, Answer], rule: DecisionRule, name: str
) -> ScoreOutcome:
    follower = follow_queries(bundle, rule, name)
    stop = follower.follow(answers) if follower else None
    found = compare(bundle, answers, name, num_first=stop.num_values if stop else None)
    decides = len(found.asked) >= MIN_QUERIES
    suspicion = _suspicion(bundle, answers, found) if name in QUERY_SCORES else _UNSUSPECTED
    # The bet was about the score over all queries, so that is what sets the thresholds then.
    thresholds_from = whole_scores(bundle, name) if stop else found.models
    models, is_innocent = bundle.manifest.calibration_models, innocents(bundle)
    thresholds = conformal_thresholds(
        thresholds_from[is_innocent],
        thresholds_from[~is_innocent],
        alpha=rule.alpha,
        beta=rule.beta,
    )
    kinds = np.array([model.stratum for model in models])

    def p_value(chosen: NDArray[np.bool_]) -> float:
        scores = thresholds_from[chosen & is_innocent]
        if stop is None:
            return rank_p_value(found.value, scores)
        # A bet won downwards says no more than that the score is low: p may be anything up to 1.
        if stop.place == "below":
            return 1.0
        # The score over all queries is above this, but for the error of stopping early; a bet that
        # ended between the thresholds has passed at least the lower one.
        passed = thresholds.derived_above if stop.is_above else thresholds.independent_below
        # Strictly above: an innocent that lies on the threshold itself scored less.
        just_above = float(np.nextafter(passed, np.inf))
        return min(1.0, rank_p_value(just_above, scores) + rule.stopping_error)

    # Sorted, because the outcome is kept as text and a set has another order in each process.
    strata = {
        str(kind): p_value(kinds == kind) for kind in sorted(set(kinds[is_innocent].tolist()))
    }
    num_innocents = int(is_innocent.sum())
    # A handful of answers may be at chance by chance.
    is_hiding = suspicion.is_evasive and decides
    result = ScoreOutcome(
        name=name,
        access=found.access,
        value=found.value,
        num_queries=len(found.asked),
        num_in_bundle=found.num_in_bundle,
        num_refused=found.num_refused,
        num_undecided=found.num_undecided,
        is_evasive=is_hiding,
        looks_random=suspicion.looks_random and decides,
        repeats=suspicion.repeats,
        derived_above=_finite(thresholds.derived_above),
        independent_below=_finite(thresholds.independent_below),
        e_value=stop.e_value if stop else None,
        p_value=p_value(np.ones(len(models), dtype=bool)),
        smallest_p_value=smallest_p_value(num_innocents),
        num_innocents=num_innocents,
        num_as_high=int((found.models[is_innocent] >= found.value).sum()),
        num_derived=len(models) - num_innocents,
        strata=strata,
        verdict=Verdict.INCONCLUSIVE if is_hiding else _verdict(found, thresholds, stop),
        reason="",
    )
    return result.model_copy(update={"reason": verdict_words(result, rule)})


@dataclass(frozen=True, kw_only=True)
class _Suspicion:
    """What speaks for answers that are no model's."""

    is_evasive: bool = False
    looks_random: bool = False
    repeats: Repeats | None = None


_UNSUSPECTED = _Suspicion()


def _suspicion(
    bundle: BundleContents, answers: Mapping[str, Answer], found: Comparison
) -> _Suspicion:
    repeats = compare_repeats(answers)
    is_unlike_models = looks_random(bundle, found.labels, found.asked)
    has_changed = repeats is not None and repeats.p_value <= CHANCE_LEVEL
    return _Suspicion(
        is_evasive=_is_evasive(bundle, found.labels, found.asked)
        or (is_unlike_models and has_changed),
        looks_random=is_unlike_models,
        repeats=repeats,
    )


def _is_evasive(
    bundle: BundleContents, labels: NDArray[np.int64], asked: NDArray[np.int64]
) -> bool:
    """Return whether answers to some queries are at chance, where a model's would not be."""
    arrays = bundle.arrays
    if can_score(bundle, "likelihood-ratio"):
        return all(
            is_at_chance(labels, probabilities[asked])
            for probabilities in (arrays.innocent_probabilities, arrays.derived_probabilities)
        )
    given, is_innocent = arrays.model_query_labels[:, asked], innocents(bundle)
    return is_below_strangers(
        labels, given[is_innocent], given[~is_innocent], bundle.manifest.task.num_classes
    )


_STOPPED = {
    "above": Verdict.DERIVED,
    "below": Verdict.INDEPENDENT,
    "between": Verdict.INCONCLUSIVE,
}


def _verdict(found: Comparison, thresholds: Thresholds, stop: EarlyStop | None) -> Verdict:
    if stop is not None:
        return _STOPPED[stop.place]
    if len(found.asked) < MIN_QUERIES:
        return Verdict.INCONCLUSIVE
    if found.value > thresholds.derived_above:
        return Verdict.DERIVED
    num_unknown = found.num_refused + found.num_undecided
    # Whoever tells too little is not cleared; silence never keeps anybody from being found.
    tells_enough = num_unknown <= MAX_REFUSED * len(found.asked)
    if found.value < thresholds.independent_below and tells_enough:
        return Verdict.INDEPENDENT
    return Verdict.INCONCLUSIVE


def _labels(answers: Mapping[str, Answer], kind: str, num: int) -> NDArray[np.int64]:
    """Return labels ``[num]``, `REFUSED` also where there is no answer yet."""
    found = (answers.get(f"{kind}/{index}") for index in range(num))
    return np.array([REFUSED if one is None else one.label for one in found], dtype=np.int64)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
