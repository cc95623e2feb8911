"""Refuses to start a method without the other models that it crafts with."""

from generator.crafting.fingerprint import Pools
from generator.errors import GenerationError


def require_pools(method: str, pools: Pools, *, num_derived: int, num_innocents: int) -> None:
    """Refuse pools that are too small for a method.

    Args:
        method: As in ``--method``.
        pools: As given.
        num_derived: How many derived models the method needs at least.
        num_innocents: How many innocents.

    Raises:
        GenerationError: Says how many there are and which commands make them.
    """
    if len(pools.derived) < num_derived or len(pools.innocents) < num_innocents:
        raise GenerationError(
            f"pools: expected at least {num_derived} derived and {num_innocents} innocent models "
            f"for {method}, got {len(pools.derived)} and {len(pools.innocents)}; innocents come "
            "from 'kinprint references' (then --references DIR) or --train-references, derived "
            "ones are made from the source (num_mimics in the --config file)"
        )
