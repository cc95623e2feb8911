"""Does a bundle accuse the innocent? A judge's own models against somebody's claim.

A bundle says "at most a share alpha of innocent models of these kinds is called derived". Whoever
holds models that are certainly innocent can count, compare what they score with what the bundle's
own innocents score, and do the same with what those models become (`audit.calibrating.claim_tests`
has the tests). What contradicts itself refutes the claim without any count.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from adapters.onnx.process.limits import OnnxLimits
from adapters.suspect import Suspect, SuspectError
from audit.asking.options import AuditOptions
from audit.asking.run import run_audit
from audit.bundle.manifest import BundleContents
from audit.calibrating.bundle_faults import bundle_faults, stored_answers_fault
from audit.calibrating.challenge_words import refuting_words
from audit.calibrating.changed_models import (
    IMAGE_CHANGES,
    WEIGHT_CHANGES,
    ChangedImages,
    ModelChange,
    change_weights,
)
from audit.calibrating.claim_tests import (
    AS_THEY_ARE,
    MIN_TESTED,
    ClaimTest,
    claim_test,
    models_needed,
    own_scores,
)
from audit.calibrating.line_up_picks import LineUpPicks, line_up_picks
from audit.calibrating.lineages import declared_place, find_lineages
from audit.calibrating.model_folder import PanelRefusal, answered_labels, open_panel
from audit.calibrating.near_ones import near_ones, near_ones_fault
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.outcome import Outcome, Verdict
from audit.verdict.p_values import clopper_pearson, innocents_needed
from audit.verdict.populations import populations


class Finding(StrEnum):
    """What a challenge says about a bundle."""

    STANDS = "stands"
    FAILS = "fails"
    OPEN = "open"
    """Too few models could be compared for anything to be said."""


@dataclass(frozen=True, kw_only=True)
class ChallengedModel:
    """One innocent model and what the bundle makes of it."""

    path: Path
    digest: str
    """SHA-256 of the file."""
    outcome: Outcome
    labels: NDArray[np.int64]
    """What it answers to control images and queries, ``[C + Q]``."""
    same_as: Path | None = None
    """A file before it that is of the same network, which counts instead."""


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """The result."""

    finding: Finding
    models: tuple[ChallengedModel, ...]
    """Those that the bundle can be compared with, as they are."""
    refusals: tuple[PanelRefusal, ...]
    tests: tuple[ClaimTest, ...]
    """By kind, the models as they are first."""
    untried: tuple[str, ...]
    """Changes after which too few models can be compared, or that were not tried."""
    num_needed: int
    """Networks that it takes before a bundle can be said to stand."""
    rate_interval: tuple[float, float]
    """Exact 95 % interval of the share of such models that is accused."""
    alpha: float
    """The share that the bundle allows."""
    picks: LineUpPicks | None
    """Whom of the line-up they pick; None where the bundle has none."""
    faults: tuple[str, ...]
    """What speaks against the bundle, each a sentence."""


def challenge(
    bundle: BundleContents,
    paths: Sequence[Path],
    *,
    root: Path | None = None,
    with_changes: bool = True,
    more_changes: Mapping[str, ModelChange] = MappingProxyType({}),
    limits: OnnxLimits = OnnxLimits(),  # noqa: B008 (frozen)
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Challenge:
    """Audit innocent models as suspects and judge the bundle by the result.

    Args:
        bundle: The claim.
        paths: Models that the judge knows to be innocent
            (`audit.calibrating.model_folder.model_files`).
        root: Folder that they are from: ``root/kind/network/file`` declares files of one network.
        with_changes: Also try what the models become (`audit.calibrating.changed_models`).
        more_changes: Further ways in which files change, by what these are called.
        limits: What each file may cost.
        on_step: Called with (models done, models in all).
    """
    # It is about the claim of the answers, whose level the tests below hold it to.
    bundle = replace(bundle, weights=None)
    run = _Run(bundle, with_changes, limits, on_step)
    with tempfile.TemporaryDirectory(prefix="kinprint-challenge-") as folder:
        run.ask(paths, Path(folder), more_changes)
    models = _counted(bundle, run.models, root)
    counted = {model.path for model in models if model.same_as is None}
    own = own_scores(bundle)
    alpha = bundle.manifest.alpha
    changed = [_test(kind, made, counted, own, alpha) for kind, made in run.changed.items()]
    tests = [
        _test(AS_THEY_ARE, models, counted, own, alpha),
        *(test for test in changed if test.num_models >= MIN_TESTED),
    ]
    picks = line_up_picks(
        [
            score.line_up
            for model in models
            for score in model.outcome.scores
            if score.line_up is not None
        ]
    )
    first = tests[0].p_values
    later = [value for test in tests[1:] for value in test.p_values]
    faults = [
        *bundle_faults(bundle),
        *run.faults,
        *refuting_words(tests, alpha, num_first=len(first), num_later=len(later)),
        *_near_ones(bundle, [model for model in models if model.same_as is None]),
    ]
    num_needed = models_needed(alpha, len(first))
    num_accused, num_models = tests[0].num_accused, tests[0].num_models
    finding = Finding.STANDS if num_models >= num_needed else Finding.OPEN
    return Challenge(
        finding=Finding.FAILS if faults else finding,
        models=tuple(models),
        refusals=tuple(run.refusals),
        tests=tuple(tests),
        untried=tuple(test.kind for test in changed if test.num_models < MIN_TESTED),
        num_needed=num_needed,
        rate_interval=clopper_pearson(num_accused, num_models) if num_models else (0.0, 1.0),
        alpha=alpha,
        picks=picks,
        faults=tuple(faults),
    )


class _Run:
    """Asks every model as it is and in every change."""

    def __init__(
        self,
        bundle: BundleContents,
        with_changes: bool,
        limits: OnnxLimits,
        on_step: Callable[[int, int], None],
    ) -> None:
        self.models: list[ChallengedModel] = []
        self.refusals: list[PanelRefusal] = []
        self.faults: list[str] = []
        self._bundle, self._limits, self._on_step = bundle, limits, on_step
        self._images = tuple(IMAGE_CHANGES) if with_changes else ()
        # Whoever demands a sandbox has files that are parsed nowhere else.
        can_rewrite = with_changes and not limits.require_sandbox
        self._weights = WEIGHT_CHANGES if can_rewrite else ()
        self.changed: dict[str, list[ChallengedModel]] = {
            kind: [] for kind in ((*WEIGHT_CHANGES, *IMAGE_CHANGES) if with_changes else ())
        }

    def ask(
        self, paths: Sequence[Path], folder: Path, more_changes: Mapping[str, ModelChange]
    ) -> None:
        """Ask all models; what cannot be compared is a refusal as it is, and nothing if changed."""
        changes: dict[str, ModelChange] = {
            **{how: partial(self._rewritten, how, folder) for how in self._weights},
            **more_changes,
        }
        total = len(paths) * (1 + len(changes))
        panel = open_panel(self._bundle, paths, self._limits)
        for done, (path, suspect) in enumerate(panel, start=1):
            if isinstance(suspect, PanelRefusal):
                self.refusals.append(suspect)
            else:
                self._ask_one(path, suspect)
            self._on_step(done, total)
        files = [model.path for model in self.models if model.path.suffix == ".onnx"]
        done = len(paths)
        for how, change in changes.items():
            self.changed.setdefault(how, [])
            for number, (path, changed) in enumerate(change(files), start=1):
                if changed is not None:
                    self._keep(how, _audited(self._bundle, changed, path))
                self._on_step(done + number, total)
            done += len(paths)
            self._on_step(done, total)

    def _rewritten(
        self, how: str, folder: Path, paths: Sequence[Path]
    ) -> Iterator[tuple[Path, Suspect | None]]:
        copies = change_weights(paths, how, folder)
        originals = {copy: path for path, copy in copies.items()}
        for path, suspect in open_panel(self._bundle, tuple(originals), self._limits):
            yield originals[path], None if isinstance(suspect, PanelRefusal) else suspect

    def _ask_one(self, path: Path, suspect: Suspect) -> None:
        found = _audited(self._bundle, suspect, path)
        if isinstance(found, PanelRefusal):
            self.refusals.append(found)
            return
        self.models.append(found)
        self.faults += stored_answers_fault(self._bundle, found.digest, found.labels)
        for name in self._images:
            self._keep(name, _audited(self._bundle, ChangedImages(suspect, name), path))

    def _keep(self, kind: str, found: ChallengedModel | PanelRefusal) -> None:
        if isinstance(found, ChallengedModel):
            self.changed[kind].append(found)


def _audited(
    bundle: BundleContents, suspect: Suspect, path: Path
) -> ChallengedModel | PanelRefusal:
    try:
        default = bundle.manifest.default_score
        has_more = bundle.line_up is not None and default != LINE_UP
        options = AuditOptions(scores=(default, LINE_UP) if has_more else (default,))
        # Nobody goes on with such an audit, so that no answer has to reach a disk.
        with closing(Journal(None)) as opened:
            outcome = run_audit(opened, bundle, suspect, options)
        if outcome.verdict is Verdict.NOT_COMPARABLE:
            control = outcome.control
            return PanelRefusal(
                path=path,
                reason=f"not comparable: {control.accuracy:.0%} of the control images right, below "
                f"{control.min_accuracy:.0%}",
            )
        images = np.concatenate([bundle.arrays.controls, bundle.arrays.queries])
        labels = answered_labels(suspect, images)
    except (SuspectError, AuditError) as error:
        return PanelRefusal(path=path, reason=str(error))
    return ChallengedModel(
        path=path, digest=suspect.identity.digest, outcome=outcome, labels=labels
    )


def _counted(
    bundle: BundleContents, models: Sequence[ChallengedModel], root: Path | None
) -> list[ChallengedModel]:
    """Say which models are of a network that another file before them is of."""
    if len(models) < 2:
        return list(models)
    truth = bundle.arrays.control_labels
    names = [str(model.path) for model in models]
    found = find_lineages(
        np.array([model.labels[: len(truth)] for model in models]),
        truth,
        names=names,
        digests=[model.digest for model in models],
        declared=[None if root is None else declared_place(one.path, root)[1] for one in models],
    )
    first = {other: lineage.members[0] for lineage in found for other in lineage.members[1:]}
    return [
        replace(model, same_as=models[first[number]].path) if number in first else model
        for number, model in enumerate(models)
    ]


def _test(
    kind: str,
    models: Sequence[ChallengedModel],
    counted: set[Path],
    own: NDArray[np.float64] | None,
    alpha: float,
) -> ClaimTest:
    outcomes = [model.outcome for model in models if model.path in counted]
    return claim_test(
        kind,
        np.array([outcome.verdict is Verdict.DERIVED for outcome in outcomes], dtype=bool),
        np.array([outcome.scores[0].value for outcome in outcomes]),
        own,
        alpha,
    )


def _near_ones(bundle: BundleContents, strangers: Sequence[ChallengedModel]) -> Sequence[str]:
    if not strangers:
        return ()
    compared, arrays = populations(bundle.manifest), bundle.arrays
    labels = np.concatenate([arrays.model_control_labels, arrays.model_query_labels], axis=1)
    found = near_ones(
        labels[compared.is_innocent],
        compared.lineages[compared.is_innocent],
        np.array([model.labels for model in strangers]),
    )
    alpha = bundle.manifest.alpha
    return near_ones_fault(found, alpha, innocents_needed(alpha))
