"""Deciding as answers come, with boundaries that the calibration models set themselves.

The path of a model is the running sum of its evidence over the queries in the order that the owner
signed. A suspect that is innocent is one more innocent: its path is exchangeable with theirs, and
so is the highest point that it ever reaches. That point only rises while more is asked, so that

    p_t = (1 + #{innocent lineages that ever get as high as the suspect has got by t}) / (n + 1)

only falls, and at whatever t one looks ``P(p_t <= alpha) <= alpha``: exact, with nothing added for
looking often (conformal p-value of the extreme of a path; the boundary of Wald's sequential
probability ratio test, 1945, set by models instead of by a bound on errors). The lowest point of a
derived model's path does the same for "independent".

A stop takes more than its p-value: the score so far must also lie beyond the threshold that the
same models set on the same queries (`audit.verdict.thresholds`), and whoever is cleared must look
innocent early and late (`audit.verdict.parts`). That makes stopping only rarer.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit.verdict.outcome import Parts
from audit.verdict.p_values import rank_p_value
from audit.verdict.parts import AskedValues, compare_parts, is_agreed
from audit.verdict.populations import Populations
from audit.verdict.rule import MAX_REFUSED, DecisionRule
from audit.verdict.thresholds import Thresholds, conformal_thresholds, upper_bound

MIN_ACCUSING = 5
"""Queries before which nothing is called derived: fewer answers can be a whim of any model."""
MIN_CLEARING = 22
"""Queries before which nothing is called independent: a third of them is enough to see by itself
whether a suspect answers late queries like early ones."""


@dataclass(frozen=True, kw_only=True)
class PathStop:
    """A decision before the last query, or at it."""

    place: Literal["above", "below"]
    num_values: int
    """Queries that it took."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Boundaries:
    """Where the score after 1 to Q queries decides; infinite where it cannot."""

    derived: NDArray[np.float64]
    """Above this it is "derived", ``[Q]``."""
    independent: NDArray[np.float64]
    """Below this it is "independent", ``[Q]``."""


class PathTest:
    """Follows one suspect's evidence against the paths of the calibration models.

    Args:
        models: Evidence of every calibration model's answer to every query, ``[R, Q]``, in nats or
            matches; Q at least 1.
        tilt: Taken off each value first, so that innocents' paths fall and derived ones rise.
        compared: Who the models are.
        rule: The error rates.
    """

    def __init__(
        self,
        models: NDArray[np.float64],
        *,
        tilt: float,
        compared: Populations,
        rule: DecisionRule,
    ) -> None:
        self._models, self._values = models, list[float]()
        self._sums = np.cumsum(models, axis=1)  # [R, Q]
        self._tilt, self._compared, self._rule = tilt, compared, rule
        num = models.shape[1]
        self._first_above, self._first_below = min(MIN_ACCUSING, num), min(MIN_CLEARING, num)
        paths = self._sums - tilt * np.arange(1, num + 1)
        self._highest = paths[:, self._first_above - 1 :].max(axis=1)  # [R]
        lowest = paths[:, self._first_below - 1 :].min(axis=1)  # [R]
        self._tops, self._bottoms = compared.innocent(self._highest), compared.derived(lowest)
        self._sum, self._num_values, self._num_refused = 0.0, 0, 0
        self._top, self._bottom = -np.inf, np.inf
        self.stop: PathStop | None = None

    @property
    def num_values(self) -> int:
        """Return how many values were taken."""
        return self._num_values

    def add(self, value: float, *, is_refused: bool = False) -> None:
        """Take the next value in the signed order; does nothing after a stop."""
        if self.stop is not None:
            return
        self._num_values += 1
        self._num_refused += is_refused
        self._sum += value
        self._values.append(value)
        point = self._sum - self._tilt * self._num_values
        if self._num_values >= self._first_above:
            self._top = max(self._top, point)
        if self._num_values >= self._first_below:
            self._bottom = min(self._bottom, point)
        self._consider()

    def p_value(self, stratum: str | None = None) -> float:
        """Return how rarely an innocent's path gets so high; against one kind if one is named."""
        if stratum is None:
            return rank_p_value(self._top, self._tops)
        return rank_p_value(self._top, self._compared.innocent(self._highest, stratum))

    @property
    def p_derived(self) -> float:
        """Return how rarely a derived model's path gets so low."""
        return rank_p_value(-self._bottom, -self._bottoms)

    @property
    def num_as_high(self) -> int:
        """Return the innocent lineages whose paths get as high as the suspect's has."""
        return int((self._tops >= self._top).sum())

    @property
    def num_as_low(self) -> int:
        """Return the derived models whose paths get as low as the suspect's has."""
        return int((self._bottoms <= self._bottom).sum())

    def boundaries(self) -> Boundaries:
        """Return where a suspect decides that was beyond neither boundary before."""
        num = self._sums.shape[1]
        count = np.arange(1, num + 1)
        limits = [self.thresholds_after(int(after)) for after in count]
        # Being above the extreme of few enough lineages is being above this one's.
        top = upper_bound(self._tops, self._rule.alpha)
        bottom = -upper_bound(-self._bottoms, self._rule.beta)
        derived = np.maximum(top / count + self._tilt, [one.derived_above for one in limits])
        independent = np.minimum(
            bottom / count + self._tilt, [one.independent_below for one in limits]
        )
        derived[: self._first_above - 1] = np.inf
        independent[: self._first_below - 1] = -np.inf
        return Boundaries(derived=derived, independent=independent)

    def _consider(self) -> None:
        mean = self._sum / self._num_values
        is_extreme = self.p_value() <= self._rule.alpha
        if is_extreme and mean > self.thresholds_after(self._num_values).derived_above:
            self.stop = PathStop(place="above", num_values=self._num_values)
        # Whoever tells too little is not cleared, and whoever was once above the innocents neither.
        is_answered = self._num_refused <= MAX_REFUSED * self._num_values
        if (
            is_answered
            and not is_extreme
            and self.p_derived <= self._rule.beta
            and mean < self.thresholds_after(self._num_values).independent_below
            and is_agreed(self._parts())
        ):
            self.stop = PathStop(place="below", num_values=self._num_values)

    def _parts(self) -> Parts:
        """Return the early answers so far beside the late ones."""
        values = AskedValues(
            suspect=np.array(self._values),
            models=self._models[:, : self._num_values],
            tilt=self._tilt,
        )
        return compare_parts(values, self._compared, self._rule)

    def thresholds_after(self, num_values: int) -> Thresholds:
        """Return the thresholds of the score over the first queries."""
        means = self._sums[:, num_values - 1] / num_values
        return conformal_thresholds(
            self._compared.innocent(means),
            self._compared.derived(means),
            self._compared.derived_kinds,
            alpha=self._rule.alpha,
            beta=self._rule.beta,
            has_equals=self._compared.has_equals,
        )
