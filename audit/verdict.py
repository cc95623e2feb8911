"""From answers to a verdict: a pure function of the bundle and the answers.

Nothing here asks, waits or stores; the same bundle and answers give the same outcome everywhere.
Thresholds and p-values are computed on exactly the questions that the suspect answered, from the
calibration models' stored answers to the same questions.
"""

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED
from audit.calibration import Thresholds, conformal_thresholds
from audit.journal import Answer
from audit.manifest import BundleContents, FrozenModel
from audit.methods.likelihood_ratio import evidence_table, mean_evidence
from audit.methods.mfue import cross_entropy, matching_rate
from audit.monte_carlo import estimated_loss, probe_hits
from audit.significance import clopper_pearson, rank_p_value, smallest_p_value

MIN_QUERIES = 20
"""Fewer answered queries (or triggers) than this decide nothing."""
MAX_REFUSED = 0.05
"""Above this share of refusals a suspect is not called independent."""


class Verdict(StrEnum):
    """What an audit found."""

    DERIVED = "derived"
    INDEPENDENT = "independent"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not comparable"


class ControlCheck(FrozenModel):
    """How the suspect did on ordinary labelled images, before it saw a trigger."""

    num_images: int
    accuracy: float
    interval: tuple[float, float]
    """Exact 95 % interval of the accuracy."""
    source_accuracy: float
    min_accuracy: float
    """Below this the suspect cannot be compared with the source."""
    comparable: bool


class ScoreOutcome(FrozenModel):
    """One score of the suspect, and what it means."""

    name: str
    access: str
    """``labels`` or ``probabilities``."""
    value: float
    num_queries: int
    """Queries or triggers the value is computed from."""
    num_refused: int
    derived_above: float | None
    """None: the calibration models are too few for the bundle's alpha."""
    independent_below: float | None
    """None: too few for its beta."""
    p_value: float
    """Rank among all calibration innocents."""
    smallest_p_value: float
    num_innocents: int
    num_derived: int
    strata: dict[str, float]
    """P-value within each stratum of innocents."""
    verdict: Verdict
    reason: str


class Outcome(FrozenModel):
    """The result of an audit."""

    verdict: Verdict
    text: str
    control: ControlCheck
    scores: tuple[ScoreOutcome, ...]
    """The deciding score first; empty if the suspect is not comparable."""
    num_questions: int
    """Questions answered, control images included."""


def judge(
    bundle: BundleContents, answers: Mapping[str, Answer], scores: tuple[str, ...]
) -> Outcome:
    """Compute the outcome of an audit from its answers.

    Args:
        bundle: What was asked.
        answers: By question id (`audit.plan`); some may be missing.
        scores: Scores to compute, the deciding one first.

    Returns:
        The outcome; `Verdict.NOT_COMPARABLE` without scores if the controls went wrong.
    """
    control = check_controls(bundle, answers)
    if not control.comparable:
        return Outcome(
            verdict=Verdict.NOT_COMPARABLE,
            text=_not_comparable_text(control),
            control=control,
            scores=(),
            num_questions=len(answers),
        )
    results = tuple(_SCORERS[name](bundle, answers) for name in scores)
    return Outcome(
        verdict=results[0].verdict,
        text=results[0].reason,
        control=control,
        scores=results,
        num_questions=len(answers),
    )


def check_controls(bundle: BundleContents, answers: Mapping[str, Answer]) -> ControlCheck:
    """Compare the suspect's accuracy on the control images with the source's.

    Unanswered and refused images count as wrong.
    """
    expected = bundle.arrays.control_labels
    given = _labels(answers, "control", len(expected))
    hits = int((given == expected).sum())
    manifest = bundle.manifest
    floor = manifest.min_control_agreement * manifest.source.control_accuracy
    return ControlCheck(
        num_images=len(expected),
        accuracy=hits / len(expected),
        interval=clopper_pearson(hits, len(expected)),
        source_accuracy=manifest.source.control_accuracy,
        min_accuracy=floor,
        comparable=hits / len(expected) >= floor,
    )


def _likelihood_ratio(bundle: BundleContents, answers: Mapping[str, Answer]) -> ScoreOutcome:
    arrays = bundle.arrays
    labels = _labels(answers, "query", len(arrays.queries))
    asked = _asked(answers, "query", len(arrays.queries))
    table = evidence_table(
        arrays.derived_probabilities, arrays.innocent_probabilities, bundle.manifest.epsilon
    )[asked]
    return _decide(
        bundle,
        name="likelihood-ratio",
        access="labels",
        value=_mean(mean_evidence(table, labels[asked]), len(asked)),
        calibration=mean_evidence(table, arrays.model_query_labels[:, asked]),
        num_queries=len(asked),
        num_refused=int((labels[asked] == REFUSED).sum()),
    )


