"""What a file's weights say, for people who read no statistics, and how the layers are shown."""

from dataclasses import dataclass

from audit.bundle.weights import WeightsRecord
from audit.verdict.outcome import Outcome
from audit.verdict.weights.weights_outcome import WeightsOutcome

WHAT_WAS_COMPARED = (
    "A file holds its weights. They were compared with a sketch of the source's, layer by layer: "
    "weights of models that were trained independently are no more alike than chance, and those of "
    "a copy stay alike, however it answers after further training."
)


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer of the source in the strip."""

    name: str
    shape: str
    similarity: float | None
    """None where the file does not have it."""

    @property
    def share(self) -> float:
        """Return how strongly it is coloured, [0, 1]."""
        return max(0.0, self.similarity or 0.0)


def weights_sureness(outcome: Outcome, weights: WeightsOutcome) -> list[str]:
    """Return how far the weights carry, in sentences."""
    told = [f"Weights. {weights.reason}"]
    if weights.alpha is not None and weights.joint_p_value is not None:
        told.append(
            f"Answers may accuse at most {weights.answers_alpha:.1%} of innocent models and "
            f"weights at most {weights.alpha:.1%}, together at most {outcome.alpha:.1%}. Counted "
            f"for both, p\u00a0=\u00a0{weights.joint_p_value:.3g}."
        )
    return told


def layer_rows(
    record: WeightsRecord | None, weights: WeightsOutcome | None
) -> tuple[LayerRow, ...]:
    """Return the layers of the source with their similarities; none where nothing was compared."""
    if record is None or weights is None:
        return ()
    return tuple(
        LayerRow(
            name=layer.name,
            shape=f"{layer.num_filters} filters of {layer.num_inputs} x {layer.num_positions}",
            similarity=similarity,
        )
        for layer, similarity in zip(record.layers, weights.similarities, strict=False)
    )
