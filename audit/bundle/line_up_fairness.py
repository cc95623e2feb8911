"""Is a line-up fair? Source and siblings must be alike in all that has nothing to do with lineage.

Every good innocent would pick a source that is better trained than its siblings. Four counts over
the control images tell how a member is trained; how far a member lies from the middle of the
line-up, in the worst of them, is ranked among all members: a joint test that treats them alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.bundle.line_up import CODE_STEP, LineUp
from audit.bundle.manifest import BundleContents

FAIRNESS_ALPHA = 0.05
"""A fair line-up is refused so often, if it has 19 siblings or more."""
FAR = 5.0
"""With fewer siblings a rank says little: the source must also lie so far out, in robust standard
deviations of the line-up."""
_MAD_TO_DEVIATION = 1.4826
"""A normal population's standard deviation, in median absolute deviations."""


@dataclass(frozen=True, kw_only=True)
class MemberFigure:
    """One figure of how the members are trained, on the control images."""

    name: str
    source: float
    siblings: tuple[float, float]
    """Least and largest among the siblings."""
    distance: float
    """Of the source from the middle of the line-up, in robust standard deviations; its sign says
    on which side."""

    @property
    def is_within(self) -> bool:
        """Whether the source is within the siblings' range."""
        return self.siblings[0] <= self.source <= self.siblings[1]


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """What speaks for or against a line-up's being fair."""

    figures: tuple[MemberFigure, ...]
    p_value: float
    """Share of members that lie as far out as the source."""
    reason: str | None
    """Why it is not fair; None if nothing speaks against it."""

    @property
    def is_fair(self) -> bool:
        """Whether the rank of the source is a p-value."""
        return self.reason is None


def fairness_of(bundle: BundleContents) -> Fairness | None:
    """Return whether a bundle's line-up is fair; None if it has none."""
    if bundle.line_up is None:
        return None
    return check_fairness(bundle.line_up, bundle.arrays.control_labels)


def check_fairness(line_up: LineUp, control_labels: NDArray[np.int64]) -> Fairness:
    """Compare how source and siblings do on the control images.

    Args:
        line_up: Members with their answers to the controls.
        control_labels: The true classes, ``[C]``.
    """
    codes = line_up.arrays.member_control_codes  # [T, C, K]
    source, num = line_up.record.source, len(control_labels)
    counts = _counts(codes, control_labels)
    distances = {name: _distances(values) for name, values in counts.items()}
    # [T]: the worst figure of each member, whoever it is.
    extremes = np.abs(np.array(list(distances.values()))).max(axis=0)
    p_value = float((extremes >= extremes[source]).mean())
    figures = tuple(
        _figure(name, values, distances[name], source, num) for name, values in counts.items()
    )
    is_outside = any(not figure.is_within for figure in figures)
    is_apart = p_value <= max(FAIRNESS_ALPHA, 1 / len(codes)) + 1e-9
    is_far = 1 / len(codes) <= FAIRNESS_ALPHA + 1e-9 or extremes[source] > FAR
    return Fairness(
        figures=figures,
        p_value=p_value,
        reason=_reason(figures) if is_outside and is_apart and is_far else None,
    )


def _counts(
    codes: NDArray[np.uint8], control_labels: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Return integers, ``[T]`` each, which are the same on every machine."""
    wide = codes.astype(np.int64)
    given = wide.argmin(axis=-1)  # the likeliest class has the smallest code, [T, C]
    votes = (given[..., None] == np.arange(codes.shape[-1])).sum(axis=0)  # [C, K]
    true_codes = np.take_along_axis(wide, control_labels[None, :, None], axis=-1)[..., 0]
    return {
        "accuracy": (given == control_labels).sum(axis=-1),
        "loss": true_codes.sum(axis=-1),
        "confidence": -wide.min(axis=-1).sum(axis=-1),
        "agreement": (given == votes.argmax(axis=-1)).sum(axis=-1),
    }


def _distances(values: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how far each member lies from the middle, in robust standard deviations."""
    middle = np.median(values)
    # Not below one count: where all members agree, one image more is no distance.
    spread = max(1.0, float(np.median(np.abs(values - middle))))
    return np.asarray((values - middle) / (spread * _MAD_TO_DEVIATION))


def _figure(
    name: str,
    values: NDArray[np.int64],
    distances: NDArray[np.float64],
    source: int,
    num: int,
) -> MemberFigure:
    shown = values / num
    if name in ("loss", "confidence"):
        shown = shown * CODE_STEP
    if name == "confidence":  # the geometric mean of the likeliest class's probability
        shown = np.exp(shown)
    siblings = np.delete(shown, source)
    return MemberFigure(
        name=name,
        source=float(shown[source]),
        siblings=(float(siblings.min()), float(siblings.max())),
        distance=float(distances[source]),
    )


_REASONS = {
    ("accuracy", True): "the source is better trained than its siblings",
    ("accuracy", False): "the source is worse trained than its siblings",
    ("loss", False): "the source is better trained than its siblings",
    ("loss", True): "the source is worse trained than its siblings",
    ("confidence", True): "the source is surer of itself than its siblings",
    ("confidence", False): "the source is less sure of itself than its siblings",
    ("agreement", True): "the source agrees with its siblings more than they do with one another",
    ("agreement", False): "the source agrees with its siblings less than they do with one another",
}


def _reason(figures: tuple[MemberFigure, ...]) -> str:
    outside = [figure for figure in figures if not figure.is_within]
    farthest = max(abs(figure.distance) for figure in outside)
    # How well it is trained explains how it differs in the rest.
    worst = next(figure for figure in outside if abs(figure.distance) >= farthest / 2)
    why = _REASONS[worst.name, worst.distance > 0]
    low, high = worst.siblings
    return (
        f"the line-up is not fair: {why} ({worst.name} {worst.source:.3g}, theirs {low:.3g} to "
        f"{high:.3g} on the control images)"
    )
