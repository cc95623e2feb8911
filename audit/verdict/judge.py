"""From answers to a verdict: a pure function of the bundle and the answers.

Nothing here asks, waits or stores; the same bundle, answers and rule give the same outcome
everywhere. Thresholds and p-values are computed on exactly the questions that the suspect
answered, from the calibration models' stored answers to the same questions. The verdict is
two-sided: "derived" takes a small p-value against the innocents, "independent" one against the
derived models and a score that innocents reach; who is compatible with neither, or with both, is
called nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.claim_words import claim_words
from audit.bundle.manifest import BundleContents, innocents, min_control_accuracy
from audit.bundle.query_order import control_order
from audit.scores.comparison import Comparison, compare
from audit.scores.query_scores import QUERY_SCORES, can_score
from audit.verdict.conformal_path import PathTest
from audit.verdict.early_stop import control_test, path_test
from audit.verdict.line_up import judge_line_up
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.outcome import (
    ControlCheck,
    Outcome,
    Repeats,
    ScoreOutcome,
    Verdict,
    likeness_of,
)
from audit.verdict.p_values import clopper_pearson, rank_p_value, smallest_p_value
from audit.verdict.populations import Populations, populations
from audit.verdict.random_answers import (
    CHANCE_LEVEL,
    agrees_with_any,
    compare_repeats,
    is_at_chance,
    is_below_strangers,
    looks_random,
)
from audit.verdict.rule import MAX_REFUSED, MIN_QUERIES, DecisionRule, bundle_rule
from audit.verdict.second_look import look_again
from audit.verdict.sentences import no_copy_words, not_comparable_words, verdict_words
from audit.verdict.steps import Stepped, judge_steps
from audit.verdict.thresholds import Thresholds, conformal_thresholds
from audit.verdict.weights.one_verdict import with_weights


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
        scores: Scores to compute, the deciding one first, or where the rule has two steps the
            crafted one and the line-up; the others are left out where nothing was asked for them.
        rule: Error rates and whether the audit may stop early; by default the bundle's own.

    Returns:
        The outcome; `Verdict.NOT_COMPARABLE` without scores if the controls went wrong.
    """
    rule = rule or bundle_rule(bundle.manifest)
    control = check_controls(bundle, answers, rule)
    outcome = Outcome(
        verdict=Verdict.NOT_COMPARABLE,
        text=not_comparable_words(control),
        alpha=rule.alpha,
        beta=rule.beta,
        stopping_error=rule.stopping_error,
        control=control,
        scores=(),
        num_questions=len(answers),
    )
    if not control.comparable:
        return with_weights(outcome, bundle)

    def judged(name: str) -> ScoreOutcome:
        return _judge_score(bundle, answers, rule.for_score(name), name)

    first, *others = scores
    if rule.steps is None:
        # The deciding score stays also where nothing was asked for it: its verdict is the audit's.
        score = judged(first)
        found = Stepped(verdict=score.verdict, text=score.reason, scores=(score,), steps=None)
    else:
        others = [name for name in others if name != LINE_UP]
        found = judge_steps(judged(first), lambda: judged(LINE_UP), rule.steps)
    verdict, text = found.verdict, found.text
    if rule.look_for == "copies" and verdict is Verdict.INDEPENDENT:
        verdict, text = Verdict.NO_COPY, no_copy_words(text)
    beside = tuple(one for one in map(judged, others) if one.num_queries)
    outcome = outcome.model_copy(
        update={
            "verdict": verdict,
            "text": " ".join(filter(None, (text, claim_words(bundle.manifest)))),
            "scores": (*found.scores, *beside),
            "steps": found.steps,
        }
    )
    return with_weights(outcome, bundle)


def check_controls(
    bundle: BundleContents, answers: Mapping[str, Answer], rule: DecisionRule
) -> ControlCheck:
    """Compare the suspect's accuracy on the control images with the source's.

    Unanswered and refused images count as wrong, but for those that an early stop made needless.
    """
    order, floor = control_order(bundle), min_control_accuracy(bundle)
    test = control_test(bundle, rule, answers)
    stop = test.stop if test else None
    num_images = stop.num_values if stop else len(order)
    asked = order[:num_images]
    hits = int((_control_labels(answers, asked) == bundle.arrays.control_labels[asked]).sum())
    return ControlCheck(
        num_images=num_images,
        accuracy=hits / num_images,
        interval=clopper_pearson(hits, num_images),
        source_accuracy=bundle.manifest.source.control_accuracy,
        min_accuracy=floor,
        comparable=stop.is_above if stop else hits / num_images >= floor,
    )


def score_thresholds(
    bundle: BundleContents, rule: DecisionRule, scores: NDArray[np.float64]
) -> Thresholds:
    """Return the thresholds that the calibration models' scores ``[R]`` set."""
    compared = populations(bundle.manifest)
    return conformal_thresholds(
        compared.innocent(scores),
        compared.derived(scores),
        compared.derived_kinds,
        alpha=rule.alpha,
        beta=rule.beta,
        has_equals=compared.has_equals,
    )


