"""More models into a bundle that exists: their answers, its error rates, a new signature.

A bundle's smallest p-value is 1 / (n + 1) for n innocents, so that a stronger claim takes more of
them, from wherever they come. New models never shape the queries; they only set thresholds and
MFUE's tau, and a part of the innocents is kept out of that, too, to report how often the new bundle
is wrong.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from audit.bundle.bundle_file import UNSEALED
from audit.bundle.manifest import Arrays, BundleContents, Manifest, ModelRecord
from audit.bundle.weights import Weights
from audit.calibrating.lineages import with_lineages
from audit.calibrating.model_folder import PanelAnswers
from audit.calibrating.tau_choice import TauChoice, choose_tau
from audit.calibrating.weight_models import with_models
from audit.errors import AuditError
from audit.scores.comparison import whole_scores
from audit.scores.query_scores import QueryAnswers, can_score, deciding_query_score, query_scores
from audit.scores.rank_correlation import positions_of
from audit.verdict.judge import score_thresholds
from audit.verdict.p_values import clopper_pearson
from audit.verdict.rule import DecisionRule, bundle_rule, choose_rule
from audit.verdict.sharing import usual_steps

Role = Literal["innocent", "derived"]
_SAME_LOSS = 1e-4
"""Relative difference of two losses that another runtime's rounding explains."""
_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class NewModel:
    """A model that is to calibrate, and what it answered."""

    role: Role
    stratum: str
    """Kind: the folder that it lies in."""
    lineage: str | None
    """Network that it is declared to be made from; None for its own."""
    answers: PanelAnswers


@dataclass(frozen=True, kw_only=True)
class HeldOutRate:
    """How often models that set no threshold are judged wrongly."""

    num_wrong: int
    num_models: int
    interval: tuple[float, float]
    """Exact 95 % interval of the rate."""


@dataclass(frozen=True, kw_only=True)
class Recalibrated:
    """A bundle's new contents, ready for `audit.bundle.bundle_file.write_bundle`."""

    manifest: Manifest
    arrays: Arrays
    rule: DecisionRule
    tau: TauChoice | None
    """Half-width of MFUE's interval; None where the bundle has nothing to choose it by."""
    false_positives: HeldOutRate | None
    """None if nothing was held out."""
    joined: tuple[str, ...] = ()
    """A sentence about every lineage of several models that was found."""
    weights: Weights | None = None
    """The sketch of weights with the new models; None in a bundle without one."""


def without_known(
    bundle: BundleContents, models: Sequence[NewModel]
) -> tuple[list[NewModel], list[str]]:
    """Leave out models that the bundle has already, also in another file.

    A model that is counted twice would make a p-value smaller than it is. Two files are the same
    model if they give all queries the same class and all triggers the same loss.

    Returns:
        The others, and a sentence about each one that was left out.
    """
    known = {model.weights_sha256: model for model in bundle.manifest.models}
    new: list[NewModel] = []
    told: list[str] = []
    for model in models:
        twin = known.get(model.answers.digest)
        double = _double_of(bundle, new, model)
        if twin is not None:
            told.append(f"{model.answers.path} is in the bundle already, as '{twin.name}'.")
        elif double is not None:
            told.append(
                f"{model.answers.path} answers exactly like '{double}': the same model in another "
                "file counts once."
            )
        else:
            new.append(model)
    return new, told


def _double_of(bundle: BundleContents, others: Sequence[NewModel], model: NewModel) -> str | None:
    """Return the name of a model with the same answers; without triggers nobody can know."""
    arrays, answers = bundle.arrays, model.answers
    if not len(arrays.triggers) or not len(arrays.queries):
        return None
    rows = [
        *zip(
            (one.name for one in bundle.manifest.calibration_models),
            arrays.model_query_labels,
            arrays.model_trigger_losses,
            strict=True,
        ),
        *(
            (one.answers.name, one.answers.query_labels, one.answers.trigger_losses)
            for one in others
        ),
    ]
    for name, labels, losses in rows:
        is_same = np.array_equal(labels, answers.query_labels)
        if is_same and np.allclose(losses, answers.trigger_losses, rtol=_SAME_LOSS, atol=0):
            return name
    return None


def outliers(bundle: BundleContents, models: Sequence[NewModel]) -> list[NewModel]:
    """Return innocents that the bundle, as it is, would call derived."""
    innocents = [model for model in models if model.role == "innocent"]
    accused = _accused(bundle, innocents)
    return [model for model, is_accused in zip(innocents, accused, strict=True) if is_accused]


