"""What the weights of a file came to, beside its answers."""

from typing import Literal

from adapters.strict_model import FrozenModel


class WeightsOutcome(FrozenModel):
    """The score ``weight-kinship``, and what it and the answers come to together (ADR 26)."""

    value: float | None
    """The score, [-1, 1]; None where weights cannot be compared."""
    similarities: tuple[float | None, ...]
    """Of each of the source's layers, in the order of computation; None where the file does not
    have it. Empty where its weights could not be read."""
    num_found: int
    """Of the source's layers, how many the file has."""
    num_reordered: int
    """Of these, in how many filters were found in another order."""
    num_layers: int
    """Layers of the file that were read."""
    num_hidden: int
    """Layers of the file whose weights are computed when it runs, or are no finite numbers."""
    num_beyond: int
    """Layers of the file beyond what is looked at."""
    alpha: float | None
    """Level of the weights; None where the bundle has too few innocents for one: then they are
    told and decide nothing."""
    answers_alpha: float
    """Level of the answers."""
    derived_above: float | None
    """None: the innocents are too few."""
    p_value: float
    """Rank among the innocent lineages whose weights can be compared; 1 without a score."""
    smallest_p_value: float
    num_lineages: int
    num_as_high: int
    """Innocent lineages whose weights are at least as similar."""
    blind_kinds: tuple[str, ...]
    """Kinds of derivation whose weights are no nearer to the source's than innocents' are."""
    is_derived: bool
    """Whether the weights say so."""
    is_above_innocents: bool
    """Whether no innocent's are as near to the source's; nobody is cleared then."""
    answers_verdict: str
    """What the answers say without them."""
    decided_by: Literal["answers", "weights", "both"] | None
    """Which of the two says "derived"; None where neither does."""
    joint_p_value: float | None
    """Of answers and weights together: the smaller of both, each divided by its share of alpha;
    None where there is neither."""
    joint_smallest_p_value: float | None
    """That they can give in this way."""
    reason: str
