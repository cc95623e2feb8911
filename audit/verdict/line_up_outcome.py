"""What a line-up found, beside the figures that all scores have."""

from typing import Literal

from adapters.strict_model import FrozenModel


class Found(FrozenModel):
    """How many of the bundle's own derived models of one kind so many questions find."""

    num_models: int
    num_found: int


class LineUpOutcome(FrozenModel):
    """Where the source stood among its siblings when asking ended."""

    source: int
    """Its place among the members."""
    leads: tuple[float, ...]
    """Each member's score less their mean, nats, in the order of the bundle."""
    rank: int
    """Members that scored at least what the source did, itself included: 1 is best."""
    led_after: int | None
    """Questions after which a member led by more than the bound; None if none did, or if the audit
    was to ask them all."""
    lead_bound: float
    """Nats."""
    is_led_by_source: bool
    """Whether the source is that member; without early stopping, whether it is ahead of all."""
    basis: Literal["line-up", "innocents"]
    """What the p-value is: the source's rank among the members, or the rank of its lead among the
    panel's lineages, where the line-up is not fair or too small for the rate."""
    unfair: str | None
    """Why it is not fair; None if it is."""
    rank_p_value: float
    """Of the source among the members."""
    smallest_p_value: float
    """That so many members can give."""
    innocents_p_value: float
    """Rank of the source's lead among the panel's lineages."""
    num_lineages: int
    num_lineages_as_far: int
    """Of the panel: led by the source as soon, or by as much."""
    derived_p_value: float
    """Rank among the derived models' lineages of how little the source is ahead."""
    power: dict[str, Found]
    """By kind of derived model."""