def require_reachable(
    bundle: BundleContents,
    files: Sequence[tuple[Role, str, str | None]],
    *,
    alpha: float | None,
    beta: float | None,
    report_share: float,
) -> None:
    """Refuse rates that so many files cannot support, before any of them is asked.

    Args:
        bundle: The bundle as it is.
        files: Role, stratum and declared lineage of each new model.
        alpha: As in `recalibrate`, like the rest.
        beta: Likewise.
        report_share: Likewise.

    Raises:
        AuditError: Says how many models a rate takes.
    """
    _check_share(report_share)
    units = [lineage or f"/{number}" for number, (_, _, lineage) in enumerate(files)]
    innocents = [
        (stratum, unit)
        for (role, stratum, _), unit in zip(files, units, strict=True)
        if role == "innocent"
    ]
    held_out = _held_out(innocents, report_share)
    record = bundle.manifest.models[-1]
    models = [
        record.model_copy(update={"role": role, "use": "calibration", "lineage": lineage})
        for (role, _, lineage), unit in zip(files, units, strict=True)
        if role == "derived" or unit not in held_out
    ]
    manifest = bundle.manifest.model_copy(update={"models": (*bundle.manifest.models, *models)})
    choose_rule(manifest, alpha=alpha, beta=beta, stop_early=False)


def recalibrate(
    bundle: BundleContents,
    models: Sequence[NewModel],
    *,
    alpha: float | None,
    beta: float | None,
    report_share: float,
    created: str,
) -> Recalibrated:
    """Add models to a bundle and set its error rates anew.

    Args:
        bundle: The bundle as it is.
        models: New ones.
        alpha: New false-positive rate; None keeps it.
        beta: New miss rate; None keeps it.
        report_share: Share of the new innocents of each kind that only reports, 0..1.
        created: UTC time as ``YYYY-MM-DDTHH:MM:SSZ``.

    Raises:
        AuditError: Too few models for a rate; says how many it takes.
    """
    old, models, joined = _joined(bundle, models)
    reporting, calibrating = _split(old, models, report_share)
    facts = {
        # Bundles of before repeat there what may change here.
        **{name: fact for name, fact in old.crafting.items() if name not in Manifest.model_fields},
        "recalibrated_from": bundle.manifest_sha256,
        "num_added_models": len(calibrating),
    }
    manifest = old.model_copy(
        update={
            "models": (*old.models, *(_record(model) for model in calibrating)),
            "crafting": facts,
            "created": created,
            "arrays": {},
            "arrays_file_sha256": UNSEALED,
        }
    )
    rule = choose_rule(
        manifest,
        alpha=old.alpha if alpha is None else alpha,
        beta=old.beta if beta is None else beta,
        stop_early=False,
    )
    manifest = manifest.model_copy(update={"alpha": rule.alpha, "beta": rule.beta})
    if manifest.steps is not None and manifest.line_up is not None:
        # More lineages, or another alpha, share otherwise.
        steps = usual_steps(manifest, num_members=len(manifest.line_up.members))
        manifest = manifest.model_copy(update={"steps": steps})
    arrays = dataclasses.replace(
        bundle.arrays,
        model_control_labels=_stacked(
            bundle.arrays.model_control_labels, [one.answers.control_labels for one in calibrating]
        ),
        model_query_labels=_stacked(
            bundle.arrays.model_query_labels, [one.answers.query_labels for one in calibrating]
        ),
        model_query_log_probabilities=_stacked(
            bundle.arrays.model_query_log_probabilities,
            [one.answers.query_log_probabilities for one in calibrating],
        ),
        model_rankings=_stacked(
            bundle.arrays.model_rankings, [one.answers.ranking for one in calibrating]
        ),
        model_trigger_losses=_stacked(
            bundle.arrays.model_trigger_losses, [one.answers.trigger_losses for one in calibrating]
        ),
        model_probe_hits=_stacked(
            bundle.arrays.model_probe_hits, [one.answers.probe_hits for one in calibrating]
        ),
    )
    tau = choose_tau(manifest, arrays)
    if tau is not None:
        facts["tau_auc"] = round(tau.auc, 6)
        manifest = manifest.model_copy(update={"tau": tau.tau, "crafting": facts})
    contents = dataclasses.replace(bundle, manifest=manifest, arrays=arrays)
    return Recalibrated(
        manifest=manifest,
        arrays=arrays,
        rule=rule,
        tau=tau,
        false_positives=_false_positives(contents, reporting) if reporting else None,
        joined=joined,
        weights=_weights(bundle, manifest, calibrating),
    )


