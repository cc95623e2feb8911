"""What a thief does to a stolen model: fine-tuning, pruning, noise, rounding, hardening.

Each function returns a changed copy; the model that goes in stays as it is.
"""

import copy
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import nn

from generator.images.labelled import ImageSet
from generator.training.loop import FreeAdversary, PGDAdversary, TrainingRecipe, train

Network = TypeVar("Network", bound=nn.Module)
StepReport = Callable[[int, int], None]


def fine_tune(
    model: Network,
    data: ImageSet,
    *,
    generator: torch.Generator,
    epochs: float = 5,
    learning_rate: float = 0.01,
    last_layer_only: bool = False,
    retrain_last_layer: bool = False,
    on_step: StepReport | None = None,
) -> Network:
    """Train a copy on other images: FTLL, FTAL, RTLL and RTAL of Adi et al. (USENIX Sec. 2018).

    Args:
        model: Logits ``[N, K]`` from pixels in [0, 1].
        data: Labelled images, best such that the source never saw.
        generator: Source of every random draw.
        epochs: Passes over the images.
        learning_rate: Constant rate of SGD.
        last_layer_only: Change the last linear layer only (FTLL, RTLL).
        retrain_last_layer: Draw the last linear layer afresh first (RTLL, RTAL).
        on_step: Called with (steps done, steps in all).

    Raises:
        ValueError: The model has no linear layer, but one is asked for.
    """
    changed = copy.deepcopy(model)
    parameters = None
    if last_layer_only or retrain_last_layer:
        head = _last_linear(changed)
        if retrain_last_layer:
            # As torch draws a new linear layer: uniform within 1 / sqrt(inputs).
            bound = head.in_features**-0.5
            with torch.no_grad():
                for tensor in head.parameters():  # weight and bias
                    draw = torch.rand(tensor.shape, generator=generator)
                    tensor.copy_((draw * 2 - 1) * bound)
        if last_layer_only:
            parameters = list(head.parameters())
    recipe = TrainingRecipe(
        epochs=epochs, batch_size=64, learning_rate=learning_rate, one_cycle=False
    )
    train(changed, data, recipe, generator=generator, parameters=parameters, on_step=on_step)
    return changed


def prune_and_tune(
    model: nn.Module,
    rate: float,
    data: ImageSet,
    *,
    generator: torch.Generator,
    epochs: float,
    learning_rate: float = 0.01,
) -> nn.Module:
    """Prune a copy, fine-tune it, and prune what grew back.

    Args:
        model: As in `fine_tune`, like the rest but for the rate.
        rate: Share of the weights to zero, 0..1.
        data: Likewise.
        generator: Likewise.
        epochs: Likewise.
        learning_rate: Likewise.
    """
    tuned = fine_tune(
        prune(model, rate), data, generator=generator, epochs=epochs, learning_rate=learning_rate
    )
    return prune(tuned, rate)


def prune(model: nn.Module, rate: float) -> nn.Module:
    """Zero the smallest weights of a copy, over all convolutions and linear layers together.

    Args:
        model: Any network.
        rate: Share of the weights to zero, 0..1.

    Returns:
        The pruned copy; biases and batch norm are left alone.
    """
    changed = copy.deepcopy(model)
    weights = [
        module.weight for module in changed.modules() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    num_pruned = round(rate * len(magnitudes))
    if num_pruned:
        # One threshold for the whole network; of equal weights at it all go.
        cut = magnitudes.kthvalue(num_pruned).values
        with torch.no_grad():
            for weight in weights:
                # Zeroed, not taken out: the network keeps its shape, as a thief's file does.
                weight.mul_(weight.abs() > cut)
    return changed


def add_weight_noise(model: nn.Module, relative: float, *, generator: torch.Generator) -> nn.Module:
    """Add Gaussian noise to a copy's weights.

    Args:
        model: Any network.
        relative: Standard deviation in units of each weight tensor's own standard deviation.
        generator: Source of the noise (CPU).
    """
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for module in changed.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                # Drawn on the CPU, where the generator is: the same noise on every device.
                noise = torch.randn(module.weight.shape, generator=generator)
                scale = relative * module.weight.std()
                module.weight.add_(noise.to(module.weight.device) * scale)
    return changed


def quantise_weights(model: nn.Module, bits: int) -> nn.Module:
    """Round a copy's weights as an integer runtime stores them, symmetric, per output channel.

    Args:
        model: Any network.
        bits: Of one weight, 2 to 16; int8 files have 8.
    """
    changed = copy.deepcopy(model)
    # -127 to 127 for int8: a symmetric range leaves -128 out.
    steps = 2 ** (bits - 1) - 1
    with torch.no_grad():
        for module in changed.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                largest = module.weight.abs().flatten(1).amax(1).clamp(min=1e-12)
                # [O] -> [O, 1, 1, 1] or [O, 1]
                scale = (largest / steps).view(-1, *[1] * (module.weight.dim() - 1))
                module.weight.copy_((module.weight / scale).round() * scale)
    return changed


def round_to_half(model: nn.Module) -> nn.Module:
    """Round a copy's weights and statistics to half precision."""
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in changed.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
    return changed


def harden_in_steps(
    model: nn.Module,
    data: ImageSet,
    radii: Sequence[float],
    *,
    generator: torch.Generator,
    epochs: float,
    learning_rate: float = 0.02,
) -> list[nn.Module]:
    """Fine-tune adversarially at growing radii and keep a copy after each.

    Free adversarial training (Shafahi et al., NeurIPS 2019) costs what plain training does, and a
    larger radius goes on from a smaller one, so that copies hardened far cost little.

    Args:
        model: Logits ``[N, K]`` from pixels in [0, 1].
        data: Labelled images.
        radii: In [0, 1] pixel units, the smallest first.
        generator: Source of every random draw.
        epochs: Passes over the images for each radius.
        learning_rate: Peak rate of SGD.
    """
    current, made = model, []
    for radius in radii:
        current = copy.deepcopy(current)
        recipe = TrainingRecipe(
            epochs=epochs,
            # Few images still make some dozens of steps.
            batch_size=min(128, max(16, len(data) // 20)),
            learning_rate=learning_rate,
            adversary=FreeAdversary(radius=radius),
        )
        train(current, data, recipe, generator=generator)
        made.append(current)
    return made


def train_adversarially(
    model: nn.Module,
    data: ImageSet,
    *,
    radius: float,
    generator: torch.Generator,
    epochs: float = 5,
    learning_rate: float = 0.01,
    steps: int = 7,
    on_step: StepReport | None = None,
) -> nn.Module:
    """Fine-tune a copy on clean and L-infinity PGD images, half of each.

    Args:
        model: Logits ``[N, K]`` from pixels in [0, 1].
        data: Labelled images.
        radius: In [0, 1] pixel units.
        generator: Source of every random draw.
        epochs: Passes over the images.
        learning_rate: Peak rate of SGD.
        steps: Ascent steps per batch.
        on_step: Called with (steps done, steps in all).
    """
    changed = copy.deepcopy(model)
    recipe = TrainingRecipe(
        epochs=epochs,
        learning_rate=learning_rate,
        adversary=PGDAdversary(radius=radius, steps=steps),
    )
    train(changed, data, recipe, generator=generator, on_step=on_step)
    return changed


def _last_linear(model: nn.Module) -> nn.Linear:
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError("expected a model with a linear layer to retrain, found none")
    return layers[-1]
