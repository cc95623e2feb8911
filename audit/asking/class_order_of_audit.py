"""The order of a suspect's classes, found from the control images that its audit asks anyway.

The audit begins with the order unknown, so that its first answers are journaled as the suspect gave
them. When all control images are answered, the order is noted and these answers are put into it in
one transaction: whoever is killed finds both or neither, and no control image is ever asked twice.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from adapters.narrowed import Relabelled, reordered
from adapters.suspect import Predictions, Suspect
from audit.answer import Answer
from audit.asking.class_order import (
    SETTING,
    UNKNOWN,
    ClassOrder,
    confusion,
    order_of,
    order_text,
    read_order,
)
from audit.bundle.manifest import BundleContents
from audit.journal.audits import KnownAudit
from audit.journal.class_order import settle_class_order
from audit.journal.journal import Journal


@dataclasses.dataclass(frozen=True)
class AskedOrder:
    """How far an audit got with it."""

    audit: str
    order: tuple[int, ...] | None
    """The suspect's index of each of the bundle's classes; None while unknown."""

    def applied_to(self, suspect: Suspect) -> Suspect:
        """Return the suspect in the bundle's order, or as it is while that is unknown."""
        return suspect if self.order is None else Relabelled(suspect, self.order)


def order_so_far(bundle: BundleContents, earlier: KnownAudit) -> AskedOrder:
    """Return how far an audit that finds the order got with it.

    Args:
        bundle: Asks.
        earlier: The audit, with an order among its settings.

    Raises:
        AuditError: What the journal holds is no order.
    """
    told, num_classes = earlier.settings[SETTING], bundle.manifest.task.num_classes
    order = None if told == UNKNOWN else read_order(told, num_classes)
    return AskedOrder(earlier.audit, order)


def find_order(
    bundle: BundleContents, so_far: AskedOrder, answers: Mapping[str, Answer]
) -> ClassOrder:
    """Return the order that the answers to the control images show.

    Args:
        bundle: Whose control images were asked.
        so_far: A known order is described; then the answers are in the bundle's order.
        answers: By question id.

    Raises:
        AuditError: A class has no control image that was answered.
    """
    truth, names = bundle.arrays.control_labels, bundle.manifest.task.class_names
    asked = [index for index in range(len(truth)) if f"control/{index}" in answers]
    given = np.array([answers[f"control/{index}"].label for index in asked], dtype=np.int64)
    if so_far.order is not None:  # back to what the suspect said
        back = np.argsort(np.array(so_far.order))
        given = reordered(Predictions(labels=given), back).labels
    return order_of(
        confusion(truth[asked], given, len(names)),
        names,
        accuracy_as_is=float((truth[asked] == given).mean()),
        order=so_far.order,
    )


def settle_order(
    journal: Journal,
    so_far: AskedOrder,
    found: ClassOrder,
    settings: Mapping[str, str],
    answers: Mapping[str, Answer],
) -> dict[str, Answer]:
    """Note the order, and put the answers so far into it.

    Args:
        journal: Where both go, in one transaction.
        so_far: The audit.
        found: Its order.
        settings: Of the audit, without an order.
        answers: By question id, as the suspect gave them.

    Returns:
        The answers in the bundle's order.

    Raises:
        JournalError: They could not be written.
    """
    settled = {name: _reordered(answer, found.order) for name, answer in answers.items()}
    told = {SETTING: order_text(found.order)}
    settle_class_order(
        journal, so_far.audit, settings={**settings, **told}, details=told, answers=settled
    )
    return settled


def _reordered(answer: Answer, order: tuple[int, ...]) -> Answer:
    row = answer.log_probabilities
    given = reordered(
        Predictions(
            labels=np.array([answer.label], dtype=np.int64),
            log_probabilities=None if row is None else row[None],
        ),
        order,
    )
    moved = given.log_probabilities
    return Answer(label=int(given.labels[0]), log_probabilities=None if moved is None else moved[0])
