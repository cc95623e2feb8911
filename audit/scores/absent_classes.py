"""A bundle for a suspect that does not have some of its classes.

Control images of an absent class are left out, and so are queries that rest on one: the source
answers it, or derived or innocent models give it more than `MAX_SHARE`. Both follow from the bundle
and the absent classes alone, never from what the suspect answers to a query.

What is left is compared as if nobody had these classes. A calibration model that names one answers
with the class that it ranks next, where the bundle has its ranking: that is what it would say
without the class. Where nobody knows, it counts at its bound: an innocent as the answer that speaks
most for derivation, a derived model as the one that speaks most against it. Ranks of a suspect then
err to the side of "inconclusive". A line-up drops the classes for source, siblings and models
alike, and asks all its questions: the source's rank holds whatever is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from adapters.printable import shortened
from adapters.suspect import ABSENT_CLASSES
from audit.bundle.line_up import CODE_STEP, MAX_CODE, LineUp, encode
from audit.bundle.manifest import BundleContents, innocents
from audit.errors import AuditError
from audit.scores.query_scores import can_score, query_table

MAX_SHARE = 0.25
"""A query stays where the pools give the absent classes no more than this between them."""
COMPARED_SCORES = ("likelihood-ratio", "matching-rate", "rank-correlation", "line-up")
"""Scores for which it is known what a model says without a class."""


def read_absent(text: str, num_classes: int) -> tuple[int, ...]:
    """Return absent classes that `adapters.suspect.absent_text` wrote.

    Args:
        text: From a suspect's details, a journal or a record, where it may say anything.
        num_classes: K of the bundle.

    Raises:
        AuditError: They are no classes, or more than half of all.

    Example:
        >>> read_absent("3,7", 10)
        (3, 7)
    """
    known = {str(index): index for index in range(num_classes)}
    absent = tuple(known.get(part, -1) for part in text.split(","))
    if -1 in absent or list(absent) != sorted(set(absent)) or 2 * len(absent) > num_classes:
        raise AuditError(
            f"settings: {ABSENT_CLASSES}: expected at most half of the classes 0 to "
            f"{num_classes - 1}, rising and comma-separated, got {shortened(text, 60)!r}"
        )
    return absent


def absent_in_words(bundle: BundleContents, absent: Sequence[int]) -> str:
    """Say what is left out because of them, and of how much.

    Args:
        bundle: From `without_classes`.
        absent: Which ones.
    """
    names = " and ".join(f"'{bundle.manifest.task.class_names[index]}'" for index in absent)
    return (
        f"the suspect does not have {names}: {len(bundle.left_out_controls)} of "
        f"{len(bundle.arrays.controls)} control images and {len(bundle.left_out_queries)} of "
        f"{len(bundle.arrays.queries)} queries, which rest on it, are left out for everybody"
    )


def without_told_classes(bundle: BundleContents, settings: Mapping[str, str]) -> BundleContents:
    """Return the bundle without the classes that settings, or a suspect's details, call absent.

    Raises:
        AuditError: What they say cannot be read.
    """
    text = settings.get(ABSENT_CLASSES)
    if text is None:
        return bundle
    return without_classes(bundle, read_absent(text, bundle.manifest.task.num_classes))


def without_classes(bundle: BundleContents, absent: Sequence[int]) -> BundleContents:
    """Return the bundle as if nobody had some of its classes; indices stay what they are.

    Args:
        bundle: As its owner signed it.
        absent: Their indices.
    """
    arrays = bundle.arrays
    gone = np.zeros(bundle.manifest.task.num_classes, dtype=bool)
    gone[list(absent)] = True
    rests_on_them = gone[arrays.source_query_labels]
    for pool in (arrays.derived_probabilities, arrays.innocent_probabilities):
        if len(pool):
            rests_on_them = rests_on_them | (pool[:, gone].sum(axis=1) > MAX_SHARE)
    kept = replace(
        bundle,
        left_out_controls=_indices(gone[arrays.control_labels]),
        left_out_queries=_indices(rests_on_them),
        line_up=None if bundle.line_up is None else _line_up(bundle.line_up, gone),
        arrays=replace(
            arrays,
            derived_probabilities=_shared_out(arrays.derived_probabilities, gone),
            innocent_probabilities=_shared_out(arrays.innocent_probabilities, gone),
            selection_rankings=_rankings(arrays.selection_rankings, gone),
            model_rankings=_rankings(arrays.model_rankings, gone),
            # Such a suspect tells labels only, so nobody is compared by these.
            source_query_log_probabilities=arrays.source_query_log_probabilities[:0],
            model_query_log_probabilities=arrays.model_query_log_probabilities[:, :0],
        ),
    )
    labels = _model_labels(kept, gone)
    return replace(kept, arrays=replace(kept.arrays, model_query_labels=labels))


def _model_labels(bundle: BundleContents, gone: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return what calibration models answer without the classes, ``[R, Q]``.

    Args:
        bundle: With rankings and tables that lack them, and labels that do not.
        gone: Which classes, ``[K]``.
    """
    arrays = bundle.arrays
    given = arrays.model_query_labels
    is_gone = (given >= 0) & gone[given]
    if arrays.model_rankings.size:
        first = arrays.model_rankings[..., 0]
        # A ranking that holds nothing else says nothing: its bound follows.
        is_known = is_gone & ~gone[first]
        given, is_gone = np.where(is_known, first, given), is_gone & ~is_known
    score = "likelihood-ratio" if can_score(bundle, "likelihood-ratio") else "matching-rate"
    table = query_table(bundle, score)
    if not len(table):
        return np.asarray(given)
    most = np.where(gone, -np.inf, table).argmax(axis=1)  # [Q]
    least = np.where(gone, np.inf, table).argmin(axis=1)
    bound = np.where(innocents(bundle)[:, None], most, least)
    return np.asarray(np.where(is_gone, bound, given))


def _shared_out(pool: NDArray[np.float64], gone: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return probabilities ``[Q, K]`` in which the others share what the classes had."""
    left = np.where(gone, 0.0, pool)
    total = np.zeros(len(pool))
    # One class after the other, so that the sums are the same on every machine.
    for index in np.flatnonzero(~gone):
        total += left[:, index]
    return np.asarray(left / np.where(total > 0, total, 1.0)[:, None])


def _rankings(given: NDArray[np.int64], gone: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return rankings ``[..., D]`` with the classes behind all others that they name."""
    if not given.size:
        return given
    order = np.argsort(gone[given], axis=-1, kind="stable")
    return np.take_along_axis(given, order, axis=-1)


def _line_up(line_up: LineUp, gone: NDArray[np.bool_]) -> LineUp:
    arrays = line_up.arrays

    def codes(given: NDArray[np.uint8]) -> NDArray[np.uint8]:
        left = _shared_out(np.exp(given * -CODE_STEP).reshape(-1, len(gone)), gone)
        lowest = np.exp(-MAX_CODE * CODE_STEP)
        return encode(np.log(np.maximum(left, lowest))).reshape(given.shape)

    models = codes(arrays.model_codes)
    # Among equal codes the first class; an absent one never, as its code is the largest.
    nearest = np.where(gone, MAX_CODE + 1, models.astype(np.int64)).argmin(axis=-1)
    return LineUp(
        record=line_up.record,
        arrays=replace(
            arrays,
            member_codes=codes(arrays.member_codes),
            member_control_codes=codes(arrays.member_control_codes),
            model_labels=np.where(gone[arrays.model_labels], nearest, arrays.model_labels),
            model_codes=models,
        ),
    )


def _indices(chosen: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(index) for index in np.flatnonzero(chosen))
