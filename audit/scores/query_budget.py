"""How many queries a bundle needs: how far derived and innocent models are apart after n of them.

Computed from the calibration models' stored answers alone; no suspect is asked.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.bundle.manifest import BundleContents
from audit.scores.query_scores import MEAN_SCORES, answer_values, calibration_answers, can_score


@dataclass(frozen=True, kw_only=True)
class QueryBudget:
    """Scores of the calibration models after 1 to Q queries."""

    innocent_max: NDArray[np.float64]
    """``[Q]``"""
    derived_min: NDArray[np.float64]
    """``[Q]``"""
    share_above: NDArray[np.float64]
    """Share of the derived models that are above every innocent one, ``[Q]``."""

    @property
    def num_needed(self) -> int | None:
        """Queries from which on every derived model stays above every innocent; None: never."""
        behind = np.flatnonzero(self.share_above < 1)
        # Entry i is the state after i + 1 queries; the first count after the last failure is i + 2.
        needed = 1 if not len(behind) else int(behind[-1]) + 2
        return needed if needed <= len(self.share_above) else None


def query_budget(bundle: BundleContents) -> QueryBudget | None:
    """Return the curve of a bundle.

    None without models of both roles, or where no score that is a mean over queries can be
    computed.
    """
    default = bundle.manifest.default_score
    score = default if default in MEAN_SCORES else "likelihood-ratio"
    is_innocent = np.array(
        [model.role == "innocent" for model in bundle.manifest.calibration_models], dtype=bool
    )
    if not can_score(bundle, score) or is_innocent.all() or not is_innocent.any():
        return None
    every = np.arange(len(bundle.arrays.queries))
    models = calibration_answers(bundle, every, with_probabilities=False)
    evidence = answer_values(bundle, score, models)  # [R, Q]
    # [R, Q] of values -> [R, Q] of scores after 1 to Q queries
    means = np.cumsum(evidence, axis=1) / np.arange(1, evidence.shape[1] + 1)
    innocent_max = means[is_innocent].max(axis=0)
    derived = means[~is_innocent]
    return QueryBudget(
        innocent_max=innocent_max,
        derived_min=derived.min(axis=0),
        share_above=(derived > innocent_max).mean(axis=0),
    )
