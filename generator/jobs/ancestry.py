"""What the owner says about where the model began."""

from collections.abc import Callable
from dataclasses import replace

from generator.sources.ancestor import NONE, is_descendant, load_ancestor
from generator.sources.source import Source


def with_ancestor(source: Source, spec: str | None, tell: Callable[[str], None]) -> Source:
    """Return a source that knows its ancestor.

    Args:
        source: On the CPU.
        spec: As ``--ancestor`` takes it; None and ``none`` name no ancestor.
        tell: Says what the owner should know.

    Raises:
        SourceError: The ancestor cannot be read, or is none of this architecture.
    """
    if spec in (None, NONE):
        return source
    assert spec is not None
    ancestor = load_ancestor(spec, source.model.network)
    if not is_descendant(source.model.network, ancestor):
        tell(
            f"The first layer of {source.architecture} is not like that of {ancestor.name}: was it "
            "fine-tuned from another checkpoint?"
        )
    return replace(source, ancestor=ancestor)