def _mfue_w(bundle: BundleContents, answers: Mapping[str, Answer]) -> ScoreOutcome:
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
    return _decide(
        bundle,
        name="mfue-w",
        access="probabilities",
        value=_mean(matching_rate(cross_entropy(rows, labels), source, tau), len(asked)),
        calibration=matching_rate(arrays.model_trigger_losses[:, asked], source, tau),
        num_queries=len(asked),
        num_refused=sum(one.label == REFUSED for one in given),
    )


def _mfue_b(bundle: BundleContents, answers: Mapping[str, Answer]) -> ScoreOutcome:
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
        name="mfue-b",
        access="labels",
        value=_mean(matching_rate(suspect, source, manifest.tau), len(asked)),
        calibration=matching_rate(calibration, source, manifest.tau),
        num_queries=len(asked),
        num_refused=int((labels == REFUSED).sum()),
    )


_SCORERS = {"likelihood-ratio": _likelihood_ratio, "mfue-w": _mfue_w, "mfue-b": _mfue_b}


def _decide(
    bundle: BundleContents,
    *,
    name: str,
    access: str,
    value: float,
    calibration: NDArray[np.float64],
    num_queries: int,
    num_refused: int,
) -> ScoreOutcome:
    models = bundle.manifest.calibration_models
    is_innocent = np.array([model.role == "innocent" for model in models], dtype=bool)
    if num_queries == 0:
        calibration = np.zeros(len(models))
    innocents, derived = calibration[is_innocent], calibration[~is_innocent]
    thresholds = conformal_thresholds(
        innocents, derived, alpha=bundle.manifest.alpha, beta=bundle.manifest.beta
    )
    strata = sorted({model.stratum for model in models if model.role == "innocent"})
    p_value = rank_p_value(value, innocents)
    verdict, reason = _verdict(
        value, thresholds, num_queries=num_queries, refused_share=num_refused / max(num_queries, 1)
    )
    return ScoreOutcome(
        name=name,
        access=access,
        value=value,
        num_queries=num_queries,
        num_refused=num_refused,
        derived_above=_finite(thresholds.derived_above),
        independent_below=_finite(thresholds.independent_below),
        p_value=p_value,
        smallest_p_value=smallest_p_value(len(innocents)),
        num_innocents=len(innocents),
        num_derived=len(derived),
        strata={
            stratum: rank_p_value(
                value,
                calibration[
                    np.array([m.role == "innocent" and m.stratum == stratum for m in models])
                ],
            )
            for stratum in strata
        },
        verdict=verdict,
        reason=f"{reason} {_rests_on(value, innocents, len(strata), p_value)}",
    )


def _verdict(
    value: float, thresholds: Thresholds, *, num_queries: int, refused_share: float
) -> tuple[Verdict, str]:
    if num_queries < MIN_QUERIES:
        return (
            Verdict.INCONCLUSIVE,
            f"Only {num_queries} queries were answered; at least {MIN_QUERIES} are needed.",
        )
    if value > thresholds.derived_above:
        return (
            Verdict.DERIVED,
            f"The score {value:.3f} is above the threshold {thresholds.derived_above:.3f}.",
        )
    if value < thresholds.independent_below:
        if refused_share > MAX_REFUSED:
            return (
                Verdict.INCONCLUSIVE,
                f"The score {value:.3f} is low, but the suspect refused {refused_share:.0%} of the "
                "queries, so that it is not called independent.",
            )
        return (
            Verdict.INDEPENDENT,
            f"The score {value:.3f} is below the threshold {thresholds.independent_below:.3f}.",
        )
    return (
        Verdict.INCONCLUSIVE,
        f"The score {value:.3f} lies where innocent and derived models overlap.",
    )


def _rests_on(value: float, innocents: NDArray[np.float64], num_strata: int, p_value: float) -> str:
    above = int((innocents >= value).sum())
    told = "none" if above == 0 else str(above)
    smallest = ", the smallest that so many can give" if above == 0 else ""
    return (
        f"Of {len(innocents)} innocent models in {num_strata} strata, {told} scored as high: "
        f"p = {p_value:.3f}{smallest}."
    )


def _not_comparable_text(control: ControlCheck) -> str:
    return (
        f"The suspect got {control.accuracy:.0%} of {control.num_images} control images right, the "
        f"source {control.source_accuracy:.0%}; below {control.min_accuracy:.0%} the two cannot be "
        "compared. Look at the order of the classes, the colour order, the normalisation and the "
        "resizing."
    )


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
