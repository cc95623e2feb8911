"""Whether a line-up fits itself and the bundle that it stands in.

Used before writing and after reading, like `audit.bundle.consistency`.
"""

from collections import Counter
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from audit.bundle.line_up import (
    MAX_CODE,
    LineUpArrays,
    LineUpRecord,
    public_commitment,
    sibling_seed,
)
from audit.errors import BundleError

LINE_UP_ARRAY_NAMES = tuple(field.name for field in fields(LineUpArrays))
"""Names of the arrays in their order."""

MAX_COPY_DIFFERENCE = 0.01
"""Share of the codes by which a copy of a network may differ, by more than a step each."""

_LAYOUT: dict[str, tuple[type[np.generic], str]] = {
    "questions": (np.uint8, "L height width channels"),
    "member_codes": (np.uint8, "T L K"),
    "member_control_codes": (np.uint8, "T C K"),
    "model_labels": (np.int64, "V L"),
    "model_codes": (np.uint8, "V L K"),
}


def check_line_up(record: LineUpRecord, arrays: LineUpArrays, sizes: dict[str, int]) -> None:
    """Pass if a record and its arrays can be the line-up of one bundle.

    Args:
        record: Its digests are not looked at.
        arrays: Any shapes and types.
        sizes: ``height``, ``width``, ``channels``, ``K`` and ``C`` of the bundle.

    Raises:
        BundleError: The first thing that does not fit, by field.
    """
    _check_record(record)
    sizes = {**sizes, "T": len(record.members), "V": len(record.models)}
    for name, (dtype, letters) in _LAYOUT.items():
        array: NDArray[np.generic] = getattr(arrays, name)
        if array.dtype != dtype:
            raise BundleError(f"line_up.{name}: expected {np.dtype(dtype)}, got {array.dtype}")
        if array.ndim != len(letters.split()):
            raise BundleError(
                f"line_up.{name}: expected shape [{letters}], got {list(array.shape)}"
            )
        for letter, size in zip(letters.split(), array.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise BundleError(
                    f"line_up.{name}: expected shape [{letters}] with {letter} = {sizes[letter]}, "
                    f"got {list(array.shape)}"
                )
    if not sizes["L"]:
        raise BundleError("line_up.questions: expected at least one image, got none")
    labels = arrays.model_labels
    if labels.size and not 0 <= labels.min() <= labels.max() < sizes["K"]:
        raise BundleError(f"line_up.model_labels: expected classes 0 to {sizes['K'] - 1}")
    _check_different(record, arrays)
    _check_panel(record, arrays)


def _check_record(record: LineUpRecord) -> None:
    if record.source >= len(record.members):
        raise BundleError(
            f"line_up.source: expected a place among {len(record.members)} members, "
            f"got {record.source}"
        )
    roles = [model.role for model in record.models]
    if roles != sorted(roles, reverse=True):  # "innocent" > "derived"
        raise BundleError("line_up.models: expected the innocents before the derived models")
    if len({model.lineage for model in record.panel}) < 2:
        raise BundleError(
            "line_up.models: expected innocents of at least two lineages, whose answers tell what "
            "every suspect has in common with each member"
        )
    _refuse_twice("weights", [member.weights_sha256 for member in record.members], record)
    seeds = [member.seed for member in record.members]
    _refuse_twice("seed", [seed for seed in seeds if seed is not None], record)
    _check_seeds(record)
    known = {member.weights_sha256: member.name for member in record.members}
    for model in record.panel:
        if model.weights_sha256 in known:
            raise BundleError(
                f"line_up.models: {model.name} of the panel is {known[model.weights_sha256]} of "
                "the line-up; no member belongs into the panel"
            )


def _check_seeds(record: LineUpRecord) -> None:
    """Refuse siblings whose seeds were chosen where a public value is said to decide."""
    if record.seed_from is None:
        return
    commitment = public_commitment(
        record.seed_from,
        source_sha256=record.members[record.source].weights_sha256,
        made_by=record.made_by,
        made_how=record.made_how,
    )
    if record.seed_commitment != commitment:
        raise BundleError(
            f"line_up.seed_commitment: expected {commitment[:16]}..., which follows from seed_from "
            "and the siblings' recipe, got another one"
        )
    seeds = [one.seed for place, one in enumerate(record.members) if place != record.source]
    if seeds != [sibling_seed(commitment, number) for number in range(1, len(record.members))]:
        raise BundleError(
            "line_up.members: expected siblings with the seeds that follow from seed_commitment, "
            "in their order, got others"
        )


def _refuse_twice(what: str, values: list[str] | list[int], record: LineUpRecord) -> None:
    value, times = Counter[str | int](values).most_common(1)[0] if values else ("", 0)
    if times > 1:
        field = "weights_sha256" if what == "weights" else "seed"
        names = [one.name for one in record.members if getattr(one, field) == value]
        raise BundleError(
            f"line_up.members: {' and '.join(names)} have the same {what}; siblings are other runs "
            "of the training, each with a seed of its own"
        )


def _check_different(record: LineUpRecord, arrays: LineUpArrays) -> None:
    """Refuse two members that answer alike: one network, or one rounded, under two digests."""
    answers = np.concatenate([arrays.member_codes, arrays.member_control_codes], axis=1)
    for second in range(1, len(answers)):
        for first in range(second):
            if _is_copy(answers[first], answers[second]):
                one, other = record.members[first].name, record.members[second].name
                raise BundleError(
                    f"line_up.members: {other} answers exactly like {one}; it is a copy of it, "
                    "and a sibling is another run of the training"
                )


def _check_panel(record: LineUpRecord, arrays: LineUpArrays) -> None:
    """Refuse a panel that knows a member: its pull would be taken for everybody's."""
    for model, answers in zip(record.panel, arrays.model_codes, strict=False):
        for member, codes in zip(record.members, arrays.member_codes, strict=True):
            if _is_copy(answers, codes):
                raise BundleError(
                    f"line_up.models: {model.name} of the panel answers exactly like "
                    f"{member.name}; no member belongs into the panel, and no copy of one"
                )


def _is_copy(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    # What both hold for as good as impossible says nothing.
    told = np.minimum(one, other) < MAX_CODE
    # Unsigned: the larger less the smaller.
    difference = np.maximum(one, other) - np.minimum(one, other)
    return int((difference[told] > 1).sum()) <= MAX_COPY_DIFFERENCE * max(1, int(told.sum()))