def _judge_score(
    bundle: BundleContents, answers: Mapping[str, Answer], rule: DecisionRule, name: str
) -> ScoreOutcome:
    if name == LINE_UP:
        return judge_line_up(bundle, answers, rule)
    path = path_test(bundle, rule, name, answers)
    stop = path.stop if path else None
    found = compare(bundle, answers, name, num_first=stop.num_values if stop else None)
    decides = len(found.asked) >= MIN_QUERIES
    suspicion = _suspicion(bundle, answers, found) if name in QUERY_SCORES else _UNSUSPECTED
    compared = populations(bundle.manifest)
    thresholds = score_thresholds(bundle, rule, found.models)
    # One that may stop early is ranked by its path, whether it did or not: looking at the score
    # once more at the end would be a second test.
    ranks: PathTest | _ScoreRanks = path or _ScoreRanks(found, compared)
    p_value, p_derived = ranks.p_value(), ranks.p_derived
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
        stopped_early=stop is not None,
        p_value=p_value,
        smallest_p_value=smallest_p_value(compared.num_lineages),
        p_derived=p_derived,
        smallest_p_derived=smallest_p_value(len(compared.derived_kinds)),
        likeness=likeness_of(
            may_be_innocent=p_value > rule.alpha, may_be_derived=p_derived > rule.beta
        ),
        num_innocents=int(compared.is_innocent.sum()),
        num_lineages=compared.num_lineages,
        num_as_high=ranks.num_as_high,
        num_derived=len(compared.derived_kinds),
        num_as_low=ranks.num_as_low,
        has_equals=compared.has_equals,
        blind_kinds=thresholds.blind_kinds,
        strata={kind: ranks.p_value(kind) for kind in compared.innocent_strata},
        verdict=Verdict.INCONCLUSIVE,
        reason="",
    )
    if not is_hiding:
        verdict = _STOPPED[stop.place] if stop else _verdict(result, rule, is_path=path is not None)
        result = result.model_copy(update={"verdict": verdict})
    result = look_again(result, bundle, answers, rule)
    return result.model_copy(update={"reason": verdict_words(result, rule)})


class _ScoreRanks:
    """Ranks of a score over all that was asked, for audits that may not stop early."""

    def __init__(self, found: Comparison, compared: Populations) -> None:
        self._found, self._compared = found, compared

    def p_value(self, stratum: str | None = None) -> float:
        """Return how rarely an innocent scores so high."""
        return rank_p_value(self._found.value, self._compared.innocent(self._found.models, stratum))

    @property
    def p_derived(self) -> float:
        """Return how rarely a derived model scores so low."""
        return rank_p_value(-self._found.value, -self._compared.derived(self._found.models))

    @property
    def num_as_high(self) -> int:
        """Return the innocent lineages that score at least as high."""
        return int((self._compared.innocent(self._found.models) >= self._found.value).sum())

    @property
    def num_as_low(self) -> int:
        """Return the derived models that score at least as low."""
        return int((self._compared.derived(self._found.models) <= self._found.value).sum())


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
    given, is_innocent = arrays.model_query_labels[:, asked], innocents(bundle)
    # A stranger may be like no model that shaped the queries and still like one that did not.
    if agrees_with_any(labels, given, bundle.manifest.task.num_classes):
        return False
    if can_score(bundle, "likelihood-ratio"):
        return all(
            is_at_chance(labels, probabilities[asked])
            for probabilities in (arrays.innocent_probabilities, arrays.derived_probabilities)
        )
    return is_below_strangers(
        labels, given[is_innocent], given[~is_innocent], bundle.manifest.task.num_classes
    )


_STOPPED = {"above": Verdict.DERIVED, "below": Verdict.INDEPENDENT}


def _verdict(score: ScoreOutcome, rule: DecisionRule, *, is_path: bool) -> Verdict:
    """Return the verdict of a score that did not stop early."""
    # A path that may stop would have; and what was cut off is no test of the score over all, since
    # whoever cuts could choose where.
    if is_path or score.num_queries < score.num_in_bundle or score.num_queries < MIN_QUERIES:
        return Verdict.INCONCLUSIVE
    above, below = score.derived_above, score.independent_below
    if above is not None and score.p_value <= rule.alpha and score.value > above:
        return Verdict.DERIVED
    num_unknown = score.num_refused + score.num_undecided
    # Whoever tells too little is not cleared; silence never keeps anybody from being found.
    tells_enough = num_unknown <= MAX_REFUSED * score.num_queries
    if below is not None and score.value < below and score.p_derived <= rule.beta and tells_enough:
        return Verdict.INDEPENDENT
    return Verdict.INCONCLUSIVE


def _control_labels(answers: Mapping[str, Answer], asked: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return labels ``[n]``, `REFUSED` also where there is no answer yet."""
    found = (answers.get(f"control/{index}") for index in asked)
    return np.array([REFUSED if one is None else one.label for one in found], dtype=np.int64)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
