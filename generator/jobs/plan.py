"""What a run will do and how long that takes here, before it begins.

Counted from the settings, in passes over images, times what one image takes on this machine. Upper
bounds where work ends early (triggers and queries that are done).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from audit.verdict.p_values import innocents_needed
from generator.errors import GenerationError
from generator.jobs.mfue import MAX_CANDIDATES, SPARE_QUERIES
from generator.jobs.pack_triggers import SPARE_TRIGGERS
from generator.pools.reference_kinds import KINDS, ReferenceKind
from generator.settings import CraftSettings
from generator.training.speed import Speed

LONG_SECONDS = 120.0
"""From here on a run tells its plan before it begins."""
ALPHAS = (0.2, 0.1, 0.05, 0.01)

_COPY_PASSES = 69.0
"""Training passes of all tuned and pruned copies together (`generator.pools.copies`), each over
half of the images to tune on."""
_HARDENED = 7
"""Radii of hardened copies and innocents; each takes passes over half of the training images, whose
adversary comes with the gradients of training."""
_NUM_COPIES = 46
_NUM_SELECTION_COPIES = 19
"""Copies, deployments and hardened innocents that shape queries, of all of them."""
_PROBE_ASKINGS = 6.0
"""Bisections of alpha until about half of the probes cross, on average."""
_ASCENT_STEPS = 48
"""Ends of a trigger's probes times steps to each."""
_NUM_STUDENTS = 6


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a run works with, besides its settings."""

    num_training: int
    num_tuning: int
    num_candidates: int
    num_given: int
    """References that the owner gives."""
    num_trained: int
    """References to be trained."""
    reference_epochs: float
    image_bytes: int
    """Of one image, 8 bits a value."""
    model_bytes: int
    """Of the network's weights."""
    kinds: tuple[ReferenceKind, ...] = KINDS
    """Of the references, taken in turn."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of a run."""

    name: str
    what: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole run."""

    stages: tuple[Stage, ...]
    memory_bytes: int
    disk_bytes: int
    by_alpha: tuple[tuple[float, int, float], ...]
    """False-positive rate, innocents it needs in all, seconds of the run with so many."""

    @property
    def seconds(self) -> float:
        """Return how long all of it takes."""
        return sum(stage.seconds for stage in self.stages)


def make_plan(settings: CraftSettings, sizes: Sizes, speed: Speed, *, is_mfue: bool = True) -> Plan:
    """Count what a run takes.

    Args:
        settings: Of the run.
        sizes: Images and models.
        speed: On this machine.
        is_mfue: Whether MFUE crafts; what another method takes is not known.
    """
    stages = _stages(settings, sizes, speed, is_mfue=is_mfue)
    num_innocents = sizes.num_given + sizes.num_trained
    num_models = num_innocents + 2 * settings.num_mimics + 2 * _NUM_COPIES
    pixels = sizes.image_bytes * (sizes.num_training + sizes.num_tuning + sizes.num_candidates)
    others = sum(stage.seconds for stage in stages if stage.name != "references")
    by_alpha = []
    for alpha in ALPHAS:
        needed = 2 * innocents_needed(alpha)
        trained = max(0, needed - sizes.num_given)
        by_alpha.append((alpha, needed, others + _reference_seconds(trained, sizes, speed)))
    return Plan(
        stages=stages,
        memory_bytes=speed.peak_bytes + num_models * sizes.model_bytes + pixels,
        disk_bytes=(sizes.num_trained + settings.num_mimics) * sizes.model_bytes + pixels,
        by_alpha=tuple(by_alpha),
    )


def _stages(
    settings: CraftSettings, sizes: Sizes, speed: Speed, *, is_mfue: bool
) -> tuple[Stage, ...]:
    epoch = sizes.num_training * speed.training
    selected = _NUM_SELECTION_COPIES + (sizes.num_given + sizes.num_trained) // 2
    judged = (_NUM_COPIES - _NUM_SELECTION_COPIES) + (sizes.num_given + sizes.num_trained + 1) // 2
    num_packs = settings.num_packs
    num_triggers = round(SPARE_TRIGGERS * settings.num_triggers) * num_packs
    probes = settings.num_triggers * settings.num_probes * num_packs
    stages = [
        Stage(
            name="references",
            what=f"{sizes.num_trained} innocents, {sizes.reference_epochs:g} epochs of "
            f"{sizes.num_training} images",
            seconds=_reference_seconds(sizes.num_trained, sizes, speed),
        ),
        Stage(
            name="mimic pool",
            what=f"{settings.num_mimics} epochs",
            seconds=settings.num_mimics * epoch,
        ),
        Stage(
            name="derived models",
            what=f"{_NUM_COPIES} changed copies",
            seconds=speed.training
            / 2
            * (
                _COPY_PASSES * sizes.num_tuning
                + _HARDENED * settings.hardening_epochs * sizes.num_training
            ),
        ),
    ]
    if settings.student_epochs:
        stages.append(
            Stage(
                name="students",
                what=f"{_NUM_STUDENTS} extracted models, {settings.student_epochs:g} epochs",
                seconds=_NUM_STUDENTS * settings.student_epochs * epoch,
            )
        )
    if not is_mfue:
        return tuple(stages)
    trigger_stages = [
        Stage(
            name="triggers",
            what=f"{num_triggers} images, at most {settings.max_steps} steps against "
            f"{settings.num_mimics} mimics",
            seconds=num_triggers * settings.max_steps * settings.num_mimics * speed.input_gradient,
        ),
        Stage(
            name="probes",
            what=f"{settings.num_probes} for each trigger, asked of {judged + 1} models",
            seconds=num_triggers * _ASCENT_STEPS * speed.input_gradient
            + probes * (_PROBE_ASKINGS + judged) * speed.forward,
        ),
    ]
    stages += trigger_stages[: settings.has_triggers + settings.has_probes]
    num_natural = min(MAX_CANDIDATES * num_packs, sizes.num_candidates)
    if settings.candidates not in ("natural", "triggers"):
        crafted = min(num_natural, round(SPARE_QUERIES * settings.num_queries) * num_packs)
        stages.append(
            Stage(
                name="contrast queries",
                what=f"{crafted} images, at most {settings.max_steps} steps against {selected} "
                "models",
                seconds=crafted * settings.max_steps * selected * speed.input_gradient,
            )
        )
    stages.append(
        Stage(
            name="queries",
            what=f"chosen among {num_natural} natural images by {selected} models",
            seconds=num_natural * selected * speed.forward,
        )
    )
    return tuple(stages)


def _reference_seconds(num: int, sizes: Sizes, speed: Speed) -> float:
    kinds = [sizes.kinds[number % len(sizes.kinds)] for number in range(num)]
    # A head learns from features, which are computed once.
    passes = sum(_passes(k, sizes.reference_epochs) for k in kinds if not k.is_head_only)
    asked = sum(kind.share for kind in kinds if kind.is_head_only)
    return sizes.num_training * (passes * speed.training + asked * speed.forward)


def _passes(kind: ReferenceKind, epochs: float) -> float:
    """Return how often a reference's training goes over all of the owner's images."""
    full = max(1.0, epochs * kind.epochs) * kind.share
    if kind.is_tuned:
        return full / 2 + max(1.0, epochs / 4) / 2
    return 2 * full if kind.is_distilled else full


CONCESSIONS: tuple[tuple[str, Any, str], ...] = (
    ("num_probes", 20, "20 instead of 100 probes a trigger: MFUE's rate is coarser"),
    ("num_triggers", 40, "40 instead of 100 MFUE triggers"),
    (
        "scores",
        ("likelihood-ratio", "rank-correlation", "mfue-w"),
        "no probes: MFUE judges files only",
    ),
    ("scores", ("likelihood-ratio", "rank-correlation"), "no MFUE triggers and scores"),
    ("max_steps", 40, "at most 40 instead of 100 steps for triggers and queries"),
    ("max_images", 4000, "models train on at most 4000 images"),
    ("reference_epochs", 6.0, "innocents train for 6 instead of 12 epochs"),
    ("max_images", 2000, "models train on at most 2000 images"),
    ("num_triggers", 20, "20 MFUE triggers"),
    ("max_steps", 20, "at most 20 steps for triggers and queries"),
    ("max_images", 1000, "models train on at most 1000 images"),
    ("num_mimics", 5, "5 instead of 10 mimics"),
    ("alpha", 0.2, "a false-positive rate of 0.2 instead of 0.1"),
)
"""What a run can give up, in this order: field, value, and what is lost."""


def fit_budget(
    seconds: float, plan_with: Callable[[dict[str, Any]], Plan], given: Sequence[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Give up one thing after another until a run takes no longer than it may.

    Args:
        seconds: The budget.
        plan_with: Returns the plan with some fields changed.
        given: Fields that the owner has set; they stay.

    Returns:
        The changed fields, and what is lost by them.

    Raises:
        GenerationError: Nothing that may be given up is enough.
    """
    changes: dict[str, Any] = {}
    lost: dict[str, str] = {}
    plan = plan_with(changes)
    for field, value, words in CONCESSIONS:
        if plan.seconds <= seconds:
            break
        if field not in given:
            tried = plan_with({**changes, field: value})
            # Only what helps is given up.
            if tried.seconds < plan.seconds:
                changes[field], lost[field], plan = value, words, tried
    if plan.seconds > seconds:
        raise GenerationError(
            f"budget: expected at least {duration(plan.seconds)}, which is the least that this run "
            f"takes here, got {duration(seconds)}; give fewer images (--max-images) or trained "
            "innocents (--references)"
        )
    return changes, tuple(lost.values())


