"""Stopping early without spoiling the error rates: betting on what the whole score will be.

The queries of a bundle stand in a random order that a suspect does not know, so that its answers
are drawn without replacement from the Q answers it would give. Whether the mean of all Q is beyond
a threshold m is tested while they come (Waudby-Smith and Ramdas, "Estimating means of bounded
random variables by betting", 2024, section 5). Before value x_t, the null "mean <= m" bounds the
expectation of x_t by

    m_t = (Q m - sum_{s<t} x_s) / (Q - t + 1)

and a bet of a share f of the wealth, ``W_t = W_{t-1} (1 + f (x_t - m_t) / (m_t - lowest))``, cannot
be expected to gain. The weighted mean of the wealths of several shares is an e-process: the chance
that it ever reaches 1 / error is at most ``error`` (Ville, 1939), whenever one looks. Bets that the
mean is *not* beyond either bound end an audit that further queries would leave undecided. Nothing
here is random: the same answers stop at the same query everywhere.
"""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

BETS = (0.2, 0.6, 0.99)
"""Shares of the wealth that are bet side by side, without a guess about the suspect."""
STAKES = (1.0, 1.0, 4.0)
"""What each share begins with. Most is on the boldest, since a plain copy, the commonest thing to
find, answers without a doubt: against the best single share that costs ``log 1.5`` nats there and
``log 6`` elsewhere."""
_ROUNDING = 1e-9
"""Differences below this are rounding, never evidence."""
MAX_E_VALUE = 1e12
"""E-values are told up to here."""


class MeanTest:
    """E-process against "the mean of all Q values is at most m".

    Args:
        mean: m.
        lowest: No value is below.
        num_values: Q.
    """

    def __init__(self, mean: float, *, lowest: float, num_values: int) -> None:
        self._left, self._num_left = mean * num_values, num_values
        self._lowest = lowest
        self._wealths = list(STAKES)

    @property
    def e_value(self) -> float:
        """Return the evidence against the null so far; infinite once it is impossible."""
        return sum(self._wealths) / sum(STAKES)

    def add(self, value: float) -> None:
        """Take the next value, at least ``lowest``."""
        # m_t: what the values to come are on average if the mean of all of them is m.
        expected = self._left / self._num_left
        room = expected - self._lowest
        if room > _ROUNDING:
            # At least -1, as no value is below the lowest: a share below 1 never loses all of its
            # wealth.
            gain = (value - expected) / room
            self._wealths = [
                wealth * (1 + bet * gain) for wealth, bet in zip(self._wealths, BETS, strict=True)
            ]
        elif value > self._lowest + _ROUNDING:
            # The values so far leave the others nothing but the lowest, and this is more.
            self._wealths = [inf] * len(BETS)
        self._left -= value
        self._num_left -= 1


@dataclass(frozen=True, kw_only=True)
class EarlyStop:
    """A decision before the last value."""

    place: Literal["above", "below", "between"]
    """Where the mean of all values lies; between the bounds, no more values would decide."""
    num_values: int
    """Values that it took."""
    e_value: float
    """Evidence against the opposite, at most `MAX_E_VALUE`."""

    @property
    def is_above(self) -> bool:
        """Whether the mean is above the upper bound."""
        return self.place == "above"


class SequentialTest:
    """Is the mean of all Q values above one bound, below the other, or between them?

    Args:
        above: Upper bound; infinite if nothing is ever above.
        below: Lower bound; infinite if nothing is ever below.
        lowest: No value is below.
        highest: No value is above.
        num_values: Q.
        error: Chance of a wrong decision by stopping, each way, (0, 1); "between" may be wrong
            either way.
        max_refused: While a larger share of the values is refusals, nothing stops as "below".
        min_below: Values before which nothing stops as "below"; waiting never adds to the error.
    """

    def __init__(
        self,
        *,
        above: float,
        below: float,
        lowest: float,
        highest: float,
        num_values: int,
        error: float,
        max_refused: float = 1.0,
        min_below: int = 1,
    ) -> None:
        self._above = (
            MeanTest(above, lowest=lowest, num_values=num_values) if isfinite(above) else None
        )
        # "Mean >= below" is "mean of the negatives <= -below".
        self._below = (
            MeanTest(-below, lowest=-highest, num_values=num_values) if isfinite(below) else None
        )
        # Where the two bounds are one, nothing lies between them.
        has_between = isfinite(above) and isfinite(below) and below < above
        # Evidence against "mean >= above", again by negatives, and against "mean <= below".
        self._not_above = (
            MeanTest(-above, lowest=-highest, num_values=num_values) if has_between else None
        )
        self._not_below = (
            MeanTest(below, lowest=lowest, num_values=num_values) if has_between else None
        )
        self._needed, self._max_refused, self._min_below = 1 / error, max_refused, min_below
        self._num_values = self._num_refused = 0
        self.stop: EarlyStop | None = None

    def add(self, value: float, *, is_refused: bool = False) -> None:
        """Take the next value in the order of asking; does nothing after a stop."""
        if self.stop is not None:
            return
        self._num_values += 1
        self._num_refused += is_refused
        if self._above is not None:
            self._above.add(value)
            self._consider(self._above.e_value, "above")
        if self._below is not None:
            self._below.add(-value)
            # The bet goes on while nothing may come of it: its error holds for all times together,
            # so a decision that waits is no less sure.
            is_answered = self._num_refused <= self._max_refused * self._num_values
            if is_answered and self._num_values >= self._min_below:
                self._consider(self._below.e_value, "below")
        if self._not_above is not None and self._not_below is not None:
            self._not_above.add(-value)
            self._not_below.add(value)
            # Only with both statements ruled out does the mean lie between: the weaker evidence
            # speaks.
            both = min(self._not_above.e_value, self._not_below.e_value)
            self._consider(both, "between")

    def _consider(self, e_value: float, place: Literal["above", "below", "between"]) -> None:
        if e_value >= self._needed and self.stop is None:
            self.stop = EarlyStop(
                place=place,
                num_values=self._num_values,
                e_value=min(e_value, MAX_E_VALUE),
            )
