"""What changed between two audits of one suspect by one bundle, and what that may mean.

A model that gives an image the same answer whenever it is asked gives no other one later: a single
change refutes that. Two exact tests say more. Where one audit asked an image twice, three answers
to it are known; if all three come from one model that answers by whim, each is as likely as any
other to be the odd one out, so that of n images with an odd answer the other audit has it in k with
probability ``P(X >= k), X ~ Binomial(n, 1/3)``. And were the later suspect an innocent model that
has nothing to do with the earlier one, its agreement with the earlier answers would rank among
those of the bundle's innocents like any other (conformal p-value, see `audit.verdict.p_values`); of
a path's highest point it holds wherever the later audit stopped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import ABSENT_CLASSES, MERGED_CLASSES, REFUSED
from audit.asking.class_order import SETTING as CLASS_ORDER
from audit.bundle.manifest import BundleContents
from audit.bundle.query_order import query_order
from audit.question import AGAIN, QuestionId
from audit.records.endpoint_identity import said, shown
from audit.records.record import Record, RecordedSuspect
from audit.verdict.early_stop import TILTS
from audit.verdict.p_values import binomial_tail, clopper_pearson, rank_p_value
from audit.verdict.populations import populations

_CLASS_SETTINGS = (MERGED_CLASSES, ABSENT_CLASSES, CLASS_ORDER)
"""Settings that say what a label is; under others the same number is another class."""
FILE = "onnx"
"""Kind of a suspect whose digest is that of the model itself."""
_MIN_QUERIES = 5
"""Queries from which on an agreement counts: fewer answers can be a whim of any model."""


class Sameness(StrEnum):
    """What two audits' answers say about whether it was one model."""

    SAME_FILE = "the same file"
    NOT_COMPARED = "not compared"
    """They have no question in common, or their labels are not the same classes."""
    UNCHANGED = "no answer changed"
    CHANGED = "answers changed"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers to the same images of one kind at both times."""

    kind: str
    """``control``, ``query``, ``trigger``, ``probe`` or ``line-up``."""
    num: int
    """At least 1."""
    num_changed: int

    @property
    def interval(self) -> tuple[float, float]:
        """Return the exact 95 % interval of the share that changes."""
        return clopper_pearson(self.num_changed, self.num)


@dataclass(frozen=True, kw_only=True)
class OddAnswers:
    """Images that one audit asked twice, and where exactly one of three answers differs."""

    num: int
    num_between: int
    """Of these, where the other audit's answer is the one that differs."""

    @property
    def p_value(self) -> float:
        """Return how rarely so many are there if one model answers by whim."""
        return binomial_tail(self.num_between, self.num, 1 / 3)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How the later queries' answers agree with the earlier ones, ranked among innocents."""

    num: int
    """Queries that both answered."""
    num_agreeing: int
    p_value: float
    """Of so high an agreement if an unrelated innocent model answered the second time."""
    smallest_p_value: float


@dataclass(frozen=True, kw_only=True)
class Change:
    """An earlier and a later audit, side by side."""

    sameness: Sameness
    is_other_file: bool
    """Whether it is a file with another digest; nobody knows what stands behind an endpoint."""
    answers: tuple[Answers, ...]
    changed: tuple[str, ...]
    """Ids of the questions whose answer changed, in the later order of asking."""
    odd: OddAnswers | None
    """None where no image was asked twice."""
    agreement: Agreement | None
    """None where too few queries were answered at both times, or no innocent is in the bundle."""
    told: tuple[tuple[str, str, str], ...]
    """What it said of itself, and how it was asked, where that differs: name, then, now."""

    @property
    def num(self) -> int:
        """Return the number of questions that both audits have."""
        return sum(one.num for one in self.answers)

    @property
    def num_changed(self) -> int:
        """Return how many of their answers differ."""
        return len(self.changed)


def is_one_suspect(one: RecordedSuspect, other: RecordedSuspect) -> bool:
    """Return whether two records are about one suspect: one file, or one address or name."""
    return one.kind == other.kind and (one.digest == other.digest or one.name == other.name)


