"""Are enough control images right? Betting on what the share of all of them will be.

The images stand in a random order that a suspect does not know, so that its answers are drawn
without replacement from the Q answers it would give. Whether the mean of all Q is beyond a bound m
is tested while they come (Waudby-Smith and Ramdas, "Estimating means of bounded
random variables by betting", 2024, section 5). Before value x_t, the null "mean <= m" bounds the
expectation of x_t by

    m_t = (Q m - sum_{s<t} x_s) / (Q - t + 1)

and a bet of a share f of the wealth, ``W_t = W_{t-1} (1 + f (x_t - m_t) / (m_t - lowest))``,
cannot be expected to gain. The weighted mean of the wealths of several shares is an e-process: the
chance that it ever reaches 1 / error is at most ``error`` (Ville, 1939), whenever one looks.
Nothing here is random: the same answers stop at the same image everywhere. Queries have no need of
it: what innocents answer to them is known (`audit.verdict.conformal_path`).
"""

from dataclasses import dataclass
from math import inf

BETS = (0.2, 0.6, 0.99)
"""Shares of the wealth that are bet side by side, without a guess about the suspect."""
STAKES = (1.0, 1.0, 4.0)
"""What each share begins with. Most is on the boldest, since a plain copy, the commonest thing to
find, answers without a doubt: against the best single share that costs ``log 1.5`` nats there and
``log 6`` elsewhere."""
_ROUNDING = 1e-9
"""Differences below this are rounding, never evidence."""


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

    is_above: bool
    """Whether the mean of all values is above the bound, or below it."""
    num_values: int
    """Values that it took."""


class SequentialTest:
    """Is the mean of Q values in [0, 1] above a bound or below it?

    Args:
        bound: m.
        num_values: Q.
        error: Chance of a wrong decision by stopping, each way, (0, 1).
    """

    def __init__(self, bound: float, *, num_values: int, error: float) -> None:
        self._above = MeanTest(bound, lowest=0.0, num_values=num_values)
        # "Mean >= bound" is "mean of the negatives <= -bound".
        self._below = MeanTest(-bound, lowest=-1.0, num_values=num_values)
        self._needed, self._num_values = 1 / error, 0
        self.stop: EarlyStop | None = None

    def add(self, value: float, *, is_refused: bool = False) -> None:
        """Take the next value in the order of asking; does nothing after a stop.

        Args:
            value: In [0, 1].
            is_refused: A refusal has its value like any answer.
        """
        if self.stop is not None:
            return
        self._num_values += 1
        self._above.add(value)
        self._below.add(-value)
        for test, is_above in ((self._above, True), (self._below, False)):
            if test.e_value >= self._needed:
                self.stop = EarlyStop(is_above=is_above, num_values=self._num_values)
                return
