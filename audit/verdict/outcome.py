"""What an audit finds: value types that a journal keeps, a record signs and a screen shows."""

from enum import StrEnum

from adapters.strict_model import FrozenModel


class Verdict(StrEnum):
    """What an audit found."""

    DERIVED = "derived"
    INDEPENDENT = "independent"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not comparable"


class ControlCheck(FrozenModel):
    """How the suspect did on ordinary labelled images, before it saw a trigger."""

    num_images: int
    """Images that it rests on; fewer than the bundle's where fewer were enough."""
    accuracy: float
    interval: tuple[float, float]
    """Exact 95 % interval of the accuracy for so many images."""
    source_accuracy: float
    min_accuracy: float
    """Below this the suspect cannot be compared with the source."""
    comparable: bool


class Repeats(FrozenModel):
    """Images that were asked twice, and how often the answer changed."""

    num_queries: int
    num_queries_changed: int
    num_controls: int
    num_controls_changed: int
    p_value: float
    """Of so many changes among the queries if they were as likely as among the control images
    (Fisher's exact test)."""


class ScoreOutcome(FrozenModel):
    """One score of the suspect, and what it means."""

    name: str
    access: str
    """``labels``, ``top-k`` or ``probabilities``."""
    value: float
    num_queries: int
    """Queries or triggers the value is computed from."""
    num_in_bundle: int
    """Queries or triggers that the bundle has."""
    num_refused: int
    num_undecided: int
    """Triggers that may or may not match, because the suspect tells too little of them; they count
    as no match."""
    is_evasive: bool
    """Answers to queries are at chance, or change when they are asked again, though those to the
    control images are not and do not."""
    looks_random: bool
    """More answers are neither what derived nor what innocent models are expected to say than of
    any calibration model; then images are asked again."""
    repeats: Repeats | None
    """What came of that; None where nothing was asked again."""
    derived_above: float | None
    """None: the calibration models are too few for alpha."""
    independent_below: float | None
    """None: too few for beta."""
    e_value: float | None
    """Evidence for the verdict when the audit stopped early; None where it did not."""
    p_value: float
    """Rank among all calibration innocents; after an early stop an upper bound of that rank over
    all queries, the error of stopping included, and 1 where the suspect scored low."""
    smallest_p_value: float
    num_innocents: int
    num_as_high: int
    """Innocents that scored at least the value."""
    num_derived: int
    strata: dict[str, float]
    """P-value within each stratum of innocents."""
    verdict: Verdict
    reason: str

    @property
    def stopped_after(self) -> int | None:
        """Number of queries after which asking stopped early; None where it did not."""
        # Only an early stop has an e-value.
        return None if self.e_value is None else self.num_queries


class Outcome(FrozenModel):
    """The result of an audit."""

    verdict: Verdict
    text: str
    alpha: float
    """False-positive rate over the draw of an innocent model."""
    beta: float
    """Miss rate over the draw of a derived model."""
    stopping_error: float
    """Added to both by stopping early; 0 where that was not allowed."""
    control: ControlCheck
    scores: tuple[ScoreOutcome, ...]
    """The deciding score first; empty if the suspect is not comparable."""
    num_questions: int
    """Questions answered, control images included."""
