"""An ONNX file of any origin as a suspect.

The file is copied, hashed and loaded in a process of its own (`adapters.onnx.model`); this side
imports no ONNX library. Made-up images tell which output holds the classes, whether it holds logits
or probabilities, and whether answers repeat (`adapters.onnx.trial`).
"""

import importlib.metadata
import json
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.extras import install_command
from adapters.onnx import answers as onnx_answers
from adapters.onnx.control_images import ControlImages
from adapters.onnx.input import ImageInput, RecipeOptions, complete_recipe, find_image_input
from adapters.onnx.model import Device, OnnxModel, load_model
from adapters.onnx.process.fork_client import ForkServer
from adapters.onnx.process.limits import OnnxLimits
from adapters.onnx.process.messages import Description
from adapters.onnx.process.shared_memory import PIXEL_BYTES
from adapters.onnx.trial import TrialResult, try_out
from adapters.preprocessing import InputRecipe
from adapters.suspect import (
    Capability,
    Predictions,
    SuspectConfigError,
    SuspectError,
    SuspectIdentity,
)

OutputKindChoice = Literal["auto", "logits", "probabilities", "log_probabilities", "labels"]

MAX_BATCH = 64
"""Images per run on a CPU where the file leaves it open."""
MAX_BATCH_VALUES = 32 * 224 * 224 * 3
"""Values of the input tensor per run on a CPU."""
MAX_RUNS = 4
"""Runs per batch of `predict`, where the images are small."""
MAX_QUESTION_VALUES = 1 << 20
"""Values of the input tensor for a batch of several runs."""
MAX_CUDA_BATCH = 512
MAX_CUDA_BATCH_VALUES = 1 << 25
"""The same under CUDA; a run that does not fit is halved until it does."""


