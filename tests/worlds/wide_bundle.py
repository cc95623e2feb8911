"""The golden bundle of audits with three times its queries: enough without one of its classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from audit.bundle.bundle_file import parse_bundle, write_bundle
from audit.bundle.manifest import Arrays, BundleContents
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import TRUST, audited_contents

TIMES = 3
NUM_WIDE_QUERIES = 72


def wide_bundle(path: Path) -> BundleContents:
    """Write the bundle, and return it as it is read."""
    contents = audited_contents()
    write_bundle(path, contents.manifest, wide_arrays(contents.arrays), OWNER_KEY)
    return parse_bundle(path.read_bytes(), TRUST)


def wide_arrays(arrays: Arrays) -> Arrays:
    """Return arrays with every query three times, in other pixels each time."""
    images = [arrays.queries ^ np.uint8(mask) for mask in (0, 85, 170)]
    return replace(
        arrays,
        queries=np.concatenate(images),
        query_groups=np.arange(NUM_WIDE_QUERIES),
        query_carriers=np.concatenate([arrays.query_carriers] * TIMES),
        source_query_labels=np.tile(arrays.source_query_labels, TIMES),
        derived_probabilities=np.tile(arrays.derived_probabilities, (TIMES, 1)),
        innocent_probabilities=np.tile(arrays.innocent_probabilities, (TIMES, 1)),
        selection_rankings=np.tile(arrays.selection_rankings, (1, TIMES, 1)),
        model_query_labels=np.tile(arrays.model_query_labels, (1, TIMES)),
        model_rankings=np.tile(arrays.model_rankings, (1, TIMES, 1)),
    )
