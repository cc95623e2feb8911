"""Which tau? The half-width of MFUE's loss interval, chosen on the models that calibrate.

The paper fixes tau = 0.5 (Xu et al., "MFUE", KDD 2026, Eq. 5). How wide the interval must be
depends on how far removals move a loss and how near innocents come by themselves, which the
calibration models show. Every tau of `GRID` is tried on them; models that are held out to report
error rates take no part.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.bundle.manifest import Arrays, Manifest
from audit.scores.mfue import cross_entropy, estimated_loss, matching_rate, probe_hits

GRID = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Values that are tried, besides the one that the bundle has."""


@dataclass(frozen=True, kw_only=True)
class TauChoice:
    """What was chosen, and what it is worth on the models that chose it."""

    tau: float
    auc: float
    """Mean over the bundle's MFUE scores of the share of pairs of a derived and an innocent
    calibration model in which the derived one scores higher; a tie counts half."""
    before: float
    """The tau that the bundle had."""
    auc_before: float


def choose_tau(manifest: Manifest, arrays: Arrays) -> TauChoice | None:
    """Choose tau by the calibration models' stored answers.

    The criterion is `TauChoice.auc`; of several best ones, the nearest to the present tau is taken
    (of two as near the smaller one), so that nothing changes without a reason.

    Args:
        manifest: Its tau and calibration models.
        arrays: Their losses and hits.

    Returns:
        The choice; None without triggers, or without models of both roles.
    """
    is_innocent = np.array([one.role == "innocent" for one in manifest.calibration_models])
    if not len(arrays.triggers) or is_innocent.all() or not is_innocent.any():
        return None
    losses = _losses(manifest, arrays)

    def auc(tau: float) -> float:
        rates = [matching_rate(models, source, tau) for models, source in losses]
        return float(np.mean([_auc(rate[~is_innocent], rate[is_innocent]) for rate in rates]))

    found = {tau: auc(tau) for tau in sorted({*GRID, manifest.tau})}
    best = max(found.values())
    tau = min((one for one in found if found[one] == best), key=lambda one: abs(one - manifest.tau))
    return TauChoice(tau=tau, auc=best, before=manifest.tau, auc_before=found[manifest.tau])


def _losses(
    manifest: Manifest, arrays: Arrays
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the models' losses ``[R, N]`` and the source's ``[N]`` for each MFUE score."""
    labels = arrays.trigger_labels
    source = cross_entropy(arrays.source_trigger_log_probabilities, labels)
    found = [(arrays.model_trigger_losses, source)]
    if manifest.probes is not None:
        num = manifest.probes.num_probes
        source = estimated_loss(probe_hits(arrays.source_probe_labels, labels), num)
        found.append((estimated_loss(arrays.model_probe_hits, num), source))
    return found


def _auc(derived: NDArray[np.float64], innocent: NDArray[np.float64]) -> float:
    above = (derived[:, None] > innocent).sum() + 0.5 * (derived[:, None] == innocent).sum()
    return float(above / (len(derived) * len(innocent)))
