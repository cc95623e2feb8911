"""A new head on a frozen trunk, whose view of each image is computed once, not every epoch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from generator.images.labelled import ImageSet
from generator.sources.ancestor import inner
from generator.sources.source import Normalised, Source
from generator.sources.torch_suspect import predict_logits
from generator.training.loop import TrainingRecipe, train

_EPOCHS, _BATCH = 60, 64
"""Over features: a head of a few thousand weights has converged by then."""


def train_head(
    model: Normalised,
    source: Source,
    images: ImageSet,
    recipe: TrainingRecipe,
    *,
    generator: torch.Generator,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Train the head of an ancestor's descendant, in place; leaves it in evaluation mode.

    Args:
        model: From `generator.sources.source.Source.descendant`.
        source: Knows which parameters are the head.
        images: Labelled images.
        recipe: Its learning rate; where the head is more than one linear layer, all of it.
        generator: Source of every random draw.
        on_step: Called with (steps done, steps in all).
    """
    assert source.ancestor is not None, "a head is what an ancestor has not"
    network = inner(model.network)
    layer = _linear_head(model, source)
    if layer is None:
        parameters = [network.get_parameter(name) for name in source.ancestor.head]
        train(model, images, recipe, generator=generator, parameters=parameters, on_step=on_step)
        return
    features = _features(model, layer, images)
    labels = torch.from_numpy(images.labels).to(features.device)
    # Of unit size, so that one rate serves every trunk.
    scale = features.square().mean().sqrt()
    optimiser = torch.optim.SGD(
        layer.parameters(), lr=recipe.learning_rate, momentum=0.9, weight_decay=5e-4
    )
    size = min(_BATCH, len(features))
    total = max(1, _EPOCHS * len(features) // size)
    weight_scale = 1 / scale
    for step in range(total):
        chosen = torch.randint(len(features), (size,), generator=generator).to(features.device)
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * (1 - step / total)
        logits = layer(features[chosen] * weight_scale)
        loss = nn.functional.cross_entropy(logits, labels[chosen])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        on_step(step + 1, total)
    with torch.no_grad():
        layer.weight.mul_(weight_scale)  # the trunk's features come as they are
    model.eval()


def head_epochs(model: Normalised, source: Source, recipe: TrainingRecipe) -> float:
    """Return how often `train_head` goes over the images."""
    return recipe.epochs if _linear_head(model, source) is None else _EPOCHS


def _linear_head(model: Normalised, source: Source) -> nn.Linear | None:
    """Return the head if it is one linear layer."""
    assert source.ancestor is not None, "a head is what an ancestor has not"
    names = {name.rpartition(".")[0] for name in source.ancestor.head}
    layer = inner(model.network).get_submodule(names.pop()) if len(names) == 1 else None
    return layer if isinstance(layer, nn.Linear) else None


def _features(model: Normalised, layer: nn.Linear, images: ImageSet) -> Tensor:
    """Return what the head sees of each image, ``[N, D]``."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].detach().clone())
    )
    try:
        predict_logits(model, images.images)
    finally:
        handle.remove()
    # Made in inference mode; a copy outside of it takes part in training.
    return torch.cat([part.flatten(1) for part in seen]).clone()
