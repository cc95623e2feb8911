"""Models that are added to a bundle calibrate its sketch of weights, too."""

from collections.abc import Mapping, Sequence

from adapters.suspect import WEIGHTS
from adapters.weights.similarities import UNREADABLE, from_text
from audit.bundle.manifest import Manifest, ModelRecord
from audit.bundle.weights import WeightsModel, WeightsRecord
from audit.scores.weight_kinship import is_comparable, weight_kinship


def kinship_of(details: Mapping[str, str]) -> float | None:
    """Return the score that a file's details tell; None where there is none."""
    text = details.get(WEIGHTS, UNREADABLE)
    if text == UNREADABLE:
        return None
    found = from_text(text)
    return weight_kinship(found) if is_comparable(found) else None


def with_models(
    record: WeightsRecord, manifest: Manifest, new: Sequence[tuple[ModelRecord, float | None]]
) -> WeightsRecord:
    """Return the record of a sketch with more calibration models.

    Args:
        record: As it is.
        manifest: With the new models, and with the lineages that were found among all.
        new: Models with their kinship; those without have no comparable weights.
    """
    lineages = {model.weights_sha256: model.lineage for model in manifest.models}
    models = [*record.models]
    models += [
        WeightsModel(
            name=model.name,
            role=model.role,
            kind=model.stratum,
            lineage=f"{model.role} {model.name}",
            weights_sha256=model.weights_sha256,
            kinship=kinship,
        )
        for model, kinship in new
        if kinship is not None
    ]
    named = [
        model.model_copy(update={"lineage": lineages.get(model.weights_sha256) or model.lineage})
        for model in models
    ]
    return record.model_copy(
        update={"models": tuple(sorted(named, key=lambda model: model.role, reverse=True))}
    )
