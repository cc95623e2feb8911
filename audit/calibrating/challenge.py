"""Does a bundle accuse the innocent? A judge's own models against somebody's claim.

A bundle says "at most a share alpha of innocent models of these kinds is called derived". Whoever
holds models that are certainly innocent can count. How many false accusations are too many follows
from the binomial distribution: with m models, k or more of them at a rate of alpha have probability
``P(X >= k)``; below `SIGNIFICANCE` the claim is refuted.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from adapters.onnx.process.limits import OnnxLimits
from adapters.suspect import Suspect, SuspectError
from audit.asking.options import AuditOptions
from audit.asking.run import run_audit
from audit.bundle.manifest import BundleContents
from audit.calibrating.line_up_picks import LineUpPicks, line_up_picks
from audit.calibrating.model_folder import PanelRefusal, answered_labels, open_panel
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.records.ask_again import MAX_DIFFERING
from audit.scores.query_scores import can_score, query_table
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.outcome import Outcome, Verdict
from audit.verdict.p_values import binomial_tail, clopper_pearson

SIGNIFICANCE = 0.05
"""A claim counts as refuted when so many accusations would be rarer than this were it true."""


class Finding(StrEnum):
    """What a challenge says about a bundle."""

    STANDS = "stands"
    FAILS = "fails"
    OPEN = "open"
    """No model could be compared: nothing was tested."""


@dataclass(frozen=True, kw_only=True)
class ChallengedModel:
    """One innocent model and what the bundle makes of it."""

    path: Path
    digest: str
    """SHA-256 of the file."""
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """The result."""

    finding: Finding
    models: tuple[ChallengedModel, ...]
    """Those that the bundle can be compared with."""
    refusals: tuple[PanelRefusal, ...]
    num_accused: int
    rate_interval: tuple[float, float]
    """Exact 95 % interval of the share of such models that is accused."""
    alpha: float
    """The share that the bundle allows."""
    p_value: float
    """Probability of so many accusations at a true rate of alpha."""
    picks: LineUpPicks | None
    """Whom of the line-up they pick; None where the bundle has none."""
    faults: tuple[str, ...]
    """What is wrong with the bundle itself, each a sentence."""


def challenge(
    bundle: BundleContents,
    paths: Sequence[Path],
    *,
    limits: OnnxLimits = OnnxLimits(),  # noqa: B008 (frozen)
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Challenge:
    """Audit innocent models as suspects and judge the bundle by the result.

    Args:
        bundle: The claim.
        paths: Models that the judge knows to be innocent
            (`audit.calibrating.model_folder.model_files`).
        limits: What each file may cost.
        on_step: Called with (models done, models in all).
    """
    models: list[ChallengedModel] = []
    refusals: list[PanelRefusal] = []
    faults = list(bundle_faults(bundle))
    with tempfile.TemporaryDirectory(prefix="kinprint-challenge-") as folder:
        for done, (path, suspect) in enumerate(open_panel(bundle, paths, limits), start=1):
            if isinstance(suspect, PanelRefusal):
                refusals.append(suspect)
            else:
                found = _audited(bundle, suspect, path, Path(folder) / "journal.sqlite")
                if isinstance(found, PanelRefusal):
                    refusals.append(found)
                else:
                    models.append(found)
                    faults += _stored_answers_fault(bundle, suspect)
            on_step(done, len(paths))
    picks = line_up_picks(
        [
            score.line_up
            for model in models
            for score in model.outcome.scores
            if score.line_up is not None
        ]
    )
    if picks is not None and picks.p_source < SIGNIFICANCE:
        faults.append(
            f"Of {len(models)} innocent models {picks.num_source} resemble the source more than "
            f"its {len(picks.counts) - 1} siblings; by chance so many would with probability "
            f"{picks.p_source:.3g}. The line-up is not fair."
        )
    num_accused = sum(model.outcome.verdict is Verdict.DERIVED for model in models)
    alpha = bundle.manifest.alpha
    p_value = binomial_tail(num_accused, len(models), alpha)
    finding = Finding.STANDS if models else Finding.OPEN
    if faults or p_value < SIGNIFICANCE:
        finding = Finding.FAILS
    return Challenge(
        finding=finding,
        models=tuple(models),
        refusals=tuple(refusals),
        num_accused=num_accused,
        rate_interval=clopper_pearson(num_accused, len(models)) if models else (0.0, 1.0),
        alpha=alpha,
        p_value=p_value,
        picks=picks,
        faults=tuple(faults),
    )


def bundle_faults(bundle: BundleContents) -> tuple[str, ...]:
    """Return what the bundle's own contents contradict, each a sentence."""
    manifest, arrays = bundle.manifest, bundle.arrays
    faults = []
    radius = manifest.crafting.get("trigger_radius")
    if isinstance(radius, int | float) and len(arrays.triggers):
        # [N, H, W, C] -> [N]
        difference = np.abs(arrays.triggers.astype(np.int64) - arrays.carriers)
        farthest = int(difference.reshape(len(difference), -1).max())
        if farthest > radius:
            faults.append(
                f"A trigger differs by {farthest} / 255 from its natural image; the manifest says "
                f"at most {radius:g}."
            )
    selection = (model for model in manifest.models if model.use == "selection")
    used = {model.weights_sha256: model.name for model in selection}
    faults += [
        f"'{model.name}' calibrates, but '{used[model.weights_sha256]}' with the same weights "
        "chose the queries: its score says nothing about a new model."
        for model in manifest.calibration_models
        if model.weights_sha256 in used
    ]
    if can_score(bundle, "likelihood-ratio"):
        evidence = query_table(bundle, "likelihood-ratio")
        answered = evidence[np.arange(len(evidence)), arrays.source_query_labels]
        if answered.mean() <= 0:
            faults.append("The source's own answers do not speak for the source.")
    return tuple(faults)


def _audited(
    bundle: BundleContents, suspect: Suspect, path: Path, journal: Path
) -> ChallengedModel | PanelRefusal:
    try:
        default = bundle.manifest.default_score
        has_more = bundle.line_up is not None and default != LINE_UP
        options = AuditOptions(scores=(default, LINE_UP) if has_more else (default,))
        with closing(Journal(journal)) as opened:
            outcome = run_audit(opened, bundle, suspect, options)
    except (SuspectError, AuditError) as error:
        return PanelRefusal(path=path, reason=str(error))
    if outcome.verdict is Verdict.NOT_COMPARABLE:
        control = outcome.control
        return PanelRefusal(
            path=path,
            reason=f"not comparable: {control.accuracy:.0%} of the control images right, below "
            f"{control.min_accuracy:.0%}",
        )
    return ChallengedModel(path=path, digest=suspect.identity.digest, outcome=outcome)


def _stored_answers_fault(bundle: BundleContents, suspect: Suspect) -> list[str]:
    """Compare a model that the bundle names with the answers that the bundle says it gave."""
    for row, model in enumerate(bundle.manifest.calibration_models):
        if model.weights_sha256 == suspect.identity.digest:
            stored = bundle.arrays.model_query_labels[row]
            num = int((answered_labels(suspect, bundle.arrays.queries) != stored).sum())
            if num > MAX_DIFFERING * len(stored):
                return [
                    f"The bundle says what '{model.name}' answers; this very file answers "
                    f"{num} of {len(stored)} queries differently."
                ]
    return []
