"""Is the order of classes in a record one that its answers to control images support?

Whoever writes down another order makes a copy fail on ordinary images, or an innocent answer
queries as it never did. The control images tell: their classes are known.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

from adapters.suspect import REFUSED
from audit.asking.class_order import SETTING, confusion
from audit.bundle.manifest import BundleContents, min_control_accuracy
from audit.records.against_bundle import record_order
from audit.records.check import Check, failed, held, unchecked
from audit.records.record import Record
from audit.verdict.control_confusion import RELABELLED_GAIN


def check_class_order(record: Record, bundle: BundleContents) -> Check | None:
    """No other order of the classes makes far more control images right.

    Returns:
        None where the record names no order and the answers ask for none.
    """
    name = "order of the classes"
    is_told = record_order(record, bundle) is not None
    truth, answers = bundle.arrays.control_labels, record.answers
    asked = [index for index in range(len(truth)) if f"control/{index}" in answers]
    given = np.array([answers[f"control/{index}"].label for index in asked], dtype=np.int64)
    counts = confusion(truth[asked], given, bundle.manifest.task.num_classes)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    right, best = int(np.trace(counts)), int(counts[rows, columns].sum())
    num = int((given != REFUSED).sum())
    compared = f"{right} of {num} control images are right in it, {best} in another order"
    is_far_worse = num > 0 and best - right >= RELABELLED_GAIN * num
    if is_told and is_far_worse and best >= min_control_accuracy(bundle) * num:
        return failed(name, f"settings: {SETTING}: {compared}; nobody can have found this one")
    if is_far_worse:
        return unchecked(
            name,
            f"{compared[0].upper()}{compared[1:]}. Ask how the suspect's classes were told apart.",
        )
    if not is_told:
        return None
    if best > right:
        return unchecked(name, f"The auditor names one; {compared}. Ask how it was found.")
    return held(name, f"The auditor names one; {right} of {num} control images are right in it.")
