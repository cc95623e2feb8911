"""Which models may take part: a source that fits its images, innocents and copies that learnt."""

from collections.abc import Sequence

import numpy as np
from torch import nn

from audit.verdict.guessing import may_be_guessing, near_chance
from generator.errors import GenerationError, SourceError
from generator.images.labelled import ImageSet
from generator.pools.references import PoolModel
from generator.sources.source import Source
from generator.sources.torch_suspect import answer_all, predict_logits

_CHANCE = 1.2
"""Nothing that gets less than so many times one K-th of the control images right is compared."""
_MIRRORED_SHARE = 0.9
"""Of the accuracy that mirrored images must keep; 200 control images say it to some per cent."""


def check_source(source: Source, controls: ImageSet) -> float:
    """Return the source's accuracy on the control images.

    Raises:
        SourceError: It does not take these images, has another number of classes, or is at chance.
    """
    num_classes = len(controls.class_names)
    try:
        logits = predict_logits(source.model, controls.images)
    except (RuntimeError, ValueError, IndexError) as error:
        shape = "x".join(map(str, controls.images.shape[1:]))
        raise SourceError(
            f"model: {source.architecture} cannot take images of {shape} (height x width x "
            f"channels): {str(error).splitlines()[0]}"
        ) from error
    if logits.ndim != 2 or logits.shape[1] != num_classes:
        raise SourceError(
            f"model: expected logits [N, {num_classes}] for the {num_classes} class folders, got "
            f"{list(logits.shape)}"
        )
    is_right = logits.argmax(axis=1) == controls.labels
    accuracy = float(is_right.mean())
    if near_chance(is_right, controls.labels):
        raise SourceError(
            f"model: only {accuracy:.0%} of {len(controls)} control images are classified right, "
            "which is near chance; check --normalise and the order of the classes (--classes)"
        )
    return accuracy


def require_trained(innocents: Sequence[PoolModel], controls: ImageSet) -> None:
    """Refuse innocents at chance: compared with them, every trained model looks derived.

    Raises:
        GenerationError: Names the first one.
    """
    for model in innocents:
        is_right = answer_all(model.suspect, controls.images).argmax(axis=1) == controls.labels
        if may_be_guessing(is_right, controls.labels):
            raise GenerationError(
                f"references: {model.name} gets {is_right.mean():.0%} of the control images right, "
                "which is near chance; give a trained one, or more --reference-epochs or images"
            )


def comparable_models(
    models: Sequence[PoolModel], controls: ImageSet, *, floor: float
) -> tuple[list[PoolModel], list[str]]:
    """Part models that an audit would compare from those that it would call "not comparable".

    What is no suspect any more says nothing about suspects: such a model would mislead the queries,
    or widen the undecided range.

    Args:
        models: Derived from the source.
        controls: Judge them.
        floor: Share of the control images that a suspect must get right; more than chance in any
            case.

    Returns:
        Those that take part, and a sentence about each of the others.
    """
    floor = max(floor, _CHANCE / len(controls.class_names))
    kept, left_out = [], []
    for model in models:
        accuracy = control_accuracy_of(model, controls)
        if accuracy >= floor:
            kept.append(model)
        else:
            left_out.append(
                f"{model.name} ({model.stratum}) gets {accuracy:.0%} of the control images right, "
                f"less than {floor:.0%}, and takes no part"
            )
    return kept, left_out


def keeps_accuracy_mirrored(source: Source, controls: ImageSet) -> bool:
    """Say whether a source classifies mirrored control images nearly as well as these.

    One that was trained without flips, or on images whose sides mean something, does not; nobody
    would mirror its input.
    """
    flipped = np.ascontiguousarray(controls.images[:, :, ::-1])
    plain, mirrored = (
        (predict_logits(source.model, images).argmax(axis=1) == controls.labels).mean()
        for images in (controls.images, flipped)
    )
    return bool(mirrored >= _MIRRORED_SHARE * plain)


def accuracy_of(network: nn.Module, controls: ImageSet) -> float:
    """Return the share of the control images that a network gets right."""
    labels = predict_logits(network, controls.images).argmax(axis=1)
    return float((labels == controls.labels).mean())


def control_accuracy_of(model: PoolModel, controls: ImageSet) -> float:
    """Return the share of the control images that a model gets right."""
    labels = answer_all(model.suspect, controls.images).argmax(axis=1)
    return float((labels == controls.labels).mean())
