"""An ONNX file opened as a suspect: loaded in a process of its own, and tried out."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adapters.class_map import ClassMap, class_map
from adapters.extras import install_command
from adapters.onnx.control_images import ControlImages
from adapters.onnx.input import RecipeOptions, complete_recipe, find_image_input
from adapters.onnx.model import Device, OnnxModel, load_model
from adapters.onnx.output_choice import Wanted
from adapters.onnx.process.fork_client import ForkServer
from adapters.onnx.process.limits import OnnxLimits
from adapters.onnx.suspect import ClassNames, OnnxSuspect, OutputKindChoice
from adapters.onnx.trial import try_out
from adapters.suspect import SuspectConfigError


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
    class_names: ClassNames | None = None,
    absent_classes: Sequence[int | str] = (),
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
        class_names: The file's labels in the order of the bundle's classes, or the class of each
            label; a number is a place among the file's scores. By default the bundle's own.
        absent_classes: The bundle's classes that the file does not have, by index or name.
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
            class_names=class_names,
            absent_classes=absent_classes,
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
    class_names: ClassNames | None = None,
    absent_classes: Sequence[int | str] = (),
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
        class_names: Likewise.
        absent_classes: Likewise.

    Raises:
        OtherTaskError: The model answers another number of classes.
        OutputsDisagreeError: Several outputs hold classes, and not the same ones.
        SuspectConfigError: What was written here or the file itself is wrong.
        SuspectError: The file does not answer usably.
    """
    image_input = find_image_input(model.description.inputs, recipe.layout)
    classes: ClassMap | None = None
    if controls is not None:
        image_shape = image_shape or controls.image_shape
        num_classes = num_classes or controls.num_classes
        classes = class_map(class_names, controls.class_names, absent_classes=absent_classes)
        # Only texts and keys cannot tell classes of one name apart.
        classes = classes.merging(tuple(sorted(classes.shared.values())))
    elif class_names is not None:
        classes = class_map(class_names, None)
        num_classes = num_classes or classes.num_classes
    tried = try_out(
        model,
        image_input,
        complete_recipe(image_input, recipe),
        Wanted(
            num_classes=num_classes,
            output=output,
            kind=None if output_kind == "auto" else output_kind,
            classes=classes,
        ),
        image_shape=image_shape,
        allow_random=allow_random,
        is_layout_known=recipe.layout is not None,
        controls=controls,
    )
    # What only trying shows is as if the file had said it.
    found = replace(image_input.recipe, size=tried.recipe.size, layout=tried.recipe.layout)
    return OnnxSuspect(
        model=model,
        image_input=replace(image_input, fixed_batch=tried.fixed_batch, recipe=found),
        recipe=tried.recipe,
        trial=tried.result,
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
