"""How far a manifest may go: an owner accuses, so that nothing that decides is theirs without end.

A setting beyond these bounds is refused with its name, before anything is asked.
"""

from typing import Annotated

from pydantic import Field

MIN_EPSILON = 0.01
"""Below it one answer could be worth more than 4.6 nats: one image would outweigh many."""
MAX_EPSILON = 0.5
"""Above it no answer is worth more than 1.1 nats."""
MIN_TAU, MAX_TAU = 0.05, 0.95
"""Outside it hardly a loss is within the interval, or every one is."""
MIN_AGREEMENT = 0.5
"""Share of the source's accuracy on the control images: a model with less has another task, and
what it answers to queries means nothing."""
MIN_LEAD = 0.1
"""Nats by which a member of a line-up must lead."""
MAX_RADIUS = 32
"""Of 255: farther from its natural image than this, a trigger or query may be any image."""
MAX_PICTURE_SHARE = 0.5
"""Of what sets derived models apart from innocents: no picture may outweigh all others."""

Epsilon = Annotated[float, Field(ge=MIN_EPSILON, le=MAX_EPSILON)]
