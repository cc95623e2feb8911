"""AKH: ask what the source itself gets wrong; a copy repeats the mistakes, others make their own.

Godinot, Le Merrer, Penzo, Taiani, Tredan, "Queries, Representation & Detection: The Next 100 Model
Fingerprinting Schemes" (QuRD), AAAI 2025, where this baseline stands up to crafted fingerprints.

    queries = {x : argmax f(x) != y(x)},    score = share of queries with argmax g(x) = argmax f(x)

with f the source, g the suspect and y the true class. Images are natural and unchanged: no detector
can tell them from other traffic, and no gradient is needed. Needs labelled images that the source
was not trained on: about ``num_images / error rate`` of them.

Shapes: images ``[N, H, W, C]`` uint8, labels ``[N]``, N at most ``num_images``.
"""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from adapters.strict_model import FrozenModel
from generator.crafting.fingerprint import Fingerprint, FingerprintMethod, Pools, Step
from generator.crafting.source_errors import source_errors
from generator.sources.torch_suspect import predict_logits


class AkhOptions(FrozenModel):
    """There is nothing to choose."""


def craft(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    pools: Pools,
    options: AkhOptions,
    *,
    num_images: int,
    rng: np.random.Generator,
    on_step: Step,
) -> Fingerprint:
    """Pick errors of the source (see `FingerprintMethod.craft`).

    Findings: ``clean_images``, ``errors`` (how many of them the source gets wrong).

    Raises:
        GenerationError: The source is near chance or makes no error.
    """
    chosen, num_errors = source_errors(source, carriers, labels, num_images=num_images, rng=rng)
    on_step(1, 1)
    return Fingerprint(
        images=carriers[chosen],
        labels=predict_logits(source, carriers[chosen]).argmax(axis=1),
        carriers=carriers[chosen],
        groups=np.arange(len(chosen)),
        findings={"clean_images": len(carriers), "errors": num_errors},
    )


METHOD = FingerprintMethod(
    name="akh",
    title="AKH, the source's own errors (Godinot et al., AAAI 2025)",
    options=AkhOptions,
    score="matching-rate",
    needs=frozenset({"labelled-errors"}),
    craft=craft,
)
