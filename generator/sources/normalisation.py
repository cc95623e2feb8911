"""Mean and standard deviation per channel as a user writes them."""

from generator.errors import GenerationError


def parse_normalise(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Parse ``mean/std``, each one or three comma-separated numbers in [0, 1] pixel units.

    Raises:
        GenerationError: It is something else.

    Example:
        >>> parse_normalise("0.5/0.25")
        ((0.5,), (0.25,))
    """
    try:
        mean, std = (tuple(float(value) for value in part.split(",")) for part in text.split("/"))
    except ValueError:
        mean, std = (), ()
    if len(mean) != len(std) or len(mean) not in (1, 3) or min(std) <= 0:
        raise GenerationError(
            "normalise: expected mean/std, one or three numbers each such as "
            f"0.49,0.48,0.45/0.25,0.24,0.26, got {text!r}"
        )
    return mean, std
