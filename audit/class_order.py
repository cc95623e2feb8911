"""In which order does a suspect have the classes? Found from its answers to control images.

The order that gets most control images right is an assignment problem; how sure it is, each class
says for itself: its images against the class that it would be taken for next.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from adapters.relabelled import Relabelled
from adapters.suspect import REFUSED, Suspect
from audit.errors import AuditError
from audit.manifest import BundleContents
from audit.panel import answered_labels
from audit.significance import binomial_tail

SURE = 0.05
"""A class is sure if chance would set it apart from the runner-up less often than this."""


@dataclass(frozen=True, kw_only=True)
class ClassOrder:
    """An order of classes and how sure it is."""

    order: tuple[int, ...]
    """The suspect's index of each of the bundle's classes."""
    accuracy: float
    """On the control images, in this order."""
    accuracy_as_is: float
    """In the bundle's own order."""
    unsure: tuple[str, ...]
    """A sentence about each class that might as well be another one."""

    @property
    def is_identity(self) -> bool:
        """Whether the suspect has the bundle's own order."""
        return self.order == tuple(range(len(self.order)))


def infer_class_order(bundle: BundleContents, suspect: Suspect) -> ClassOrder:
    """Find the order from the suspect's answers to all control images.

    Args:
        bundle: Gives images and classes.
        suspect: Asked for nothing but labels; not journaled, so only for files.

    Raises:
        AuditError: A class has no control image.
        SuspectError: The suspect did not answer.
    """
    names = bundle.manifest.task.class_names
    truth = bundle.arrays.control_labels
    given = answered_labels(suspect, bundle.arrays.controls)
    counts = confusion(truth, given, len(names))
    return order_of(counts, names, accuracy_as_is=float((truth == given).mean()))


def in_bundle_order(suspect: Suspect, found: ClassOrder) -> Suspect:
    """Return a suspect that answers in the bundle's order; the same one if it does already."""
    return suspect if found.is_identity else Relabelled(suspect, found.order)


def confusion(
    truth: NDArray[np.int64], given: NDArray[np.int64], num_classes: int
) -> NDArray[np.int64]:
    """Return how often each true class (row) got each of the suspect's labels, ``[K, K]``."""
    answered = given != REFUSED
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (truth[answered], given[answered]), 1)
    return counts


def order_of(
    counts: NDArray[np.int64], names: tuple[str, ...], *, accuracy_as_is: float
) -> ClassOrder:
    """Return the order that gets most images right.

    Args:
        counts: True class by suspect's label, ``[K, K]``.
        names: The bundle's classes.
        accuracy_as_is: Told with the result.

    Raises:
        AuditError: A class has no control image.
    """
    images = counts.sum(axis=1)
    for name, num in zip(names, images, strict=True):
        if num == 0:
            raise AuditError(
                f"infer-classes: expected control images of every class, got none of '{name}' that "
                "the suspect answered; write the order yourself"
            )
    _, columns = linear_sum_assignment(counts, maximize=True)
    unsure = []
    for row, column in enumerate(columns):
        rivals = counts[row].copy()
        rivals[column] = -1
        rival = int(rivals.argmax())
        hits, missed = int(counts[row, column]), int(counts[row, rival])
        if binomial_tail(hits, hits + missed, 0.5) > SURE:
            unsure.append(
                f"'{names[row]}' is the suspect's class {column} by {hits} images against "
                f"{missed} for {rival}."
            )
    return ClassOrder(
        order=tuple(int(column) for column in columns),
        accuracy=float(counts[np.arange(len(columns)), columns].sum() / images.sum()),
        accuracy_as_is=accuracy_as_is,
        unsure=tuple(unsure),
    )
