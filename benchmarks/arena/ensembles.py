"""Deployments that put several answers together: views of one image, or other models' answers.

Each satisfies `adapters.suspect.Suspect`.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from adapters.suspect import Capability, Predictions, Suspect, SuspectIdentity
from benchmarks.arena.config import Ensemble, Processing
from benchmarks.arena.processing import Pixels, Processed, gaussian_noise, mirror

_TIE = 1e-3
"""Weight of the mean probability where votes are equal."""
_NOISE, _NUM_VOTES = 12.0, 5
"""Of a vote over noisy views: standard deviation in 8-bit levels, and how many views."""


class Combined:
    """Several suspects that answer as one.

    Args:
        name: Of the deployment.
        members: Weights, and suspects that give probabilities; the first is whose identity shows.
        how: The mean of probabilities, or a vote of labels.
    """

    capability = Capability.PROBABILITIES
    concurrency = 1

    def __init__(
        self,
        name: str,
        members: Sequence[tuple[float, Suspect]],
        how: Literal["mean", "top-1"],
    ) -> None:
        self._name, self._members, self._how = name, members, how
        self.batch_size = min(suspect.batch_size for _, suspect in members)

    @property
    def identity(self) -> SuspectIdentity:
        """Return the first suspect's own, with the deployment as part of it."""
        inner = self._members[0][1].identity
        told = "/".join(suspect.identity.digest for _, suspect in self._members)
        digest = hashlib.sha256(f"{told}/{self._name}".encode()).hexdigest()
        return dataclasses.replace(inner, name=f"{inner.name} {self._name}", digest=digest)

    def predict(self, images: Pixels) -> Predictions:
        """Classify a batch ``[N, H, W, C]``."""
        shares, votes = [], []
        for weight, suspect in self._members:
            given = suspect.predict(images)
            assert given.log_probabilities is not None, "files give probabilities"
            probabilities = np.exp(given.log_probabilities)
            shares.append(weight * probabilities)
            votes.append(weight * np.eye(probabilities.shape[1])[given.labels])  # [N] -> [N, K]
        rows = np.sum(shares, axis=0)
        if self._how == "top-1":
            rows = (np.sum(votes, axis=0) + _TIE * rows) / (1 + _TIE)
        with np.errstate(divide="ignore"):
            answers = np.maximum(np.log(rows), -1e3)
        return Predictions(labels=rows.argmax(axis=1), log_probabilities=answers)

    def close(self) -> None:
        """Leave the suspects to their owner."""


def combinations(
    wanted: Processing, seed: int
) -> Iterator[tuple[str, tuple[str, ...], Callable[[Suspect, Sequence[Suspect]], Suspect]]]:
    """Yield (name, partners' names, wrapper of a suspect and its partners) of a config."""
    for view in wanted.views:
        yield view, (), _over_mirror if view == "mirror-average" else _over_noise(seed)
    for one in wanted.ensembles:
        yield f"ensemble {one.how} {one.share:g}", one.partners, _with_partners(one)


def _over_mirror(suspect: Suspect, partners: Sequence[Suspect]) -> Suspect:
    rng = np.random.default_rng(0)  # a mirror draws nothing
    other = Processed(suspect, "mirror", inputs=lambda image: mirror(image, rng))
    return Combined("mirror-average", [(0.5, suspect), (0.5, other)], "mean")


def _over_noise(seed: int) -> Callable[[Suspect, Sequence[Suspect]], Suspect]:
    def wrapped(suspect: Suspect, partners: Sequence[Suspect]) -> Suspect:
        rng = np.random.default_rng([seed, 3])
        noisy = Processed(
            suspect, "noise", inputs=lambda image: gaussian_noise(image, rng, levels=_NOISE)
        )
        # One wrapper asked again and again: it draws anew each time.
        return Combined("noise-vote", [(1 / _NUM_VOTES, noisy)] * _NUM_VOTES, "top-1")

    return wrapped


def _with_partners(one: Ensemble) -> Callable[[Suspect, Sequence[Suspect]], Suspect]:
    def wrapped(suspect: Suspect, partners: Sequence[Suspect]) -> Suspect:
        rest = (1 - one.share) / len(partners)
        members = [(one.share, suspect), *((rest, partner) for partner in partners)]
        return Combined(f"ensemble {one.how} {one.share:g}", members, one.how)

    return wrapped