def change_between(earlier: Record, later: Record, bundle: BundleContents) -> Change:
    """Compare the answers of two audits.

    Args:
        earlier: Verified, about the same suspect by the same bundle.
        later: Likewise.
        bundle: As the later audit asked with it.
    """
    same_classes = all(
        earlier.opening.settings.get(name) == later.opening.settings.get(name)
        for name in _CLASS_SETTINGS
    )
    then, now = _labels(earlier), _labels(later)
    common = [question for question in now if question in then] if same_classes else []
    common = [question for question in common if not question.startswith(AGAIN)]
    changed = tuple(question for question in common if then[question] != now[question])
    return Change(
        sameness=_sameness(earlier, later, num=len(common), num_changed=len(changed)),
        is_other_file=_is_other_file(earlier, later),
        answers=_by_kind(common, changed),
        changed=changed,
        odd=_odd_answers(common, then, now),
        agreement=_agreement(then, now, bundle) if common else None,
        told=_told(earlier, later),
    )


def _labels(record: Record) -> dict[str, int]:
    return {row.question: row.label for row in record.rows}


def _sameness(earlier: Record, later: Record, *, num: int, num_changed: int) -> Sameness:
    one, other = earlier.opening.suspect, later.opening.suspect
    if one.kind == FILE and one.digest == other.digest:
        return Sameness.SAME_FILE
    if not num:
        return Sameness.NOT_COMPARED
    return Sameness.CHANGED if num_changed else Sameness.UNCHANGED


def _is_other_file(earlier: Record, later: Record) -> bool:
    one, other = earlier.opening.suspect, later.opening.suspect
    return one.kind == FILE and one.digest != other.digest


def _by_kind(common: list[str], changed: tuple[str, ...]) -> tuple[Answers, ...]:
    kinds = [QuestionId.parse(question).kind for question in common]
    changed_kinds = [QuestionId.parse(question).kind for question in changed]
    return tuple(
        Answers(kind=kind, num=kinds.count(kind), num_changed=changed_kinds.count(kind))
        for kind in dict.fromkeys(kinds)
    )


def _odd_answers(
    common: list[str], then: Mapping[str, int], now: Mapping[str, int]
) -> OddAnswers | None:
    odd: list[bool] = []
    is_known = False
    for question in common:
        again = AGAIN + question
        # Whoever asked twice has the pair; the other audit's answer stands alone.
        twice, once = (then, now) if again in then else (now, then)
        if again not in twice:
            continue
        is_known = True
        first, second, single = twice[question], twice[again], once[question]
        if len({first, second, single}) == 2:
            odd.append(first == second)
    return OddAnswers(num=len(odd), num_between=sum(odd)) if is_known else None


def _agreement(
    then: Mapping[str, int], now: Mapping[str, int], bundle: BundleContents
) -> Agreement | None:
    order = [int(one) for one in query_order(bundle)]
    order = [one for one in order if then.get(f"query/{one}", REFUSED) != REFUSED]
    # A path ends where the later audit stopped, or where an answer is missing.
    given = list(takewhile(lambda one: f"query/{one}" in now, order))
    compared = populations(bundle.manifest)
    if len(given) < _MIN_QUERIES or not compared.num_lineages:
        return None
    earlier = np.array([then[f"query/{one}"] for one in order])
    models = bundle.arrays.model_query_labels[:, order] == earlier  # [R, Q]
    suspect = np.array([now[f"query/{one}"] == then[f"query/{one}"] for one in given])
    tops = compared.innocent(_highest(models))
    return Agreement(
        num=len(given),
        num_agreeing=int(suspect.sum()),
        p_value=rank_p_value(float(_highest(suspect[None])[0]), tops),
        smallest_p_value=rank_p_value(np.inf, tops),
    )


def _highest(agrees: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the highest point of paths of agreement, ``[R]``, of ``[R, Q]``."""
    paths = np.cumsum(agrees - TILTS["matching-rate"], axis=1)
    return np.asarray(paths[:, _MIN_QUERIES - 1 :].max(axis=1))


def _told(earlier: Record, later: Record) -> tuple[tuple[str, str, str], ...]:
    one, other = _known(earlier), _known(later)
    return tuple(
        (name, one.get(name, ""), other.get(name, ""))
        for name in dict.fromkeys([*one, *other])
        if one.get(name, "") != other.get(name, "")
    )


def _known(record: Record) -> dict[str, str]:
    opening = record.opening
    name = "file, SHA-256" if opening.suspect.kind == FILE else "description, SHA-256"
    return {
        "name": opening.suspect.name,
        name: opening.suspect.digest,
        **{f"asked with {key}": opening.settings.get(key, "") for key in _CLASS_SETTINGS},
        **opening.runs[-1].details,
        **{f"said {key}": shown(counts) for key, counts in said(record.rows).items()},
    }
