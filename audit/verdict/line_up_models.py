"""How a line-up's own models fare in a suspect's race: what innocents reach, what derived ones do.

By the suspect's questions, by no more than the suspect tells, and by the rule that ends its race.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.bundle.line_up import LineUp
from audit.scores.line_up import ToldAnswers, model_races, source_leads
from audit.verdict.line_up_outcome import Found
from audit.verdict.line_up_race import LineUpRace


@dataclass(frozen=True, kw_only=True)
class RacedModels:
    """How the line-up's own models fare in the same race, by the same rule."""

    kinds: NDArray[np.str_]
    lineages: NDArray[np.str_]
    is_innocent: NDArray[np.bool_]
    leads: NDArray[np.float64]
    """The source's lead after the last question, nats, ``[V]``."""
    led_after: NDArray[np.int64]
    """``[V]``; 0 where nobody led."""
    is_source_first: NDArray[np.bool_]
    """Whether the source led when the race of that model ended, ``[V]``."""
    stops_early: bool

    @classmethod
    def raced(cls, line_up: LineUp, told: ToldAnswers, *, stops_early: bool) -> "RacedModels":
        """Race all models of a line-up.

        Args:
            line_up: Whose models.
            told: Which questions, and how much is told of them.
            stops_early: Whether a race ends when somebody leads by the bound.
        """
        races, record = model_races(line_up, told), line_up.record
        led_after = (
            races.first_lead(record.lead_bound)
            if stops_early
            else np.zeros(len(record.models), dtype=np.int64)
        )
        num = races.running.shape[-1]
        ends = np.where(led_after > 0, led_after, num) - 1
        at_end = (
            np.take_along_axis(races.running, ends[:, None, None], axis=-1)[..., 0]
            if num
            else np.zeros(races.running.shape[:-1], dtype=np.int64)
        )
        leads = np.asarray(source_leads(at_end, record.source) * races.nats_per_step)
        return cls(
            kinds=np.array([model.kind for model in record.models]),
            lineages=np.array([model.lineage for model in record.models]),
            is_innocent=np.array([model.role == "innocent" for model in record.models], dtype=bool),
            leads=leads,
            led_after=led_after,
            is_source_first=(leads > 0) & ((led_after > 0) if stops_early else True),
            stops_early=stops_early,
        )

    @property
    def num_panel_lineages(self) -> int:
        """Return how many networks the panel rests on."""
        return len(set(self.lineages[self.is_innocent].tolist()))

    def as_far(self, lead: float, *, is_first: bool) -> set[str]:
        """Return the panel's lineages that the source leads as soon, or by as much.

        A lineage speaks through its extreme member.
        """
        if not self.stops_early:
            reached = self.is_innocent & (self.leads >= lead)
        elif is_first:
            # Within the suspect's own questions, so that being there means being as soon.
            reached = self.is_innocent & self.is_source_first
        else:
            reached = self.is_innocent
        return set(self.lineages[reached].tolist())

    def as_little(self, followed: LineUpRace, lead: float, *, is_first: bool) -> NDArray[np.bool_]:
        """Return the derived models that show as little as the suspect, ``[V]``."""
        is_derived = ~self.is_innocent
        if not self.stops_early:
            return is_derived & (self.leads <= lead)
        if is_first:
            return is_derived
        if followed.led_after is not None:  # a sibling leads: which of them did one lead as soon?
            return is_derived & (self.led_after > 0) & ~self.is_source_first
        return is_derived & ~self.is_source_first

    @property
    def num_derived_lineages(self) -> int:
        """Return how many lineages the derived models are of."""
        return len(set(self.lineages[~self.is_innocent].tolist()))

    def num_lineages_in(self, chosen: NDArray[np.bool_]) -> int:
        """Return of how many lineages some models are, ``[V]``."""
        return len(set(self.lineages[chosen].tolist()))

    def power(self) -> dict[str, Found]:
        """Return how many derived models are found by then, by kind."""
        is_found = self.is_source_first
        if not self.stops_early:
            is_found = is_found & (self.leads > self.leads[self.is_innocent].max(initial=-np.inf))
        kinds = sorted(set(self.kinds[~self.is_innocent].tolist()))
        chosen = {kind: ~self.is_innocent & (self.kinds == kind) for kind in kinds}
        return {
            kind: Found(num_models=int(there.sum()), num_found=int((there & is_found).sum()))
            for kind, there in chosen.items()
        }


def power_of(line_up: LineUp) -> dict[str, Found]:
    """Return how many of a line-up's derived models its questions find, by kind.

    By labels alone, and by the rule that ends asking when somebody leads.
    """
    num = len(line_up.arrays.questions)
    everything = ToldAnswers(questions=np.arange(num), labels=np.zeros(num, dtype=np.int64))
    return RacedModels.raced(line_up, everything, stops_early=True).power()