class OnnxSuspect:
    """A classifier in an ONNX file, answered by its own process; made by `open_onnx`."""

    def __init__(
        self,
        *,
        model: OnnxModel,
        image_input: ImageInput,
        recipe: InputRecipe,
        trial: TrialResult,
        labels_only: bool,
    ) -> None:
        self._model = model
        self._input = image_input
        self._recipe = recipe
        self._trial = trial
        self._labels_only = labels_only
        self._chunk, self._batch_size = _batch_sizes(model, image_input, recipe, trial)

    @property
    def identity(self) -> SuspectIdentity:
        """Say which file answers, how it is run and how its input is made."""
        return SuspectIdentity(
            kind="onnx",
            name=self._model.name,
            digest=self._model.copy.sha256,
            details=_details(self._model, self._input, self._recipe, self._trial, self._chunk),
        )

    @property
    def capability(self) -> Capability:
        """Say whether `predict` tells probabilities."""
        is_labels = self._labels_only or self._trial.kind == "labels"
        return Capability.LABELS if is_labels else Capability.PROBABILITIES

    @property
    def batch_size(self) -> int:
        """Largest number of images that `predict` takes."""
        return self._batch_size

    @property
    def concurrency(self) -> int:
        """One: a batch uses all cores."""
        return 1

    @property
    def description(self) -> Description:
        """Return what the file says about itself."""
        return self._model.description

    @property
    def file_bytes(self) -> int:
        """Return the size of the ONNX file, bytes."""
        return self._model.copy.num_bytes

    @property
    def recipe(self) -> InputRecipe:
        """Return how images become the model's input."""
        return self._recipe

    @property
    def image_input(self) -> ImageInput:
        """Return what the file says about the input that takes the images."""
        return self._input

    @property
    def trial(self) -> TrialResult:
        """Return how the model answered the made-up images."""
        return self._trial

    @property
    def num_classes(self) -> int | None:
        """Return K; None for a model that answers labels only, unless the caller knew."""
        return self._trial.num_classes

    @property
    def process_id(self) -> int:
        """Return the id of the process that answers."""
        return self._model.process.pid

    def use_recipe(self, options: RecipeOptions) -> None:
        """Make the input in another way from the next batch on.

        Raises:
            SuspectConfigError: The options contradict the file.
        """
        self._recipe = complete_recipe(self._input, options)

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Classify one batch; see `adapters.suspect.Suspect.predict`.

        Args:
            images: Pixels ``[N, H, W, C]``, RGB or grey, 0-255, N at most `batch_size`.

        Returns:
            Labels ``[N]`` and log-probabilities ``[N, K]`` (none with ``labels_only``).

        Raises:
            SuspectError: The process died, took too long, or answered NaN or infinity.
        """
        if not 1 <= len(images) <= self._batch_size:
            raise SuspectError(
                f"images: expected 1 to {self._batch_size} a batch, got {len(images)}"
            )
        output = self._model.run(
            images,
            input_name=self._input.name,
            recipe=self._recipe,
            outputs=(self._trial.output,),
            batch=self._chunk,
            fixed_batch=self._input.fixed_batch,
        )[0]
        if self._trial.kind == "labels":
            named = onnx_answers.class_labels(output)
            if named is None:
                raise SuspectError("answers: expected one class per image, got something else")
            num_classes = self._trial.num_classes
            # -1 would be taken for a refusal.
            if named.min() < 0 or (num_classes is not None and named.max() >= num_classes):
                raise SuspectError(
                    f"answers: expected classes below {num_classes or 'K'}, "
                    f"got {named.min()} to {named.max()}"
                )
            return Predictions(labels=named)
        scores = onnx_answers.class_scores(output.values)
        if scores is None or scores.shape[1] != self._trial.num_classes:
            raise SuspectError(
                f"answers: expected [{len(images)}, {self._trial.num_classes}], "
                f"got {list(output.values.shape)}"
            )
        onnx_answers.check_finite(scores, self._trial.kind)
        # From what the model said: log-probabilities are clipped where it answers 0, and tie there.
        labels = np.argmax(scores, axis=1)
        if self._labels_only:
            return Predictions(labels=labels)
        return Predictions(
            labels=labels,
            log_probabilities=onnx_answers.log_probabilities(
                scores, self._trial.kind, self._trial.dtype
            ),
        )

    def close(self) -> None:
        """End the process and remove its folder; harmless when done before."""
        self._model.close()

    def __enter__(self) -> "OnnxSuspect":
        """Return self."""
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


def open_onnx(
    path: Path,
    *,
    recipe: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    image_shape: tuple[int, int, int] | None = None,
    num_classes: int | None = None,
    device: Device = "auto",
    output: str | None = None,
    output_kind: OutputKindChoice = "auto",
    labels_only: bool = False,
    allow_random: bool = False,
    controls: ControlImages | None = None,
    limits: OnnxLimits = OnnxLimits(),  # noqa: B008 (frozen)
    server: ForkServer | None = None,
) -> OnnxSuspect:
    """Open an ONNX file as a suspect.

    Args:
        path: The file; external data is taken from its folder only.
        recipe: What is known about preprocessing; a bundle's contract is
            ``RecipeOptions(mean=..., std=...)``.
        image_shape: ``[H, W, C]`` of the images to come; needed where the file leaves sizes open
            and the model does not take 32, 64 or 224 pixels.
        num_classes: K of the bundle; None takes what the model has.
        device: ``auto`` takes CUDA where there is one, ``cuda`` insists on it.
        output: Name of the output with the classes.
        output_kind: What that output holds; ``auto`` finds out.
        labels_only: Tell no probabilities although the model does.
        allow_random: Take a model that answers differently each time.
        controls: Labelled images of the task, on which outputs are compared; they give
            `image_shape` and `num_classes` where these are left out.
        limits: What the file may cost.
        server: Starts the file's process, which is quicker where there are many files.

    Returns:
        The suspect; close it, or use it as a context manager.

    Raises:
        SuspectConfigError: What was written here or the file itself is wrong.
        SuspectError: The file is refused, costs too much, or does not answer usably.
    """
    if device == "cuda":
        check_one_runtime()
    model = load_model(path, device=device, limits=limits, server=server)
    try:
        return adapt_model(
            model,
            recipe=recipe,
            image_shape=image_shape,
            num_classes=num_classes,
            output=output,
            output_kind=output_kind,
            labels_only=labels_only,
            allow_random=allow_random,
            controls=controls,
        )
    except BaseException:
        model.close()
        raise


def adapt_model(
    model: OnnxModel,
    *,
    recipe: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    image_shape: tuple[int, int, int] | None = None,
    num_classes: int | None = None,
    output: str | None = None,
    output_kind: OutputKindChoice = "auto",
    labels_only: bool = False,
    allow_random: bool = False,
    controls: ControlImages | None = None,
) -> OnnxSuspect:
    """Find out how a loaded model wants to be asked, and make it a suspect.

    One model may be several suspects, for bundles with other images; closing one closes all.

    Args:
        model: From `adapters.onnx.model.load_model`; stays open if this fails.
        recipe: See `open_onnx`, like the rest.
        image_shape: Likewise.
        num_classes: Likewise.
        output: Likewise.
        output_kind: Likewise.
        labels_only: Likewise.
        allow_random: Likewise.
        controls: Likewise.

    Raises:
        OtherTaskError: The model answers another number of classes.
        OutputsDisagreeError: Several outputs hold classes, and not the same ones.
        SuspectConfigError: What was written here or the file itself is wrong.
        SuspectError: The file does not answer usably.
    """
    image_input = find_image_input(model.description.inputs, recipe.layout)
    completed = complete_recipe(image_input, recipe)
    if controls is not None:
        image_shape = image_shape or controls.image_shape
        num_classes = num_classes or controls.num_classes
    trial = try_out(
        model,
        image_input,
        completed,
        image_shape=image_shape,
        num_classes=num_classes,
        output=output,
        output_kind=None if output_kind == "auto" else output_kind,
        allow_random=allow_random,
        controls=controls,
    )
    return OnnxSuspect(
        model=model,
        image_input=image_input,
        recipe=completed,
        trial=trial,
        labels_only=labels_only,
    )


def check_one_runtime() -> None:
    """Refuse CUDA where two onnxruntime packages overwrite each other's files.

    Raises:
        SuspectConfigError: Both onnxruntime and onnxruntime-gpu are installed.
    """
    names = {d.metadata["Name"].lower() for d in importlib.metadata.distributions() if d.metadata}
    if {"onnxruntime", "onnxruntime-gpu"} <= names:
        raise SuspectConfigError(
            "device: onnxruntime and onnxruntime-gpu are both installed and share one folder, so "
            f"CUDA may be missing; pip uninstall both, then {install_command('cuda')}"
        )


def _batch_sizes(
    model: OnnxModel, image_input: ImageInput, recipe: InputRecipe, trial: TrialResult
) -> tuple[int, int]:
    """Return how many images share a run, and how many `predict` takes."""
    is_cuda = "CUDAExecutionProvider" in model.loaded.providers
    height, width = recipe.size or (224, 224)
    values = height * width * (recipe.channels or 3)
    most = MAX_CUDA_BATCH_VALUES if is_cuda else MAX_BATCH_VALUES
    run = max(1, min(MAX_CUDA_BATCH if is_cuda else MAX_BATCH, most // values))
    # Several runs of small images per question: the way to the process and back costs as much as
    # some images do.
    room = max(1, PIXEL_BYTES // (4 * values))
    batch = min(room, max(run, min(MAX_RUNS * run, MAX_QUESTION_VALUES // values)))
    if not trial.is_batch_free:
        # Many images per question, one per run.
        return 1, batch
    if image_input.fixed_batch is None:
        return run, batch
    # Whole runs: what fills up a short one is computed and thrown away.
    fixed = image_input.fixed_batch
    return fixed, min(room, fixed * max(1, batch // fixed))


def _details(
    model: OnnxModel,
    image_input: ImageInput,
    recipe: InputRecipe,
    trial: TrialResult,
    chunk: int,
) -> dict[str, str]:
    details = {
        "provider": model.loaded.providers[0] if model.loaded.providers else "none",
        "onnxruntime": model.loaded.runtime,
        "opset": str(model.description.opset),
        "ir_version": str(model.description.ir_version),
        "producer": model.description.producer,
        "input": image_input.name,
        "output": trial.output,
        "output_kind": trial.kind,
        "images_per_run": str(chunk),
        "repeatable": "yes" if trial.is_repeatable else "no",
        "network": model.description.network,
        "preprocessing": json.dumps(asdict(recipe)),
    }
    if trial.other_outputs:
        details["other_outputs"] = ", ".join(trial.other_outputs)
    for location, sha256 in model.external.items():
        details[f"external_data_sha256 {location}"] = sha256
    return details
