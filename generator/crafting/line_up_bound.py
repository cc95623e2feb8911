"""By how much a member must lead before asking ends.

The p-value holds at any bound that does not depend on who is the source. What it decides is how
often an innocent names anybody at all, and how many questions a derived suspect takes. It is set by
the panel: a lead that half of its innocents reach for no member.
"""

import numpy as np

from audit.bundle.line_up import LineUp
from audit.scores.line_up import ToldAnswers, model_races

REACHED_BY = 0.5
"""Share of the panel's innocents for whom some member leads by the bound."""


def choose_bound(line_up: LineUp) -> float:
    """Return the bound in nats, above 0, to a tenth.

    Args:
        line_up: Its own bound is not looked at, nor who is the source.
    """
    num_questions, num_panel = len(line_up.arrays.questions), len(line_up.record.panel)
    # Labels: whoever tells more is led sooner.
    told = ToldAnswers(
        questions=np.arange(num_questions), labels=np.zeros(num_questions, dtype=np.int64)
    )
    races = model_races(line_up, told)
    running = races.running[:num_panel]  # [P, T, L]
    second, first = np.moveaxis(np.partition(running, -2, axis=-2)[..., -2:, :], -2, 0)
    largest = (first - second).max(axis=-1) * races.nats_per_step  # [P]
    return max(0.1, round(float(np.quantile(largest, 1 - REACHED_BY)), 1))
