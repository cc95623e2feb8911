"""An ONNX file of any origin as a suspect.

The file is copied, hashed and loaded in a process of its own (`adapters.onnx.model`); this side
imports no ONNX library. Trying tells which output holds the classes and how, and whether answers
repeat (`adapters.onnx.trial`).
"""

import json
from dataclasses import asdict
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.onnx import answers as onnx_answers
from adapters.onnx.class_answers import read
from adapters.onnx.input import ImageInput, RecipeOptions, complete_recipe
from adapters.onnx.model import OnnxModel
from adapters.onnx.process.messages import Description
from adapters.onnx.process.shared_memory import PIXEL_BYTES
from adapters.onnx.trial import TrialResult
from adapters.preprocessing import InputRecipe
from adapters.suspect import (
    ABSENT_CLASSES,
    MERGED_CLASSES,
    WEIGHTS,
    Capability,
    Predictions,
    SuspectConfigError,
    SuspectError,
    SuspectIdentity,
    absent_text,
    groups_text,
)
from adapters.weights.packed_sketch import PackedSketch
from adapters.weights.similarities import UNREADABLE, Similarities, from_text, to_text

OutputKindChoice = Literal[
    "auto", "logits", "probabilities", "log_probabilities", "sigmoids", "labels"
]
ClassNames = tuple[str, ...] | dict[str, int | str]

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
        classes = trial.reading.classes
        self._merged = classes.merged if classes is not None else ()
        self._absent = trial.reading.absent
        # What merged classes have between them, or absent ones would have had, the calibration
        # models' answers do not tell.
        self._labels_only = labels_only or bool(self._merged or self._absent)
        self._chunk, self._batch_size = _batch_sizes(model, image_input, recipe, trial)
        self._weights: str | None = None

    def compare_weights(self, sketch: PackedSketch) -> Similarities | None:
        """Compare the file's weights with a sketch; `identity` tells the result from then on.

        Returns:
            What they come to; None where they cannot be read within the limits.

        Raises:
            SuspectError: The file's process did not survive that.
        """
        try:
            found = self._model.compare_weights(sketch)
            # The process may be anybody's by now: what a record could not repeat is no result.
            text = to_text(found)
            from_text(text)
        except (SuspectError, ValueError):
            if not self._model.process.is_running:
                raise
            self._weights = UNREADABLE
            return None
        self._weights = text
        return found

    @property
    def identity(self) -> SuspectIdentity:
        """Say which file answers, how it is run and how its input is made."""
        details = _details(self._model, self._input, self._recipe, self._trial, self._chunk)
        if self._merged:
            details[MERGED_CLASSES] = groups_text(self._merged)
        if self._absent:
            details[ABSENT_CLASSES] = absent_text(self._absent)
        if self._weights is not None:
            details[WEIGHTS] = self._weights
        return SuspectIdentity(
            kind="onnx",
            name=self._model.name,
            digest=self._model.copy.sha256,
            details=details,
        )

    @property
    def capability(self) -> Capability:
        """Say whether `predict` tells probabilities."""
        if self._labels_only or self._trial.kind == "labels":
            return Capability.LABELS
        if not self._trial.is_partial:
            return Capability.PROBABILITIES
        # Logits of some classes are no probabilities of any.
        return Capability.TOP_K if self._trial.kind == "probabilities" else Capability.LABELS

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
        trial = self._trial
        outputs = self._model.run(
            images,
            input_name=self._input.name,
            recipe=self._recipe,
            outputs=trial.reading.outputs,
            batch=self._chunk,
            fixed_batch=self._input.fixed_batch,
        )
        answers = read(trial.reading, {output.name: output for output in outputs})
        num_classes = trial.num_classes
        if answers is None:
            raise SuspectError(
                f"answers: expected {trial.reading.form} as before, got something else from "
                f"{trial.output}"
            )
        if answers.scores is None:
            named = answers.labels
            # -1 would be taken for a refusal, which only a text or a number of the map's can be.
            is_number = trial.reading.form == "classes" and trial.reading.columns is None
            if (is_number and named.min() < 0) or (
                num_classes is not None and named.max() >= num_classes
            ):
                raise SuspectError(
                    f"answers: expected classes below {num_classes or 'K'}, "
                    f"got {named.min()} to {named.max()}"
                )
            if np.isin(named, self._absent).any():
                raise SuspectConfigError(
                    "absent_classes: expected no answer of a class that the file does not have, "
                    "got one; leave it out of absent_classes"
                )
            return Predictions(labels=named)
        scores = answers.scores
        if scores.shape[1] != num_classes:
            raise SuspectError(
                f"answers: expected [{len(images)}, {num_classes}], got {list(scores.shape)}"
            )
        # From what the model said: log-probabilities are clipped where it answers 0, and tie there.
        if trial.is_partial:
            # Of the others nothing is told, and what is told is no whole.
            told = np.log(np.maximum(scores, onnx_answers.SMALLEST))
            return Predictions(
                labels=answers.labels,
                log_probabilities=told if self.capability is Capability.TOP_K else None,
            )
        onnx_answers.check_finite(scores, trial.reading.score_kind)
        if self._labels_only:
            return Predictions(labels=answers.labels)
        return Predictions(
            labels=answers.labels,
            log_probabilities=onnx_answers.log_probabilities(
                scores, trial.reading.score_kind, trial.dtype
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


def _batch_sizes(
    model: OnnxModel, image_input: ImageInput, recipe: InputRecipe, trial: TrialResult
) -> tuple[int, int]:
    """Return how many images share a run, and how many `predict` takes."""
    height, width = recipe.size or (224, 224)
    values = height * width * (recipe.channels or 3)
    most = MAX_CUDA_BATCH_VALUES if model.is_cuda else MAX_BATCH_VALUES
    run = max(1, min(MAX_CUDA_BATCH if model.is_cuda else MAX_BATCH, most // values))
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
        "network": model.confinement.network,
        "sandbox": model.confinement.text,
        "preprocessing": json.dumps(asdict(recipe)),
    }
    if trial.reading.form not in ("scores", "classes"):
        details["output_form"] = trial.reading.form
    if trial.reading.columns is not None and trial.reading.form in ("scores", "classes"):
        details["output_columns"] = json.dumps(trial.reading.columns)
    if trial.other_outputs:
        details["other_outputs"] = ", ".join(trial.other_outputs)
    for location, sha256 in model.external.items():
        details[f"external_data_sha256 {location}"] = sha256
    return details
