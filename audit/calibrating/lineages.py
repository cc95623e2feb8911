"""Which innocent models are one network in several guises: declared, or found by their errors.

Networks that were trained apart err on the same hard images, but each in its own way. Two that give
the same wrong classes to far more images than the others' errors explain were made from each other,
or from a common third; so were two with the same weights. They count as one (a p-value counts
draws, and the second was not drawn).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.bundle.manifest import Manifest, ModelRecord

MIN_EXCESS = 0.5
"""Of the errors that others do not explain, two models of a lineage share at least this share, seen
from either of them. Among 1,833 pairs of networks trained apart (38 to 56 % right on 200 images)
the most was 0.45, and 1 % had more than 0.2."""
MAX_CHANCE = 1e-4
"""So likely may the shared errors be by chance, for all pairs together."""


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Models that count as one."""

    name: str
    members: tuple[int, ...]
    """Indices, at least two."""
    is_found: bool
    """Whether answers or weights joined some that were not declared to be of one lineage."""


def find_lineages(
    labels: NDArray[np.int64],
    truth: NDArray[np.int64],
    *,
    names: Sequence[str],
    digests: Sequence[str],
    declared: Sequence[str | None],
) -> list[Lineage]:
    """Join models that are one network in several guises.

    Args:
        labels: Classes that R models give C labelled images, ``[R, C]``.
        truth: Their true classes, ``[C]``.
        names: Of the models.
        digests: SHA-256 of their weights.
        declared: The lineage that each is said to be of; None for its own.

    Returns:
        Lineages with more than one member, in the order of their first ones.
    """
    num = len(labels)
    group = np.arange(num)
    pairs = [(one, other) for one in range(num) for other in range(one)]
    for one, other in pairs:
        if declared[one] is not None and declared[one] == declared[other]:
            _join(group, one, other)
    before = group.copy()
    for one, other in pairs:
        if digests[one] == digests[other]:
            _join(group, one, other)
    # What others get wrong is counted by lineages, too, so that each one found may show another.
    while True:
        num_groups = len(np.unique(group))
        for one, other in _alike(labels, truth, group):
            _join(group, one, other)
        if len(np.unique(group)) == num_groups:
            break
    found = []
    for first in map(int, np.unique(group)):
        members = tuple(map(int, np.flatnonzero(group == first)))
        if len(members) > 1:
            named = next((declared[index] for index in members if declared[index]), None)
            found.append(
                Lineage(
                    name=named or names[first],
                    members=members,
                    is_found=len({before[index] for index in members}) > 1,
                )
            )
    return found


def with_lineages(
    manifest: Manifest, truth: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[Manifest, tuple[str, ...]]:
    """Join the innocents of a bundle that are one network, by what they answer to the controls.

    Args:
        manifest: Names the R calibration models.
        truth: True classes of the control images, ``[C]``.
        labels: What the calibration models answer to them, ``[R, C]``.

    Returns:
        The manifest with every lineage of several models named, and a sentence about each one that
        was found.
    """
    rows = [
        row for row, model in enumerate(manifest.calibration_models) if model.role == "innocent"
    ]
    innocents = [manifest.calibration_models[row] for row in rows]
    found = find_lineages(
        labels[rows],
        truth,
        names=[model.name for model in innocents],
        digests=[model.weights_sha256 for model in innocents],
        declared=[model.lineage for model in innocents],
    )
    named: dict[int, str] = {}
    told = []
    for lineage in found:
        named |= {id(innocents[member]): lineage.name for member in lineage.members}
        if lineage.is_found:
            told.append(sentence(lineage, [model.name for model in innocents]))
    models = tuple(_renamed(model, named.get(id(model))) for model in manifest.models)
    return manifest.model_copy(update={"models": models}), tuple(told)


def sentence(lineage: Lineage, names: Sequence[str]) -> str:
    """Say which models were joined, and what that means.

    Args:
        lineage: What was found.
        names: Of all models.
    """
    members = ", ".join(f"'{names[member]}'" for member in lineage.members)
    return (
        f"{members} have the same weights or make the same mistakes: they count as one lineage, "
        f"'{lineage.name}'."
    )


def declared_place(path: Path, root: Path) -> tuple[str, str | None]:
    """Return a model's kind and lineage by where its file lies: ``root/kind/lineage/file``.

    Args:
        path: The file.
        root: The folder that was given.

    Returns:
        The kind, ``given`` in the root itself, and the lineage, None without a folder of its own.

    Example:
        >>> declared_place(Path("all/same recipe/net 3/int8.onnx"), Path("all"))
        ('same recipe', 'same recipe/net 3')
    """
    parts = path.relative_to(root).parent.parts
    if not parts:
        return "given", None
    return parts[0], "/".join(parts) if len(parts) > 1 else None


def _join(group: NDArray[np.int64], one: int, other: int) -> None:
    """Make two groups one, by the number of their first member; in place."""
    low, high = sorted((int(group[one]), int(group[other])))
    group[group == high] = low


def _alike(
    labels: NDArray[np.int64], truth: NDArray[np.int64], group: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of different groups that share more mistakes than the others explain."""
    num = len(labels)
    sizes = np.bincount(group, minlength=num)
    weights = 1 / sizes[group]  # [R]
    excess = np.zeros((num, num))
    for one in range(num):
        rates, shared = _explained(labels, truth, weights, one)
        expected, num_wrong = rates.sum(axis=1), rates.shape[1]
        # Where everything is explained, nothing is left to share.
        excess[one] = (shared - expected) / np.maximum(num_wrong - expected, 1e-9)
    is_candidate = (np.minimum(excess, excess.T) >= MIN_EXCESS) & (group[:, None] != group)
    for one, other in np.argwhere(np.triu(is_candidate)):
        for first, second in ((one, other), (other, one)):
            rates, shared = _explained(labels, truth, weights, first)
            chance = _tail(rates[second], int(shared[second]))
            if chance * num * (num - 1) / 2 > MAX_CHANCE:
                break
        else:
            yield int(one), int(other)


def _explained(
    labels: NDArray[np.int64], truth: NDArray[np.int64], weights: NDArray[np.float64], one: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return how often the others make one model's E mistakes, and how many each model shares.

    Returns:
        For every model as the second, the rate among all but the two, ``[R, E]``, and the number
        that it shares, ``[R]``.
    """
    wrong = np.flatnonzero(labels[one] != truth)
    same = labels[:, wrong] == labels[one, wrong]  # [R, E]
    told = weights[:, None] * same
    rest = told.sum(axis=0) - told[one] - told
    # Half a lineage more, so that nothing is impossible.
    rates = (rest + 0.5) / (weights.sum() - weights[one] - weights[:, None] + 1)
    return np.clip(rates, 0.0, 1.0), same.sum(axis=1)


def _tail(rates: NDArray[np.float64], num: int) -> float:
    """Return the chance of at least so many successes in independent trials of these rates."""
    # Poisson-binomial: the distribution of the number of successes, one trial after another.
    chances = np.zeros(len(rates) + 1)
    chances[0] = 1.0
    for rate in rates:
        chances[1:] = chances[1:] * (1 - rate) + chances[:-1] * rate
        chances[0] *= 1 - rate
    return float(chances[num:].sum())


def _renamed(model: ModelRecord, lineage: str | None) -> ModelRecord:
    return model if lineage is None else model.model_copy(update={"lineage": lineage})
