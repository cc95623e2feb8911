"""One verdict from a file's answers and its weights (ADR 26).

Either may accuse, each at a level of its own, so that the levels add up whatever the two have in
common; clearing is the answers' alone, unless the weights are nearer than any innocent's. Weights
that cannot be compared change nothing but the text. A pure function of the bundle, the similarities
and what the answers came to.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.weights.layer import NO_LAYER
from adapters.weights.similarities import Similarities
from audit.bundle.manifest import MAX_RATE, BundleContents
from audit.bundle.weights import WeightsRecord
from audit.scores.weight_kinship import is_comparable, weight_kinship
from audit.verdict.outcome import Outcome, Verdict
from audit.verdict.p_values import rank_p_value, smallest_p_value
from audit.verdict.thresholds import Thresholds, conformal_thresholds
from audit.verdict.weights.weights_outcome import WeightsOutcome
from audit.verdict.weights.words import joint_words, kinship_words


def weights_level(record: WeightsRecord, answers_alpha: float) -> float | None:
    """Return the level at which weights may accuse: the smallest that their innocents can give.

    Args:
        record: Of the sketch.
        answers_alpha: Level of the answers, the owner's or the auditor's.

    Returns:
        None where it is larger than the answers', or both together than any verdict may have;
        weights decide nothing then.
    """
    level = smallest_p_value(len(_innocents(record)))
    is_usable = level <= answers_alpha and answers_alpha + level <= MAX_RATE
    return level if is_usable else None


def with_weights(outcome: Outcome, bundle: BundleContents) -> Outcome:
    """Return the outcome of an audit with what the file's weights say.

    Args:
        outcome: By the answers alone.
        bundle: As it was asked (`audit.scores.merged_classes.as_asked`).
    """
    if bundle.weights is None or bundle.similarities is None:
        return outcome
    record, found = bundle.weights.record, bundle.similarities
    level = weights_level(record, outcome.alpha)
    kinship = _judged(record, found, level, bundle.manifest.beta)
    verdict = _together(outcome.verdict, kinship)
    decided_by = _decided_by(outcome.verdict, kinship)
    # A record repeats this number, and 0.1 + 0.2 is 0.30000000000000004.
    alpha = outcome.alpha if level is None else round(outcome.alpha + level, 12)
    weights = WeightsOutcome(
        value=kinship.value,
        similarities=tuple(
            None if layer.partner == NO_LAYER else layer.value for layer in found.layers
        ),
        num_found=sum(layer.partner != NO_LAYER for layer in found.layers),
        num_reordered=sum(layer.is_matched for layer in found.layers),
        num_layers=found.num_layers,
        num_hidden=found.num_hidden,
        num_beyond=found.num_beyond,
        alpha=level,
        answers_alpha=outcome.alpha,
        derived_above=kinship.derived_above,
        p_value=kinship.p_value,
        smallest_p_value=smallest_p_value(kinship.num_lineages),
        num_lineages=kinship.num_lineages,
        num_as_high=kinship.num_as_high,
        blind_kinds=kinship.blind_kinds,
        is_derived=kinship.is_derived,
        is_above_innocents=kinship.is_above_innocents,
        answers_verdict=outcome.verdict.value,
        decided_by=decided_by,
        joint_p_value=_joint(
            outcome.p_value,
            outcome.alpha,
            kinship.p_value,
            level,
            has_value=kinship.value is not None,
        ),
        joint_smallest_p_value=_joint(
            outcome.smallest_p_value,
            outcome.alpha,
            smallest_p_value(kinship.num_lineages),
            level,
            has_value=kinship.value is not None,
        ),
        reason="",
    )
    weights = weights.model_copy(update={"reason": kinship_words(weights)})
    return outcome.model_copy(
        update={
            "verdict": verdict,
            "text": joint_words(outcome, weights, verdict, alpha),
            "alpha": alpha,
            "weights": weights,
        }
    )


@dataclass(frozen=True, kw_only=True)
class _Kinship:
    """The score among those of the calibration models."""

    value: float | None
    p_value: float
    num_lineages: int
    num_as_high: int
    derived_above: float | None
    blind_kinds: tuple[str, ...]
    is_derived: bool
    is_above_innocents: bool


def _judged(
    record: WeightsRecord, found: Similarities, level: float | None, beta: float
) -> _Kinship:
    innocents = _innocents(record)
    limits = _thresholds(record, innocents, level, beta)
    value = weight_kinship(found) if is_comparable(found) else None
    p_value = 1.0 if value is None else rank_p_value(value, innocents)
    is_above_innocents = value is not None and level is not None and p_value <= level
    return _Kinship(
        value=value,
        p_value=p_value,
        num_lineages=len(innocents),
        num_as_high=0 if value is None else int((innocents >= value).sum()),
        derived_above=limits.derived_above if np.isfinite(limits.derived_above) else None,
        blind_kinds=limits.blind_kinds,
        is_derived=is_above_innocents and value is not None and value > limits.derived_above,
        is_above_innocents=is_above_innocents,
    )


def _thresholds(
    record: WeightsRecord, innocents: NDArray[np.float64], level: float | None, beta: float
) -> Thresholds:
    derived = [model for model in record.models if model.role == "derived"]
    return conformal_thresholds(
        innocents,
        np.array([model.kinship for model in derived]),
        np.array([model.kind for model in derived], dtype=np.str_),
        # Without a level nothing is above anything.
        alpha=0.0 if level is None else level,
        beta=beta,
    )


def _innocents(record: WeightsRecord) -> NDArray[np.float64]:
    """Return the highest score of each innocent lineage, ``[n]``."""
    highest: dict[str, float] = {}
    for model in record.models:
        if model.role == "innocent":
            known = highest.get(model.lineage, -1.0)
            highest[model.lineage] = max(known, model.kinship)
    return np.array(list(highest.values()), dtype=np.float64)


def _together(answers: Verdict, kinship: _Kinship) -> Verdict:
    if kinship.is_derived:
        return Verdict.DERIVED
    is_cleared = answers in (Verdict.INDEPENDENT, Verdict.NO_COPY)
    return Verdict.INCONCLUSIVE if is_cleared and kinship.is_above_innocents else answers


def _decided_by(
    answers: Verdict, kinship: _Kinship
) -> Literal["answers", "weights", "both"] | None:
    if answers is Verdict.DERIVED:
        return "both" if kinship.is_derived else "answers"
    return "weights" if kinship.is_derived else None


def _joint(
    answers: float | None,
    answers_alpha: float,
    weights: float,
    level: float | None,
    *,
    has_value: bool,
) -> float | None:
    """Return a weighted Bonferroni p-value of both.

    An innocent gets ``p_i <= a alpha_i / alpha`` with at most that probability, and these sum to a.
    """
    if level is None or (answers is None and not has_value):
        return answers
    alpha = answers_alpha + level
    shares = [weights * alpha / level]
    if answers is not None:
        shares.append(answers * alpha / answers_alpha)
    return min(1.0, *shares)
