"""Who a suspect is compared with: innocent lineages, and derived models by kind.

A lineage is a network and all that was made from it. Its members answer alike, so that many files
of one lineage are one innocent: it is counted once, and speaks through its extreme member. Derived
models are of one lineage by definition, the source's; there it is the kind of change that differs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.bundle.manifest import Manifest

NEARLY_AS_GOOD = 0.05
"""An innocent whose accuracy on the control images is at most so far below the source's is one
that may be as good."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Populations:
    """The R calibration models of a bundle, as a verdict counts them."""

    is_innocent: NDArray[np.bool_]
    """``[R]``"""
    lineages: NDArray[np.int64]
    """Number of each innocent's lineage from 0 on, -1 for derived models, ``[R]``."""
    strata: NDArray[np.str_]
    """Kind of innocent or of derivation, ``[R]``."""
    has_equals: bool
    """Whether an innocent is about as accurate as the source, `NEARLY_AS_GOOD`."""

    @property
    def num_lineages(self) -> int:
        """Return how many innocent lineages there are."""
        return int(self.lineages.max(initial=-1)) + 1

    @property
    def innocent_strata(self) -> tuple[str, ...]:
        """Return the kinds of innocents, sorted."""
        return tuple(map(str, np.unique(self.strata[self.is_innocent])))

    @property
    def derived_kinds(self) -> NDArray[np.str_]:
        """Return the kind of each derived model, ``[m]``."""
        return self.strata[~self.is_innocent]

    def innocent(
        self, scores: NDArray[np.float64], stratum: str | None = None
    ) -> NDArray[np.float64]:
        """Return the highest score of each innocent lineage.

        Args:
            scores: Of all calibration models, ``[R]``.
            stratum: Count only innocents of this kind.

        Returns:
            ``[n]``, one a lineage that has members of the kind.
        """
        chosen = (
            self.is_innocent if stratum is None else self.is_innocent & (self.strata == stratum)
        )
        highest = np.full(self.num_lineages, -np.inf)
        np.maximum.at(highest, self.lineages[chosen], scores[chosen])
        return np.asarray(highest[np.unique(self.lineages[chosen])])

    def derived(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores of the derived models, ``[m]``, of all calibration models' ``[R]``."""
        return scores[~self.is_innocent]


def populations(manifest: Manifest) -> Populations:
    """Return whom a bundle compares suspects with."""
    models = manifest.calibration_models
    is_innocent = np.array([model.role == "innocent" for model in models], dtype=bool)
    # A model without a declared lineage is one of its own; names are unique within a role.
    names = [
        ("", str(number)) if model.lineage is None else ("declared", model.lineage)
        for number, model in enumerate(models)
    ]
    known = {name: number for number, name in enumerate(_innocent_names(names, is_innocent))}
    best = max(
        (model.control_accuracy for model in models if model.role == "innocent"), default=0.0
    )
    return Populations(
        is_innocent=is_innocent,
        lineages=np.array(
            [known[name] if own else -1 for name, own in zip(names, is_innocent, strict=True)],
            dtype=np.int64,
        ),
        strata=np.array([model.stratum for model in models], dtype=np.str_),
        has_equals=best >= manifest.source.control_accuracy - NEARLY_AS_GOOD,
    )


def num_lineages(manifest: Manifest) -> int:
    """Return how many innocent lineages calibrate."""
    return populations(manifest).num_lineages


def _innocent_names(
    names: list[tuple[str, str]], is_innocent: NDArray[np.bool_]
) -> dict[tuple[str, str], None]:
    # A dict keeps the order of the models, so that numbers are the same everywhere.
    return dict.fromkeys(name for name, own in zip(names, is_innocent, strict=True) if own)
