"""How many nodes a model has once the calls of its functions are written out.

A runtime writes them out before it does anything else, and thirty functions that each call the one
before twice become a thousand million nodes. Counted here without writing anything.
"""

from collections.abc import Iterable, Mapping, Sequence

FunctionKey = tuple[str, str, str]
"""Domain, name and overload: what a node names to call a function."""


class RecursiveFunctionError(Exception):
    """A function calls itself, perhaps through others."""


def num_nodes_written_out(
    called: Iterable[FunctionKey],
    functions: Mapping[FunctionKey, Sequence[FunctionKey]],
    *,
    most: int,
) -> int:
    """Return the number of nodes, at most one more than `most`.

    ``n(node) = 1``, or the sum over the nodes of the function that it calls.

    Args:
        called: What each node of the graph names; a function, or an operator.
        functions: The same for the nodes of each function.
        most: Where counting may stop.

    Raises:
        RecursiveFunctionError: A function calls itself.

    Example:
        >>> twice, once = ("", "Twice", ""), ("", "Once", "")
        >>> num_nodes_written_out([twice], {twice: [once, once], once: [("", "Relu", "")]}, most=9)
        2
    """
    sizes: dict[FunctionKey, int] = {}
    begun: set[FunctionKey] = set()
    for first in called:
        # A list and no recursion: functions nest as deep as whoever made them wants.
        pending = [first] if first in functions else []
        while pending:
            key = pending[-1]
            missing = [one for one in functions[key] if one in functions and one not in sizes]
            if key not in sizes and missing:
                if key in begun:
                    raise RecursiveFunctionError(key[1])
                begun.add(key)
                pending += dict.fromkeys(missing)
                continue
            pending.pop()
            # Capped: the true number may have as many digits as there are functions.
            sizes[key] = min(most + 1, sum(sizes.get(one, 1) for one in functions[key]))
    return min(most + 1, sum(sizes.get(one, 1) for one in called))
