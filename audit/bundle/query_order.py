"""Where in the signed order of its queries an audit begins.

The owner signed one order. An audit goes round in it from a query that the auditor's machine draws,
so that nobody who saw the beginning of one audit knows the beginning of the next. The start is
independent of every model: the paths of calibration models, taken along the same way round, are as
exchangeable with the suspect's as along the order itself. A file does not know that it is asked,
and begins at the first query, so that it gets the same verdict from everybody.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from adapters.printable import shortened
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError

START = "start"
"""Under this name the first query stands among the settings of an audit; 0 where it is missing."""


def draw_start(num_queries: int) -> int:
    """Return the index of the query to begin with, each as likely as any other."""
    return secrets.randbelow(num_queries)


def started(bundle: BundleContents, settings: Mapping[str, str]) -> BundleContents:
    """Return the bundle with its queries in the order in which an audit asks them.

    Indices of queries stay what they are; only `query_order` differs.

    Args:
        bundle: As its owner signed it.
        settings: Of an audit or a record, which may say anything.

    Raises:
        AuditError: It has no query of that number.
    """
    text = settings.get(START)
    if text is None:
        return bundle
    num = len(bundle.arrays.queries)
    start = next((index for index in range(num) if str(index) == text), None)
    if start is None:
        raise AuditError(
            f"settings: {START}: expected the number of one of {num} queries, from 0 on, got "
            f"{shortened(text, 60)!r}"
        )
    return replace(bundle, start=start)


def query_order(bundle: BundleContents) -> NDArray[np.int64]:
    """Return the indices of the queries in the order of asking, ``[Q]`` less those left out."""
    num = len(bundle.arrays.queries)
    order = (np.arange(num, dtype=np.int64) + bundle.start) % max(1, num)
    return order[~np.isin(order, bundle.left_out_queries)]


def control_order(bundle: BundleContents) -> NDArray[np.int64]:
    """Return the indices of the control images as they are asked, ``[C]`` less those left out."""
    order = np.arange(len(bundle.arrays.controls), dtype=np.int64)
    return order[~np.isin(order, bundle.left_out_controls)]
