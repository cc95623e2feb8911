"""Does a model tell how to change its images, and its weights?"""

import torch
from torch import Tensor, nn


def has_gradients(model: nn.Module, pixels: Tensor) -> bool:
    """Return whether logits have finite gradients that are not zero, for each image and any weight.

    Args:
        model: Pixels in [0, 1] to logits.
        pixels: Some images, ``[N, C, H, W]``.

    Raises:
        RuntimeError: torch cannot compute any.
    """
    pixels = pixels.detach().clone().requires_grad_()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    logits = model(pixels)
    # A direction in which no softmax can be flat: the logits of odd against even classes.
    signs = 1.0 - 2.0 * (torch.arange(logits.shape[1], device=logits.device) % 2)
    to_pixels, *to_weights = torch.autograd.grad(
        (logits * signs).sum(), [pixels, *weights], allow_unused=True
    )
    found = [gradient for gradient in to_weights if gradient is not None]
    if to_pixels is None or not all(one.isfinite().all() for one in (to_pixels, *found)):
        return False
    return bool(to_pixels.flatten(1).any(dim=1).all()) and any(map(torch.any, found))
