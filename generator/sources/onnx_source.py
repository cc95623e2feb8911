"""The owner's model as an ONNX file: converted to torch, and compared with onnxruntime.

Crafting needs gradients, and onnxruntime has none, so the file becomes a torch module. What is
crafted must hold for the file: the module has to answer as onnxruntime does, on natural and on
random images, and its gradients have to be there. The file is the owner's own; the converter parses
it in this process, without the limits that a suspect's file gets.
"""

import copy
import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from adapters.onnx.opening import open_onnx
from adapters.onnx.suspect import OnnxSuspect
from adapters.suspect import SuspectError
from generator.errors import SourceError
from generator.sources.contract import InputContract
from generator.sources.gradients import has_gradients
from generator.sources.onnx_conversion import (
    GIVE_A_FACTORY,
    ConvertedNetwork,
    convert,
    naming_the_operator,
    restore_batch_norms,
)
from generator.sources.onnx_preparation import parse_model
from generator.sources.source import Normalised, Source, reinitialised, with_contract
from generator.sources.torch_suspect import predict_logits
from generator.training.loop import to_unit_interval

TOLERANCE = 1e-3
"""Largest difference of a log-probability a, as a share of 1 + |a|, that rounding explains."""
LOWEST_LOG_PROBABILITY = -80.0
"""Smaller ones are taken as equal: a float32 probability ends at exp(-87)."""
NUM_COMPARED = 32
"""Natural images to compare on, and as many random ones."""


def is_onnx(model: str) -> bool:
    """Return whether ``--model`` names an ONNX file and not a factory."""
    return model.endswith(".onnx")


def load_onnx_source(
    path: Path,
    images: NDArray[np.uint8],
    *,
    num_classes: int,
    contract: InputContract,
) -> Source:
    """Convert the owner's ONNX file, and check that torch sees the same model as onnxruntime.

    Args:
        path: The file; one input of float32 images, weights inside.
        images: Natural images, uint8 ``[N, H, W, C]``.
        num_classes: K.
        contract: How images become the network's input.

    Raises:
        SourceError: The file cannot be used or converted (names the operator), answers otherwise
            than in onnxruntime, or has no gradients.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"model: cannot read {path}: {error.strerror}") from error
    model = parse_model(data, path.name)
    digest = hashlib.sha256(data).hexdigest()
    try:
        suspect = open_onnx(
            path,
            recipe=contract.recipe,
            image_shape=(images.shape[1], images.shape[2], images.shape[3]),
            num_classes=num_classes,
            device="cpu",
        )
    except SuspectError as error:
        raise SourceError(f"model: {path.name}: {error}") from error
    with suspect:
        if suspect.identity.digest != digest:
            raise SourceError(f"model: {path.name} changed while it was read; try again")
        _check_input(suspect, images, path.name)
        network = convert(
            model,
            output=suspect.trial.output,
            is_probability=suspect.trial.kind == "probabilities",
            is_channels_last=suspect.recipe.layout == "NHWC",
            name=path.name,
        )
        if next(network.parameters(), None) is None:
            raise SourceError(
                f"model: expected convolutions or linear layers with weights in {path.name}, got "
                f"none that can be trained; {GIVE_A_FACTORY}"
            )
        source = Source(
            model=with_contract(network, contract),
            factory=partial(_untrained, network, path.name),
            architecture=path.name,
            weights_sha256=digest,
            contract=contract,
        )
        natural = images[:NUM_COMPARED]
        noise = np.random.default_rng(0).integers(0, 256, natural.shape, dtype=np.uint8)
        for kind, compared in (("natural", natural), ("random", noise)):
            _compare(source, suspect, compared, kind)
    with naming_the_operator(path.name):
        _check_gradients(source.model, natural, path.name)
    return source


def _check_input(suspect: OnnxSuspect, images: NDArray[np.uint8], name: str) -> None:
    recipe = suspect.recipe
    if recipe.layout not in ("NCHW", "NHWC") or recipe.dtype != "float32":
        raise SourceError(
            f"model: expected a float32 input [N, C, H, W] or [N, H, W, C] in {name}, got "
            f"{recipe.dtype} {recipe.layout}"
        )
    if recipe.size is not None and recipe.size != images.shape[1:3]:
        raise SourceError(
            f"images: expected {recipe.size[0]} by {recipe.size[1]} pixels as {name} does, got "
            f"{images.shape[1]} by {images.shape[2]}"
        )
    if suspect.trial.kind == "labels":
        raise SourceError(
            f"model: expected logits or probabilities [N, K] from {name}, got the class alone"
        )


def _compare(source: Source, suspect: OnnxSuspect, images: NDArray[np.uint8], kind: str) -> None:
    """Refuse a conversion that answers otherwise than onnxruntime."""
    try:
        parts = [
            suspect.predict(images[start : start + suspect.batch_size]).log_probabilities
            for start in range(0, len(images), suspect.batch_size)
        ]
    except SuspectError as error:
        raise SourceError(f"model: {source.architecture}: {error}") from error
    expected = np.concatenate([part for part in parts if part is not None])
    fixed = suspect.image_input.fixed_batch
    advice = GIVE_A_FACTORY
    if fixed is not None:
        advice = f"the file is made for batches of {fixed}; export it with a free batch size"
    with naming_the_operator(source.architecture, advice):
        logits = predict_logits(source.model, images)
    if logits.shape != expected.shape:
        raise SourceError(
            f"model: {source.architecture} answers {list(expected.shape)} in onnxruntime and "
            f"{list(logits.shape)} after its conversion to torch; {advice}"
        )
    shifted = logits - logits.max(axis=1, keepdims=True)
    got = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    got, expected = (np.maximum(a, LOWEST_LOG_PROBABILITY) for a in (got, expected))
    difference = float((np.abs(got - expected) / (1 + np.abs(expected))).max())
    if not difference <= TOLERANCE:  # NaN is no agreement
        raise SourceError(
            f"model: {source.architecture} answers otherwise after its conversion to torch: on "
            f"{kind} images log-probabilities differ by {difference:.2g} of their size, expected "
            f"at most {TOLERANCE:g}; {advice}"
        )


def _check_gradients(model: Normalised, images: NDArray[np.uint8], name: str) -> None:
    """Refuse a model whose logits do not tell how to change each image, or any weight."""
    if not has_gradients(model, to_unit_interval(torch.from_numpy(np.ascontiguousarray(images)))):
        raise SourceError(
            f"model: expected finite gradients that are not zero from {name} after its conversion "
            f"to torch, got others; {GIVE_A_FACTORY}"
        )


def _untrained(network: ConvertedNetwork, name: str) -> nn.Module:
    """Return a sibling: the same graph with weights drawn afresh."""
    if network.constants:
        listed = ", ".join(network.constants[:3]) + (" ..." if len(network.constants) > 3 else "")
        raise SourceError(
            f"references: {name} holds learned values outside its layers ({listed}), which cannot "
            "be drawn afresh, so no innocent of its architecture can be trained; give "
            "--references DIR with enough models and --train-references 0"
        )
    sibling = copy.deepcopy(network)
    restore_batch_norms(sibling)
    return reinitialised(sibling)
