"""From answers to a verdict: a pure function of the bundle and the answers.

Nothing here asks, waits or stores; the same bundle, answers and rule give the same outcome
everywhere. Thresholds and p-values are computed on exactly the questions that the suspect
answered, from the calibration models' stored answers to the same questions; where an audit stopped
early, on all of them, because that is what was bet on.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.manifest import BundleContents, innocents, min_control_accuracy
from audit.scores.mfue import (
    bounded_matches,
    cross_entropy,
    estimated_loss,
    loss_bounds,
    matching_rate,
    probe_hits,
)
from audit.scores.query_scores import (
    QUERY_SCORES,
    QueryAnswers,
    calibration_answers,
    can_score,
    query_scores,
    suspect_answers,
)
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
        deciding, *others = (_SCORERS[name](bundle, answers, rule) for name in scores)
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


def _query_score(
    bundle: BundleContents, answers: Mapping[str, Answer], rule: DecisionRule, *, name: str
) -> ScoreOutcome:
    num_in_bundle = len(bundle.arrays.queries)
    follower = follow_queries(bundle, rule, name)
    stop = follower.follow(answers) if follower else None
    if stop is None:
        asked = compared = _asked(answers, "query", num_in_bundle)
    else:
        # The bet was about the score over all queries, so that is what innocents are compared by.
        asked, compared = np.arange(stop.num_values), np.arange(num_in_bundle)
    given = suspect_answers(bundle, answers, asked)
    uses_probabilities = name == "sample-correlation" and given.log_probabilities is not None
    repeats = compare_repeats(answers)
    is_unlike_models = looks_random(bundle, given.labels[0], asked)
    calibration = calibration_answers(
        bundle,
        compared,
        with_probabilities=uses_probabilities,
        boundaries=None if stop else given.boundaries,
    )
    return _decide(
        bundle,
        rule,
        name=name,
        access=_access(name, given, uses_probabilities=uses_probabilities),
        value=_mean(query_scores(bundle, name, given)[0], len(asked)),
        calibration=query_scores(bundle, name, calibration),
        num_queries=len(asked),
        num_in_bundle=num_in_bundle,
        num_refused=int((given.labels == REFUSED).sum()),
        is_evasive=_is_evasive(bundle, given.labels[0], asked)
        or (is_unlike_models and repeats is not None and repeats.p_value <= CHANCE_LEVEL),
        looks_random=is_unlike_models,
        repeats=repeats,
        stop=stop,
    )


def _access(name: str, given: QueryAnswers, *, uses_probabilities: bool) -> str:
    if name == "rank-correlation":
        return given.access
    return "probabilities" if uses_probabilities else "labels"


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


def _mfue_w(
    bundle: BundleContents, answers: Mapping[str, Answer], rule: DecisionRule
) -> ScoreOutcome:
    arrays, tau = bundle.arrays, bundle.manifest.tau
    asked = _asked(answers, "trigger", len(arrays.triggers))
    given = [answers[f"trigger/{index}"] for index in asked]
    num_classes = bundle.manifest.task.num_classes
    rows = np.array(
        [
            np.full(num_classes, np.nan) if one.log_probabilities is None else one.log_probabilities
            for one in given
        ]
    ).reshape(-1, num_classes)
    labels = arrays.trigger_labels[asked]
    source = cross_entropy(arrays.source_trigger_log_probabilities[asked], labels)
    # Where only bounds are known, a trigger matches if every loss within them does.
    low, high = loss_bounds(rows, labels)
    matches, is_open = bounded_matches(low, high, source, tau)
    is_answered = np.array([one.label != REFUSED for one in given], dtype=bool)
    return _decide(
        bundle,
        rule,
        name="mfue-w",
        access="top-k" if np.isnan(rows[is_answered]).any() else "probabilities",
        value=int(matches.sum()) / max(1, len(asked)),
        calibration=matching_rate(arrays.model_trigger_losses[:, asked], source, tau),
        num_queries=len(asked),
        num_in_bundle=len(arrays.triggers),
        num_refused=int((~is_answered).sum()),
        num_undecided=int((is_open & is_answered).sum()),
    )


def _mfue_b(
    bundle: BundleContents, answers: Mapping[str, Answer], rule: DecisionRule
) -> ScoreOutcome:
    arrays, manifest = bundle.arrays, bundle.manifest
    assert manifest.probes is not None
    num_probes = manifest.probes.num_probes
    asked = np.array(
        [
            index
            for index in range(len(arrays.triggers))
            if len(_asked(answers, f"probe/{index}", num_probes)) == num_probes
        ],
        dtype=np.int64,
    )
    labels = np.array(
        [_labels(answers, f"probe/{index}", num_probes) for index in asked], dtype=np.int64
    ).reshape(-1, num_probes)
    trigger_labels = arrays.trigger_labels[asked]
    source = estimated_loss(
        probe_hits(arrays.source_probe_labels[asked], trigger_labels), num_probes
    )
    suspect = estimated_loss(probe_hits(labels, trigger_labels), num_probes)
    calibration = estimated_loss(arrays.model_probe_hits[:, asked], num_probes)
    return _decide(
        bundle,
        rule,
        name="mfue-b",
        access="labels",
        value=_mean(matching_rate(suspect, source, manifest.tau), len(asked)),
        calibration=matching_rate(calibration, source, manifest.tau),
        num_queries=len(asked),
        num_in_bundle=len(arrays.triggers),
        num_refused=int((labels == REFUSED).sum()),
    )


_SCORERS: dict[str, Callable[..., ScoreOutcome]] = {
    **{name: partial(_query_score, name=name) for name in QUERY_SCORES},
    "mfue-w": _mfue_w,
    "mfue-b": _mfue_b,
}


def _decide(
    bundle: BundleContents,
    rule: DecisionRule,
    *,
    name: str,
    access: str,
    value: float,
    calibration: NDArray[np.float64],
    num_queries: int,
    num_in_bundle: int,
    num_refused: int,
    num_undecided: int = 0,
    is_evasive: bool = False,
    looks_random: bool = False,
    repeats: Repeats | None = None,
    stop: EarlyStop | None = None,
) -> ScoreOutcome:
    models, is_innocent = bundle.manifest.calibration_models, innocents(bundle)
    if num_queries == 0:
        calibration = np.zeros(len(models))
    thresholds = conformal_thresholds(
        calibration[is_innocent], calibration[~is_innocent], alpha=rule.alpha, beta=rule.beta
    )
    kinds = np.array([model.stratum for model in models])

    def p_value(chosen: NDArray[np.bool_]) -> float:
        scores = calibration[chosen & is_innocent]
        if stop is None:
            return rank_p_value(value, scores)
        if stop.place == "below":
            return 1.0
        # The score over all queries is above this, but for the error of stopping early.
        passed = thresholds.derived_above if stop.is_above else thresholds.independent_below
        just_above = float(np.nextafter(passed, np.inf))
        return min(1.0, rank_p_value(just_above, scores) + rule.stopping_error)

    strata = {
        str(kind): p_value(kinds == kind) for kind in sorted(set(kinds[is_innocent].tolist()))
    }
    num_innocents = int(is_innocent.sum())
    verdict = _verdict(value, thresholds, num_queries, num_refused + num_undecided, stop)
    is_hiding = is_evasive and num_queries >= MIN_QUERIES
    result = ScoreOutcome(
        name=name,
        access=access,
        value=value,
        num_queries=num_queries,
        num_in_bundle=num_in_bundle,
        num_refused=num_refused,
        num_undecided=num_undecided,
        is_evasive=is_hiding,
        looks_random=looks_random and num_queries >= MIN_QUERIES,
        repeats=repeats,
        derived_above=_finite(thresholds.derived_above),
        independent_below=_finite(thresholds.independent_below),
        e_value=stop.e_value if stop else None,
        p_value=p_value(np.ones(len(models), dtype=bool)),
        smallest_p_value=smallest_p_value(num_innocents),
        num_innocents=num_innocents,
        num_as_high=int((calibration[is_innocent] >= value).sum()),
        num_derived=len(models) - num_innocents,
        strata=strata,
        verdict=Verdict.INCONCLUSIVE if is_hiding else verdict,
        reason="",
    )
    return result.model_copy(update={"reason": verdict_words(result, rule)})


_STOPPED = {
    "above": Verdict.DERIVED,
    "below": Verdict.INDEPENDENT,
    "between": Verdict.INCONCLUSIVE,
}


def _verdict(
    value: float,
    thresholds: Thresholds,
    num_queries: int,
    num_unknown: int,
    stop: EarlyStop | None,
) -> Verdict:
    if stop is not None:
        return _STOPPED[stop.place]
    if num_queries < MIN_QUERIES:
        return Verdict.INCONCLUSIVE
    if value > thresholds.derived_above:
        return Verdict.DERIVED
    if value < thresholds.independent_below and num_unknown <= MAX_REFUSED * num_queries:
        return Verdict.INDEPENDENT
    return Verdict.INCONCLUSIVE


def _labels(answers: Mapping[str, Answer], kind: str, num: int) -> NDArray[np.int64]:
    """Return labels ``[num]``, `REFUSED` also where there is no answer yet."""
    found = (answers.get(f"{kind}/{index}") for index in range(num))
    return np.array([REFUSED if one is None else one.label for one in found], dtype=np.int64)


def _asked(answers: Mapping[str, Answer], kind: str, num: int) -> NDArray[np.int64]:
    return np.flatnonzero([f"{kind}/{index}" in answers for index in range(num)])


def _mean(value: NDArray[np.float64], num: int) -> float:
    return float(value) if num else 0.0


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
