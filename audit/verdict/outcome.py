"""What an audit finds: value types that a journal keeps, a record signs and a screen shows."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from adapters.strict_model import FrozenModel
from audit.verdict.line_up_outcome import LineUpOutcome
from audit.verdict.weights.weights_outcome import WeightsOutcome


class Verdict(StrEnum):
    """What an audit found."""

    DERIVED = "derived"
    INDEPENDENT = "independent"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not comparable"
    NO_COPY = "no copy"
    """Nobody looked for extraction: it may be a student, but is no copy."""


class Likeness(StrEnum):
    """Which populations a suspect may be of: those that its p-values do not rule out."""

    INNOCENT = "innocent"
    DERIVED = "derived"
    NEITHER = "neither"
    BOTH = "both"


def likeness_of(*, may_be_innocent: bool, may_be_derived: bool) -> Likeness:
    """Return what two p-values together are compatible with."""
    if may_be_innocent:
        return Likeness.BOTH if may_be_derived else Likeness.INNOCENT
    return Likeness.DERIVED if may_be_derived else Likeness.NEITHER


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


class Parts(FrozenModel):
    """What a suspect answered early and late, in the order of asking."""

    num_early: int
    """Queries of the first two thirds."""
    num_late: int
    early: float
    """Score of the early answers alone."""
    late: float
    early_below: float | None
    """Below this they look innocent by themselves. None: the calibration models are too few."""
    late_below: float | None
    p_value: float
    """Of such a difference between them if each answer depends on its image alone (Fisher's exact
    test, two-sided)."""


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
    """Over the same queries. None: the calibration models are too few for alpha."""
    independent_below: float | None
    """Over the same queries. None: too few for beta."""
    stopped_early: bool
    """Whether the verdict was certain enough before the last query."""
    p_value: float
    """Against "innocent": rank among the innocent lineages, of the score, or where the audit may
    stop early of the highest point of its path so far; valid whenever asking ended."""
    smallest_p_value: float
    p_derived: float
    """Against "derived": likewise among the derived models, of low scores and points."""
    smallest_p_derived: float
    likeness: Likeness
    """What both p-values together are compatible with."""
    num_innocents: int
    """Innocent models."""
    num_lineages: int
    """Networks that these come from; p-values count them and not the models."""
    num_as_high: int
    """Innocent lineages that rank at least as high as the suspect."""
    num_derived: int
    num_as_low: int
    """Derived models that rank at least as low as the suspect."""
    has_equals: bool
    """Whether an innocent is about as accurate as the source. If not, the p-value rests on weaker
    models."""
    blind_kinds: tuple[str, ...]
    """Kinds of derivation that such a score does not tell from innocence: a copy of such a kind
    goes unseen."""
    strata: dict[str, float]
    """P-value within each stratum of innocents."""
    parts: Annotated[Parts | None, Field(exclude_if=lambda one: one is None)] = None
    """Early and late answers, where the score is a mean over at least 20 queries."""
    line_up: Annotated[LineUpOutcome | None, Field(exclude_if=lambda one: one is None)] = None
    """Where the source stood among its siblings; only the score ``line-up`` has it."""
    verdict: Verdict
    reason: str

    @property
    def stopped_after(self) -> int | None:
        """Number of queries after which asking stopped early; None where it did not."""
        return self.num_queries if self.stopped_early else None


class StepsOutcome(FrozenModel):
    """What two steps came to."""

    crafted: str
    """The score of the first step."""
    crafted_alpha: float
    """Level of the first step."""
    line_up_alpha: float
    """Level of the second step."""
    crafted_verdict: Verdict
    line_up_verdict: Verdict | None
    """None where the first step made the second needless."""
    decided_by: Literal["crafted queries", "line-up"] | None
    """The step that says "derived"; None where neither does."""
    means: str | None
    """What that step's "derived" says of a suspect; None where neither does."""
    p_value: float
    """Of both steps together: the smaller of their p-values, each divided by its step's share of
    alpha; at most a with probability at most a for an innocent model."""
    smallest_p_value: float
    """That the steps that were asked can give in this way."""


class Outcome(FrozenModel):
    """The result of an audit."""

    verdict: Verdict
    text: str
    alpha: float
    """False-positive rate over the draw of an innocent model."""
    beta: float
    """Miss rate over the draw of a derived model."""
    stopping_error: float
    """Chance of a wrong word on the control images by stopping early there; 0 where that was not
    allowed. The verdict's own rates are not touched by stopping."""
    control: ControlCheck
    scores: tuple[ScoreOutcome, ...]
    """The deciding score first; empty if its answers are not comparable."""
    steps: Annotated[StepsOutcome | None, Field(exclude_if=lambda one: one is None)] = None
    """Where two steps decide; the score of the one that was asked last is the first then."""
    weights: Annotated[WeightsOutcome | None, Field(exclude_if=lambda one: one is None)] = None
    """Where a file's weights were compared with the bundle's sketch."""
    num_questions: int
    """Questions answered, control images included."""

    @property
    def answers_alpha(self) -> float:
        """Return the part of alpha that the answers have; all of it where no weights count."""
        return self.alpha if self.weights is None else self.weights.answers_alpha

    @property
    def p_value(self) -> float | None:
        """Return how rarely an innocent model goes as far; None without scores."""
        if self.weights is not None:
            return self.weights.joint_p_value
        if self.steps is not None:
            return self.steps.p_value
        return self.scores[0].p_value if self.scores else None

    @property
    def smallest_p_value(self) -> float | None:
        """Return the smallest p that could be given by then; None without scores."""
        if self.weights is not None:
            return self.weights.joint_smallest_p_value
        if self.steps is not None:
            return self.steps.smallest_p_value
        return self.scores[0].smallest_p_value if self.scores else None
