"""Do the similarities of weights in a record fit its bundle, and the file?"""

from adapters.suspect import WEIGHTS
from adapters.weights.similarities import UNREADABLE, from_text
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError, SignatureInvalidError
from audit.records.check import Check, attempt, failed, held, unchecked
from audit.records.record import Record
from audit.scores.weight_kinship import weight_kinship, with_similarities

NAME = "weights"
FILE = "onnx"
"""Kind of a suspect that has weights."""
MAX_DIFFERENCE, MAX_LAYER_DIFFERENCE = 0.005, 0.1
"""By how much another processor's rounding may change the score, and the similarity of a layer: of
filters that are alike by chance only it may match others."""


def check_weights(record: Record, bundle: BundleContents) -> Check | None:
    """The record tells the similarities of a file, if and only if the bundle holds a sketch.

    Returns:
        None where there is nothing to compare.
    """
    settings, kind = record.opening.settings, record.opening.suspect.kind
    is_due = bundle.weights is not None and kind == FILE
    if not is_due and WEIGHTS not in settings:
        return None

    def found() -> str:
        if not is_due:
            raise SignatureInvalidError(
                f"settings: {WEIGHTS}: expected none, because "
                + ("the bundle has no sketch" if kind == FILE else "an endpoint shows no weights")
            )
        if WEIGHTS not in settings:
            raise SignatureInvalidError(
                f"settings: {WEIGHTS}: expected what the file's weights came to, because the "
                "bundle has a sketch, got nothing"
            )
        try:
            with_similarities(bundle, settings)
        except AuditError as error:
            raise SignatureInvalidError(str(error)) from error
        return ""

    check = attempt(NAME, found)
    if check.text:
        return check
    return unchecked(
        NAME,
        "The similarities of the layers are the auditor's word; what follows from them is computed "
        "again. Give the file (--onnx) to compare its weights again.",
    )


def check_weights_again(record: Record, told: str | None) -> Check | None:
    """The same file's weights come to what the record says.

    Args:
        record: A record that was verified.
        told: What they come to now; None where the bundle has no sketch.

    Returns:
        None where there is nothing to compare.
    """
    recorded = record.opening.settings.get(WEIGHTS)
    if recorded is None or told is None:
        return None
    name = "weights compared again"
    if UNREADABLE in (recorded, told):
        is_same = recorded == told
        return (held if is_same else failed)(
            name, f"The record says '{recorded}', now they are '{told}'."
        )
    before, now = from_text(recorded), from_text(told)
    pairs = list(zip(before.layers, now.layers, strict=True))
    worst = max(abs(one.value - other.value) for one, other in pairs)
    difference = abs(weight_kinship(before) - weight_kinship(now))
    if worst > MAX_LAYER_DIFFERENCE or difference > MAX_DIFFERENCE:
        return failed(
            name,
            f"The layers come to other similarities than the record says: they differ by up to "
            f"{worst:.3f}, their mean by {difference:.3f}.",
        )
    return held(name, f"All {len(pairs)} layers of weights are as similar as the record says.")