def plan_lines(plan: Plan) -> list[str]:
    """Return a plan for people, a line each."""
    width = max(len(stage.name) for stage in plan.stages)
    lines = [
        f"{stage.name:<{width}}  {duration(stage.seconds):>8}  {stage.what}"
        for stage in plan.stages
    ]
    lines.append(
        f"{'in all':<{width}}  {duration(plan.seconds):>8}  at most; "
        f"{_size(plan.memory_bytes)} of memory, {_size(plan.disk_bytes)} of disk"
    )
    told = [
        f"{alpha:g}: {needed} innocents, {duration(seconds)}"
        for alpha, needed, seconds in plan.by_alpha
    ]
    lines.append(f"By false-positive rate: {'; '.join(told)}.")
    return lines


def duration(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> duration(42), duration(150), duration(9000)
        ('42 s', '2.5 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def parse_duration(text: str) -> float:
    """Return the seconds of a budget as people write it.

    Raises:
        GenerationError: It is something else.

    Example:
        >>> parse_duration("2h"), parse_duration("1h30m"), parse_duration("90s")
        (7200.0, 5400.0, 90.0)
    """
    import re

    units = {"h": 3600, "m": 60, "min": 60, "s": 1}
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(h|min|m|s)", text.strip().lower())
    seconds = float(sum(float(number) * units[unit] for number, unit in parts))
    if "".join(number + unit for number, unit in parts) != "".join(text.lower().split()):
        seconds = 0.0
    if seconds <= 0:
        raise GenerationError(f"budget: expected a time such as 2h, 90m or 1h30m, got {text!r}")
    return seconds


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**29 else f"{num_bytes / 2**20:.0f} MiB"
