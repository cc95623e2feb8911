"""What crafting hands to the bundle: tensors with every calibration answer, and the manifest."""

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import Suspect
from audit.bundle.bundle_file import UNSEALED
from audit.bundle.manifest import (
    Arrays,
    Manifest,
    ModelRecord,
    ProbeSettings,
    Scalar,
    ScoreName,
    SourceRecord,
    Task,
)
from audit.bundle.probes import make_probes
from audit.scores.mfue import cross_entropy, probe_hits
from audit.scores.rank_correlation import top_classes
from generator.crafting.probing import UsableProbes
from generator.crafting.queries import Queries
from generator.images.labelled import ImageSet
from generator.images.splits import Splits
from generator.pools.preconditions import control_accuracy_of
from generator.pools.references import PoolModel
from generator.settings import CraftSettings
from generator.sources.source import Source
from generator.sources.torch_suspect import TorchSuspect, answer_all


def collect_arrays(
    source: Source,
    splits: Splits,
    carriers: ImageSet,
    triggers: NDArray[np.uint8],
    usable: UsableProbes | None,
    queries: Queries,
    selected: Sequence[PoolModel],
    judged: Sequence[PoolModel],
    report: Callable[[str, int, int], None],
) -> Arrays:
    """Collect the tensors, asking every calibration model what an audit asks a suspect.

    ``selected`` are the selection models in the manifest's order, ``judged`` those that calibrate.
    """
    asked, num_classes = TorchSuspect("source", source.model), len(carriers.class_names)
    query_answers, losses = [], []
    for done, model in enumerate(judged, start=1):
        query_answers.append(answer_all(model.suspect, queries.images))
        answers = _answers(model.suspect, triggers, num_classes)
        losses.append(cross_entropy(answers, carriers.labels))
        report("calibration", done, len(judged))
    hits = _all_probe_hits(carriers.labels, triggers, usable, judged, report)
    return Arrays(
        triggers=triggers,
        carriers=carriers.images,
        trigger_labels=carriers.labels,
        source_trigger_log_probabilities=_answers(asked, triggers, num_classes),
        probe_alphas=np.empty(0, np.int64) if usable is None else usable.alphas,
        probe_ends=triggers[:, None][:, :0] if usable is None else usable.ends,
        source_probe_labels=np.empty((len(triggers), 0), np.int64)
        if usable is None
        else usable.source_labels,
        queries=queries.images,
        source_query_labels=answer_all(asked, queries.images).argmax(axis=1),
        query_groups=np.arange(len(queries.images)),
        query_carriers=queries.images[:0],
        source_query_log_probabilities=np.empty((0, num_classes)),
        derived_probabilities=queries.derived_probabilities,
        innocent_probabilities=queries.innocent_probabilities,
        selection_rankings=top_classes(
            np.array([answer_all(model.suspect, queries.images) for model in selected])
        ),
        controls=splits.controls.images,
        control_labels=splits.controls.labels,
        model_control_labels=control_answers(judged, splits.controls),
        model_query_labels=np.array(query_answers).argmax(axis=2),
        model_query_log_probabilities=np.empty((len(judged), 0, num_classes)),
        model_rankings=top_classes(np.array(query_answers)),
        model_trigger_losses=np.array(losses, dtype=np.float64),
        model_probe_hits=hits,
    )


def _answers(model: Suspect, images: NDArray[np.uint8], num_classes: int) -> NDArray[np.float64]:
    """Return the log-probabilities ``[N, K]`` of some images, or of none."""
    return answer_all(model, images) if len(images) else np.empty((0, num_classes))


def _all_probe_hits(
    labels: NDArray[np.int64],
    triggers: NDArray[np.uint8],
    usable: UsableProbes | None,
    judged: Sequence[PoolModel],
    report: Callable[[str, int, int], None],
) -> NDArray[np.int64]:
    """Return how many probes of each trigger each model gives its class, ``[R, N]``."""
    hits = np.zeros((len(judged), len(triggers)), dtype=np.int64)
    if usable is None:
        return hits
    settings = usable.settings
    for index in range(len(triggers)):
        images = make_probes(
            index,
            triggers[index],
            usable.ends[index],
            int(usable.alphas[index]),
            kind=settings.kind,
            num_probes=settings.num_probes,
            seed=bytes.fromhex(settings.seed),
        )
        for row, model in enumerate(judged):
            given = answer_all(model.suspect, images).argmax(axis=1)
            hits[row, index] = probe_hits(given[None], labels[index : index + 1])[0]
        report("probes of calibration models", index + 1, len(triggers))
    return hits


def control_answers(models: Sequence[PoolModel], controls: ImageSet) -> NDArray[np.int64]:
    """Return the classes that R models give C control images, ``[R, C]``."""
    answers = [answer_all(model.suspect, controls.images).argmax(axis=1) for model in models]
    return np.array(answers, dtype=np.int64).reshape(len(models), len(controls.images))


def model_records(
    use: Literal["selection", "calibration"], models: Sequence[PoolModel], controls: ImageSet
) -> list[ModelRecord]:
    """Return the manifest's entries for some models."""
    return [model.record(use, control_accuracy_of(model, controls)) for model in models]


def _ancestry(source: Source) -> dict[str, Scalar]:
    if source.ancestor is None:
        return {}
    return {
        "ancestor": source.ancestor.name,
        "ancestor_weights_sha256": source.ancestor.weights_sha256,
    }


def make_manifest(
    source: Source,
    splits: Splits,
    settings: CraftSettings,
    facts: Mapping[str, Scalar],
    records: Sequence[ModelRecord],
    *,
    method: str,
    default_score: ScoreName,
    probes: ProbeSettings | None,
    model_name: str,
    owner: str,
    created: str,
    control_accuracy: float,
) -> Manifest:
    """Return the manifest without the digests, which writing the bundle fills in."""
    _, height, width, channels = splits.controls.images.shape
    return Manifest(
        model_name=model_name,
        owner=owner,
        created=created,
        task=Task(
            height=height,
            width=width,
            channels=1 if channels == 1 else 3,
            class_names=splits.controls.class_names,
        ),
        preprocessing=source.contract.for_channels(channels).record,
        source=SourceRecord(
            weights_sha256=source.weights_sha256,
            architecture=source.architecture,
            num_parameters=source.num_parameters,
            control_accuracy=control_accuracy,
        ),
        method=method,
        crafting={
            # What the manifest itself says is said once: it can change after crafting.
            **{name: fact for name, fact in facts.items() if name not in Manifest.model_fields},
            "num_training_images": len(splits.training),
            "num_candidates": len(splits.candidates),
            **_ancestry(source),
        },
        default_score=default_score,
        epsilon=settings.epsilon,
        tau=settings.tau,
        alpha=settings.alpha,
        beta=settings.beta,
        min_control_agreement=settings.min_control_agreement,
        probes=probes,
        models=tuple(records),
        libraries={
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("numpy", "torch", "kinprint")},
        },
        arrays={},
        arrays_file_sha256=UNSEALED,
    )
