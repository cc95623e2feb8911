"""What an owner can choose about crafting."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from adapters.strict_model import FrozenModel
from audit.bundle.bounds import MAX_RADIUS, MAX_TAU, MIN_AGREEMENT, MIN_TAU, Epsilon
from audit.bundle.commitment import MAX_PACKS
from audit.bundle.manifest import MAX_RATE, Scalar

CraftedScore = Literal["likelihood-ratio", "rank-correlation", "mfue-w", "mfue-b"]
"""Scores that a bundle of MFUE can be judged by."""


class CraftSettings(FrozenModel):
    """Everything that an owner can choose about crafting; the paper's defaults where it has any."""

    num_triggers: Annotated[int, Field(ge=1, le=10_000)] = 100
    """MFUE triggers, N."""
    num_queries: Annotated[int, Field(ge=20, le=10_000)] = 100
    """Queries of the likelihood ratio, Q; with another method its images or groups of images."""
    scores: Annotated[tuple[CraftedScore, ...], Field(strict=False)] = get_args(CraftedScore)
    """What MFUE's bundle is made for. Triggers serve ``mfue-w``, their probes ``mfue-b``: whoever
    leaves these out spares most of the questions to every calibration model."""
    num_packs: Annotated[int, Field(ge=1, le=MAX_PACKS)] = 1
    """Bundles with triggers and queries of their own, each from its own part of the held-out
    images: to use one in public leaves the others unknown."""
    probes: Literal["ascent", "noise"] = "ascent"
    """What probes are drawn towards: the source's ascent (paper) or noise (public code)."""
    num_probes: Annotated[int, Field(ge=2, le=1000)] = 100
    """Probes per trigger, M."""
    num_mimics: Annotated[int, Field(ge=1, le=100)] = 10
    """Snapshots in the mimic pool."""
    mimic_radius: Annotated[float, Field(gt=0, le=64)] = 4
    """L-infinity radius of adversarial fine-tuning, in 1/255."""
    mimic_learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    hardening_epochs: Annotated[float, Field(ge=0, le=1000)] = 3
    """Adversarial fine-tuning of copies at each radius, in passes over half of the training
    images; 0 makes no such copies."""
    student_epochs: Annotated[float, Field(ge=0, le=1000)] = 0
    """Training of each model that is extracted from the source to craft with; 0 makes none."""
    student_learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Peak rate of SGD."""
    trigger_radius: Annotated[int, Field(ge=1, le=MAX_RADIUS)] = 8
    """L-infinity radius of the triggers, in 1/255."""
    query_radius: Annotated[int, Field(ge=1, le=MAX_RADIUS)] = 16
    """L-infinity radius of contrast queries, in 1/255. At 8 they are harder to notice, and copies
    that were hardened at 8/255 are harder to tell from innocents."""
    candidates: Literal["best", "mixed", "natural", "triggers", "contrast"] = "best"
    """Which images may become queries: the best of all, half natural and half crafted ones, or one
    kind only. Natural ones cannot be noticed, and say most about extracted models."""
    max_steps: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Sign steps per trigger or contrast query at most."""
    epsilon: Epsilon = 0.05
    """Floor of the likelihood ratio."""
    tau: Annotated[float, Field(ge=MIN_TAU, le=MAX_TAU)] = 0.5
    """Half-width of MFUE's loss interval."""
    alpha: Annotated[float, Field(gt=0, le=MAX_RATE)] = 0.1
    """False-positive rate of the verdict."""
    beta: Annotated[float, Field(gt=0, le=MAX_RATE)] = 0.1
    """Miss rate of the verdict."""
    min_control_agreement: Annotated[float, Field(ge=MIN_AGREEMENT, le=1)] = 0.6
    """Share of the source's control accuracy that a comparable suspect must reach."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @field_validator("scores", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        return given.split(",") if isinstance(given, str) else given

    @field_validator("scores")
    @classmethod
    def _with_the_deciding_one(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if "likelihood-ratio" not in given:
            raise ValueError("expected likelihood-ratio among them, which decides")
        return given

    @model_validator(mode="after")
    def _with_what_it_chooses_from(self) -> Self:
        if self.candidates == "triggers" and not self.has_triggers:
            raise ValueError("candidates: triggers need mfue-w or mfue-b among the scores")
        return self

    @property
    def has_probes(self) -> bool:
        """Whether triggers get probes."""
        return "mfue-b" in self.scores

    @property
    def has_triggers(self) -> bool:
        """Whether there are triggers."""
        return self.has_probes or "mfue-w" in self.scores

    def facts(self) -> dict[str, Scalar]:
        """Return the settings as a manifest has them, which knows no lists."""
        return self.model_dump() | {"scores": ",".join(self.scores)}

    def facts_of_pack(self, pack: int) -> dict[str, Scalar]:
        """Return what a bundle's manifest says about which pack it is.

        Args:
            pack: From 1 on.
        """
        return {"pack": pack} if self.num_packs > 1 else {}
