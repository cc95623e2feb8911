"""What an audit asks, in order: control images first, then what each score needs.

A plan is a list of question groups; images are made when their turn comes, because probes are many.
The order within a group is the bundle's, of queries from where the audit begins in it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import ABSENT_CLASSES, Capability, Suspect
from audit.bundle.manifest import BundleContents, Manifest
from audit.bundle.probes import probes
from audit.bundle.query_order import control_order, query_order
from audit.errors import AuditError
from audit.scores.absent_classes import COMPARED_SCORES
from audit.scores.query_scores import QUERY_SCORES, can_score
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.rule import MIN_QUERIES, LookFor

SCORES = (*QUERY_SCORES, "mfue-w", "mfue-b", LINE_UP)
"""Scores that an audit can compute."""


@dataclass(frozen=True, kw_only=True)
class QuestionGroup:
    """Questions of one kind that stand in the bundle side by side."""

    kind: str
    """``control``, ``query``, ``trigger``, ``line-up`` or ``probe/<trigger>``."""
    num_questions: int
    images: Callable[[], NDArray[np.uint8]]
    """Makes the images in the order of asking, ``[num_questions, H, W, C]``."""
    order: tuple[int, ...] | None = None
    """The bundle's index of each, in the order of asking; None: from 0 on."""

    def question(self, position: int) -> str:
        """Return the id of a question, the same for this image in every audit of the bundle."""
        return f"{self.kind}/{position if self.order is None else self.order[position]}"

    def first(self, num: int) -> "QuestionGroup":
        """Return the first questions of the group, at most all."""
        return replace(
            self,
            num_questions=min(num, self.num_questions),
            images=lambda: self.images()[:num],
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All questions of an audit."""

    scores: tuple[str, ...]
    """Scores that can be computed from the answers, the one that decides first."""
    groups: tuple[QuestionGroup, ...]

    def group(self, kind: str) -> QuestionGroup:
        """Return the questions of one kind, of which there are some."""
        return next(group for group in self.groups if group.kind == kind)

    @property
    def num_questions(self) -> int:
        """Return the number of questions."""
        return sum(group.num_questions for group in self.groups)

    def within(self, budget: int | None) -> "Plan":
        """Return the plan cut to its first ``budget`` questions.

        Raises:
            AuditError: The budget does not reach beyond the control images.
        """
        if budget is None or budget >= self.num_questions:
            return self
        controls = self.groups[0].num_questions
        if budget <= controls:
            raise AuditError(
                f"budget: expected more than the {controls} control images that are asked first, "
                f"got {budget}; the whole audit takes {self.num_questions} questions"
            )
        kept: list[QuestionGroup] = []
        left = budget
        for group in self.groups:
            num = min(group.num_questions, left)
            if num:
                kept.append(group.first(num))
            left -= num
        return Plan(scores=self.scores, groups=tuple(kept))


def make_plan(bundle: BundleContents, scores: Sequence[str], capability: Capability) -> Plan:
    """Plan the questions that the given scores need.

    Args:
        bundle: What to ask.
        scores: Names out of `SCORES`; the first one decides the verdict.
        capability: What the suspect tells.

    Raises:
        AuditError: Unknown score, no score, or one that this suspect or bundle cannot give.
    """
    manifest, arrays = bundle.manifest, bundle.arrays
    unknown = [score for score in scores if score not in SCORES]
    if unknown or not scores:
        named = repr(unknown[0]) if unknown else "none"
        raise AuditError(f"score: expected one of {', '.join(SCORES)}, got {named}")
    if "mfue-w" in scores and capability < Capability.TOP_K:
        raise AuditError("score: mfue-w needs probabilities, but this suspect gives labels only")
    if "mfue-b" in scores and manifest.probes is None:
        raise AuditError("score: mfue-b needs probes, but this bundle has none")
    _require_comparable(bundle, scores)
    for score in scores:
        if score in QUERY_SCORES and not can_score(bundle, score):
            raise AuditError(
                f"score: {score} needs {_needed(bundle, score)}, but this bundle has none"
            )
    if "mfue-w" in scores and not len(arrays.triggers):
        raise AuditError("score: mfue-w needs triggers, but this bundle has none")
    if LINE_UP in scores and bundle.line_up is None:
        raise AuditError(
            "score: line-up needs the source's siblings, but this bundle has no line-up; its owner "
            "makes one with kinprint lineup"
        )
    groups = [_in_order("control", arrays.controls, control_order(bundle))]
    for score in scores:
        if score in QUERY_SCORES:
            if all(group.kind != "query" for group in groups):  # several scores share the queries
                groups.append(_in_order("query", arrays.queries, query_order(bundle)))
        elif score == "mfue-w":
            groups.append(_stored("trigger", arrays.triggers))
        elif score == LINE_UP and bundle.line_up is not None:
            groups.append(_stored(LINE_UP, bundle.line_up.arrays.questions))
        else:
            groups.extend(_probe_groups(bundle))
    return Plan(scores=tuple(scores), groups=tuple(groups))


def _require_comparable(bundle: BundleContents, scores: Sequence[str]) -> None:
    """Refuse what cannot be told of a suspect that lacks some of the bundle's classes."""
    if not bundle.lacks_classes:
        return
    unknown = [score for score in scores if score not in COMPARED_SCORES]
    if unknown:
        raise AuditError(
            f"score: expected one of {', '.join(COMPARED_SCORES)} for a suspect that does not have "
            f"all classes of the bundle, got {unknown[0]}"
        )
    num, crafted = len(query_order(bundle)), [one for one in scores if one in QUERY_SCORES]
    if crafted and num < MIN_QUERIES:
        raise AuditError(
            f"{ABSENT_CLASSES}: expected at least {MIN_QUERIES} queries that do not rest on them, "
            f"got {num} of {len(bundle.arrays.queries)}; ask with a bundle of more queries"
        )


def _stored(kind: str, images: NDArray[np.uint8]) -> QuestionGroup:
    return QuestionGroup(kind=kind, num_questions=len(images), images=lambda: images)


def _in_order(kind: str, images: NDArray[np.uint8], order: NDArray[np.int64]) -> QuestionGroup:
    return QuestionGroup(
        kind=kind,
        num_questions=len(order),
        images=lambda: images[order],
        order=tuple(order.tolist()),
    )


def _needed(bundle: BundleContents, score: str) -> str:
    if score == "rank-correlation" and len(bundle.arrays.queries):
        return "rankings by derived and innocent models"
    return "the derived models' probabilities" if len(bundle.arrays.queries) else "queries"


def _probe_groups(bundle: BundleContents) -> Iterator[QuestionGroup]:
    settings, arrays = bundle.manifest.probes, bundle.arrays
    assert settings is not None
    for index in range(len(arrays.triggers)):

        def images(index: int = index) -> NDArray[np.uint8]:
            return probes(
                index,
                arrays.triggers[index],
                arrays.probe_ends[index],
                int(arrays.probe_alphas[index]),
                settings,
            )

        yield QuestionGroup(kind=f"probe/{index}", num_questions=settings.num_probes, images=images)


def scores_to_ask(
    bundle: BundleContents, suspect: Suspect, *, look_for: LookFor | None = None
) -> tuple[str, ...]:
    """Return the scores of an audit for which nobody chose any.

    The bundle's own score or steps decide. Others are shown beside them where they cost nothing:
    files that give probabilities; an endpoint is asked for nothing more than the verdict needs.
    """
    return default_scores(
        bundle,
        is_file=suspect.identity.kind == "onnx",
        capability=suspect.capability,
        look_for=look_for,
    )


def default_scores(
    bundle: BundleContents,
    *,
    is_file: bool,
    capability: Capability,
    look_for: LookFor | None = None,
) -> tuple[str, ...]:
    """Return the scores of an audit for which nobody chose any, before the suspect is open.

    Args:
        bundle: What is asked.
        is_file: The suspect is a model file, so that asking is free.
        capability: What it tells.
        look_for: What the auditor is content with.
    """
    deciding = deciding_scores(bundle.manifest, look_for=look_for)
    is_free = is_file and capability is Capability.PROBABILITIES
    beside = [
        name
        for name, is_there in (
            ("rank-correlation", can_score(bundle, "rank-correlation")),
            ("mfue-w", len(bundle.arrays.triggers) > 0),
        )
        if is_free and is_there and name not in deciding
    ]
    return (*deciding, *beside)


def deciding_scores(manifest: Manifest, *, look_for: LookFor | None = None) -> tuple[str, ...]:
    """Return the score that decides where nobody names one, or those of both steps.

    Args:
        manifest: The bundle's.
        look_for: What the auditor is content with.

    Raises:
        AuditError: The bundle has no crafted queries to look for copies with.
    """
    if look_for == "copies" and manifest.default_score == LINE_UP:
        raise AuditError(
            "look-for: copies are found by crafted queries, but this bundle decides by its line-up"
        )
    if manifest.steps is not None and look_for is None:
        return (manifest.default_score, LINE_UP)
    return (manifest.default_score,)
