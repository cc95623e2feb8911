"""A bundle for a suspect that takes several classes for one.

Some vendors call two classes by one name. Such classes count as one for everybody: for the suspect,
for the source, for the true classes of images and for the models that set thresholds, so that all
are compared on the same evidence. Each group goes by its first class; the others keep their places,
so that indices stay what they are, and nobody ever answers them.

A label of a group is any of its classes, its probability the sum of theirs; of a line-up that holds
for source, siblings and panel alike. Losses and probes tell
of one class only and cannot be merged: triggers of a merged class are compared for nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import MERGED_CLASSES, REFUSED
from audit.bundle.line_up import CODE_STEP, MAX_CODE, LineUp, encode
from audit.bundle.manifest import BundleContents
from audit.bundle.query_order import started
from audit.errors import AuditError
from audit.scores.absent_classes import without_told_classes
from audit.scores.weight_kinship import with_similarities

Groups = tuple[tuple[int, ...], ...]

NOT_COMPARED = -2
"""In the place of a trigger's class: what is stored of it is about one class of a group."""


def read_groups(text: str, num_classes: int) -> Groups:
    """Return groups that `adapters.suspect.groups_text` wrote.

    Args:
        text: From a suspect's details, a journal or a record, where it may say anything.
        num_classes: K of the bundle.

    Raises:
        AuditError: They are no groups of these classes.

    Example:
        >>> read_groups("1=9;3=4", 10)
        ((1, 9), (3, 4))
    """
    known = {str(index): index for index in range(num_classes)}
    groups = tuple(
        tuple(known.get(part, -1) for part in group.split("=")) for group in text.split(";")
    )
    members = [index for group in groups for index in group]
    if (
        -1 in members
        or len(set(members)) < len(members)
        or any(len(group) < 2 or list(group) != sorted(group) for group in groups)
    ):
        raise AuditError(
            f"settings: {MERGED_CLASSES}: expected groups of the classes 0 to {num_classes - 1} "
            "such as 1=9;3=4, got another text"
        )
    return groups


def groups_in_words(groups: Groups, class_names: Sequence[str]) -> str:
    """Say which classes count as one, and why.

    Example:
        >>> groups_in_words(((0, 2),), ("car", "ship", "lorry"))[:45]
        "'car' and 'lorry' count as one class for ever"
    """
    told = "; ".join(" and ".join(f"'{class_names[index]}'" for index in group) for group in groups)
    return f"{told} count as one class for everybody, because the suspect has one name for them"


def as_asked(bundle: BundleContents, settings: Mapping[str, str]) -> BundleContents:
    """Return the bundle as an audit with these settings compares by it.

    Args:
        bundle: As its owner signed it.
        settings: Of an audit or a record, or the details of a suspect.

    Raises:
        AuditError: What they say of merged or absent classes, of the start, or of weights cannot be
            read.
    """
    bundle = with_similarities(started(bundle, settings), settings)
    bundle = without_told_classes(bundle, settings)
    text = settings.get(MERGED_CLASSES)
    if text is None:
        return bundle
    return merge_classes(bundle, read_groups(text, bundle.manifest.task.num_classes))


def merge_classes(bundle: BundleContents, groups: Groups) -> BundleContents:
    """Return the bundle with each group of classes as one class.

    Args:
        bundle: As its owner signed it.
        groups: From `read_groups`.
    """
    arrays, num_classes = bundle.arrays, bundle.manifest.task.num_classes
    first = np.arange(num_classes)
    for group in groups:
        first[list(group)] = group[0]
    is_shared = np.isin(first, [group[0] for group in groups])

    def labels(given: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(given == REFUSED, REFUSED, first[given])

    def probabilities(given: NDArray[np.float64]) -> NDArray[np.float64]:
        merged = np.zeros_like(given)
        # One class after the other, so that the sums are the same on every machine.
        for index in range(num_classes):
            merged[..., first[index]] += given[..., index]
        return merged

    def rankings(given: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.apply_along_axis(_ranking, -1, given, first) if given.size else given

    models = arrays.model_query_log_probabilities
    return replace(
        bundle,
        line_up=None if bundle.line_up is None else _merged_line_up(bundle.line_up, first),
        arrays=replace(
            arrays,
            control_labels=labels(arrays.control_labels),
            trigger_labels=np.where(
                is_shared[arrays.trigger_labels], NOT_COMPARED, arrays.trigger_labels
            ),
            source_query_labels=labels(arrays.source_query_labels),
            model_query_labels=labels(arrays.model_query_labels),
            derived_probabilities=probabilities(arrays.derived_probabilities),
            innocent_probabilities=probabilities(arrays.innocent_probabilities),
            selection_rankings=rankings(arrays.selection_rankings),
            model_rankings=rankings(arrays.model_rankings),
            # A suspect that merges classes tells labels only, so nobody is compared by these.
            source_query_log_probabilities=arrays.source_query_log_probabilities[:0],
            model_query_log_probabilities=models[:, :0],
        ),
    )


def _merged_line_up(line_up: LineUp, first: NDArray[np.int64]) -> LineUp:
    """Return a line-up whose members and models all count a group as one class.

    Args:
        line_up: As its owner signed it.
        first: The class that each class goes by, ``[K]``.
    """
    arrays = line_up.arrays

    def codes(given: NDArray[np.uint8]) -> NDArray[np.uint8]:
        told = np.exp(given * -CODE_STEP)
        merged = np.zeros_like(told)
        for index in range(len(first)):
            merged[..., first[index]] += told[..., index]
        found = encode(np.log(np.maximum(merged, np.exp(-MAX_CODE * CODE_STEP))))
        # What nobody answers any more is nobody's class.
        found[..., first != np.arange(len(first))] = MAX_CODE
        return found

    return LineUp(
        record=line_up.record,
        arrays=replace(
            arrays,
            member_codes=codes(arrays.member_codes),
            member_control_codes=codes(arrays.member_control_codes),
            model_labels=first[arrays.model_labels],
            model_codes=codes(arrays.model_codes),
        ),
    )


def _ranking(row: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a ranking of merged classes, as long as it was.

    A group stands where its likeliest class does. Places that become free at the end take the
    classes that nobody answers any more.
    """
    kept = list(dict.fromkeys(first[row].tolist()))
    unused = [index for index in range(len(first)) if first[index] != index]
    return np.array((kept + unused)[: len(row)], dtype=np.int64)
