"""In which order does a suspect have the classes? Found from its answers to control images.

The order that gets most control images right is an assignment problem; how sure it is, each class
says for itself: its images against the class that it would be taken for next.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from adapters.printable import shortened
from adapters.suspect import REFUSED
from audit.errors import AuditError
from audit.verdict.p_values import binomial_tail

SETTING = "class_order"
"""Under this name an order stands among the settings of an audit."""
UNKNOWN = "unknown"
"""In the place of one that is still to be found."""
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

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return what was found, and what is not sure of it."""
        order = "as in the bundle" if self.is_identity else order_text(self.order)
        return (
            f"order of the classes: {order}; {self.accuracy:.0%} of the control images right "
            f"({self.accuracy_as_is:.0%} as it is)",
            *(f"not sure: {sentence}" for sentence in self.unsure),
        )


def order_text(order: tuple[int, ...]) -> str:
    """Return an order as it stands in journals and records."""
    return ",".join(map(str, order))


def read_order(text: str, num_classes: int) -> tuple[int, ...]:
    """Return an order that `order_text` wrote.

    Args:
        text: From a journal or a record, where it may say anything.
        num_classes: K of the bundle.

    Raises:
        AuditError: It does not name each of the K classes once.

    Example:
        >>> read_order("2,0,1", 3)
        (2, 0, 1)
    """
    known = {str(index): index for index in range(num_classes)}
    order = tuple(known.get(part, -1) for part in text.split(","))
    if sorted(order) != list(range(num_classes)):
        raise AuditError(
            f"settings: {SETTING}: expected each of 0 to {num_classes - 1} once, comma-separated, "
            f"got {shortened(text, 60)!r}"
        )
    return order


def confusion(
    truth: NDArray[np.int64], given: NDArray[np.int64], num_classes: int
) -> NDArray[np.int64]:
    """Return how often each true class (row) got each of the suspect's labels, ``[K, K]``."""
    answered = given != REFUSED
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (truth[answered], given[answered]), 1)
    return counts


def order_of(
    counts: NDArray[np.int64],
    names: tuple[str, ...],
    *,
    accuracy_as_is: float,
    order: tuple[int, ...] | None = None,
) -> ClassOrder:
    """Return the order that gets most images right.

    Args:
        counts: True class by suspect's label, ``[K, K]``.
        names: The bundle's classes.
        accuracy_as_is: Told with the result.
        order: One that was found before; is described instead.

    Raises:
        AuditError: A class has no control image.
    """
    images = counts.sum(axis=1)
    for name, num in zip(names, images, strict=True):
        if num == 0:
            raise AuditError(
                f"infer-classes: expected control images of every class, got none of '{name}' that "
                "the suspect answered; ask more of them, or write the order yourself"
            )
    columns = linear_sum_assignment(counts, maximize=True)[1] if order is None else np.array(order)
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