def _weights(
    bundle: BundleContents, manifest: Manifest, models: Sequence[NewModel]
) -> Weights | None:
    if bundle.weights is None:
        return None
    new = [(_record(model), model.answers.kinship) for model in models]
    record = with_models(bundle.weights.record, manifest, new)
    return dataclasses.replace(bundle.weights, record=record)


def _check_share(report_share: float) -> None:
    if not 0 <= report_share < 1:
        raise AuditError(f"report-share: expected a share from 0 to below 1, got {report_share:g}")


def _joined(
    bundle: BundleContents, models: Sequence[NewModel]
) -> tuple[Manifest, list[NewModel], tuple[str, ...]]:
    """Name the lineages of old and new innocents together, and say which were found."""
    whole = bundle.manifest.model_copy(
        update={"models": (*bundle.manifest.models, *(_record(model) for model in models))}
    )
    labels = _stacked(
        bundle.arrays.model_control_labels, [model.answers.control_labels for model in models]
    )
    named, told = with_lineages(whole, bundle.arrays.control_labels, labels)
    num_old = len(bundle.manifest.models)
    manifest = bundle.manifest.model_copy(update={"models": named.models[:num_old]})
    return (
        manifest,
        [
            dataclasses.replace(model, lineage=record.lineage)
            for model, record in zip(models, named.models[num_old:], strict=True)
        ],
        told,
    )


def _split(
    old: Manifest, models: Sequence[NewModel], report_share: float
) -> tuple[list[NewModel], list[NewModel]]:
    """Hold out a share of the new lineages of each kind; which ones, digests decide."""
    _check_share(report_share)
    known = {model.lineage for model in old.models}
    ordered = sorted(
        (one for one in models if one.role == "innocent"), key=lambda model: model.answers.digest
    )
    units = [
        (model.stratum, model.lineage or model.answers.digest)
        for model in ordered
        # Whose kin sets the thresholds reports nothing about strangers.
        if model.lineage is None or model.lineage not in known
    ]
    held_out = _held_out(units, report_share)
    reporting = [one for one in ordered if (one.lineage or one.answers.digest) in held_out]
    reported = {id(model) for model in reporting}
    return reporting, [model for model in models if id(model) not in reported]


def _held_out(units: Sequence[tuple[str, str]], report_share: float) -> set[str]:
    """Return the lineages that only report: of each kind a share, the first ones."""
    held_out: set[str] = set()
    for stratum in sorted({stratum for stratum, _ in units}):
        kind = list(dict.fromkeys(unit for one, unit in units if one == stratum))
        held_out |= set(kind[: round(report_share * len(kind))])
    return held_out


def _false_positives(bundle: BundleContents, models: Sequence[NewModel]) -> HeldOutRate:
    num_wrong = int(_accused(bundle, models).sum())
    return HeldOutRate(
        num_wrong=num_wrong,
        num_models=len(models),
        interval=clopper_pearson(num_wrong, len(models)),
    )


def _accused(bundle: BundleContents, models: Sequence[NewModel]) -> NDArray[np.bool_]:
    """Return which models score above the bundle's threshold on its queries, ``[M]``."""
    score = deciding_query_score(bundle)
    if score is None or not models:
        return np.zeros(len(models), dtype=bool)
    has_probabilities = len(bundle.arrays.source_query_log_probabilities) > 0
    known = whole_scores(bundle, score, with_probabilities=has_probabilities)
    threshold = score_thresholds(bundle, bundle_rule(bundle.manifest), known).derived_above
    answers = QueryAnswers(
        queries=np.arange(len(bundle.arrays.queries)),
        labels=np.array([model.answers.query_labels for model in models]),
        log_probabilities=np.array([model.answers.query_log_probabilities for model in models])
        if has_probabilities
        else None,
        positions=positions_of(
            np.array([model.answers.ranking for model in models]),
            bundle.manifest.task.num_classes,
        )
        if can_score(bundle, "rank-correlation")
        else None,
    )
    return np.asarray(query_scores(bundle, score, answers) > threshold)


def _record(model: NewModel) -> ModelRecord:
    answers = model.answers
    return ModelRecord(
        name=answers.name,
        role=model.role,
        use="calibration",
        stratum=model.stratum,
        lineage=model.lineage,
        provenance=f"ONNX file {answers.path.name}, added after crafting",
        weights_sha256=answers.digest,
        control_accuracy=answers.control_accuracy,
    )


def _stacked(rows: NDArray[_Number], more: Sequence[NDArray[_Number]]) -> NDArray[_Number]:
    """Append rows to ``[R, ...]``."""
    new = np.array(more, dtype=rows.dtype).reshape(len(more), *rows.shape[1:])
    return np.concatenate([rows, new])
