"""What an audit of an endpoint will take, before anything is sent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from adapters.attempts import Watchable, watchable
from adapters.suspect import Suspect
from adapters.tariff import SpendingLimits, Tariff, money
from audit.asking.options import AuditOptions
from audit.asking.plan import Plan, QuestionGroup, make_plan
from audit.asking.second_questions import NUM_FIRST, num_possible_repeats, with_repeats
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.verdict.line_up_race import LINE_UP


@dataclass(frozen=True, kw_only=True)
class StepEstimate:
    """What one step of an audit takes at most."""

    told: str
    """Which one."""
    num_questions: int
    seconds: float | None
    """As in `Estimate`."""
    cost: Decimal

    def text(self, currency: str) -> str:
        """Return it as a part of a sentence."""
        parts = [f"{self.num_questions} images"]
        if self.seconds is not None:
            parts.append(_duration(self.seconds))
        if self.cost:
            parts.append(money(self.cost, currency))
        return f"{self.told} {', '.join(parts)}"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An audit without retries; one that stops early takes less."""

    num_questions: int
    num_repeats: int
    """Images that may be asked a second time, besides (`audit.asking.second_questions`)."""
    num_requests: int
    seconds: float | None
    """At the endpoint's own rate; None where that has no limit."""
    cost: Decimal
    currency: str
    steps: tuple[StepEstimate, ...] = ()
    """Of an audit in two steps: up to the first one's end, and the second one."""

    @property
    def text(self) -> str:
        """Return it as one sentence."""
        told = f"asks at most {self.num_questions} images in {_count(self.num_requests)}"
        if self.seconds is not None:
            told += f", which takes {_duration(self.seconds)} at the endpoint's rate"
        if self.cost:
            told += f" and costs {money(self.cost, self.currency)}"
        if self.steps:
            told += f" ({'; '.join(step.text(self.currency) for step in self.steps)})"
        if self.num_repeats:
            told += (
                f"; {NUM_FIRST} are asked again before it is cleared, up to {self.num_repeats} if "
                "its answers change or look random"
            )
        return f"{told}; retries come on top"


def estimate(
    plan: Plan, batch_size: int, endpoint: Watchable, *, in_steps: bool = False
) -> Estimate:
    """Say what a plan takes.

    Args:
        plan: The questions.
        batch_size: Images in one request.
        endpoint: Whom to ask.
        in_steps: Whether the line-up is asked only where what comes before it finds no copy.
    """
    whole = _taken(plan.groups, batch_size, endpoint)
    kinds = [group.kind for group in plan.groups]
    steps: tuple[StepEstimate, ...] = ()
    if in_steps and LINE_UP in kinds:
        place = kinds.index(LINE_UP)
        steps = (
            _taken(plan.groups[:place], batch_size, endpoint, "controls and crafted queries"),
            _taken(plan.groups[place:], batch_size, endpoint, "the line-up, if no copy is found,"),
        )
    return Estimate(
        num_questions=whole.num_questions,
        num_repeats=num_possible_repeats(plan),
        num_requests=_num_requests(plan.groups, batch_size),
        seconds=whole.seconds,
        cost=whole.cost,
        currency=endpoint.tariff.currency,
        steps=steps,
    )


def _taken(
    groups: Sequence[QuestionGroup], batch_size: int, endpoint: Watchable, told: str = ""
) -> StepEstimate:
    num_requests, rate = _num_requests(groups, batch_size), endpoint.requests_per_second
    num_questions = sum(group.num_questions for group in groups)
    return StepEstimate(
        told=told,
        num_questions=num_questions,
        seconds=None if rate is None else (num_requests - 1) / rate,
        cost=endpoint.tariff.cost(num_requests, num_questions),
    )


def _num_requests(groups: Sequence[QuestionGroup], batch_size: int) -> int:
    return sum(math.ceil(group.num_questions / batch_size) for group in groups)


def affordable_questions(
    plan: Plan, batch_size: int, tariff: Tariff, limits: SpendingLimits
) -> int | None:
    """Return the number of questions of a plan that the limits reach for, without retries.

    Args:
        plan: All questions.
        batch_size: Images in one request.
        tariff: What requests cost.
        limits: What they may come to.

    Returns:
        The number, or None where all of them are within the limits.

    Raises:
        AuditError: The limits do not reach beyond the control images.
    """
    num_requests = num_questions = 0
    for group in plan.groups:
        for start in range(0, group.num_questions, batch_size):
            num = min(batch_size, group.num_questions - start)
            cost = tariff.cost(num_requests + 1, num_questions + num)
            is_too_many = limits.max_requests is not None and num_requests >= limits.max_requests
            if is_too_many or (limits.max_cost is not None and cost > limits.max_cost):
                _check(plan, num_questions, tariff, limits)
                return num_questions
            num_requests, num_questions = num_requests + 1, num_questions + num
    return None


def _check(plan: Plan, num_questions: int, tariff: Tariff, limits: SpendingLimits) -> None:
    controls = plan.groups[0].num_questions
    if num_questions > controls:
        return
    field, found = "max_requests", str(limits.max_requests)
    if limits.max_cost is not None:
        field, found = "max_cost", money(limits.max_cost, tariff.currency)
    raise AuditError(
        f"{field}: expected enough for more than the {controls} control images that are asked "
        f"first, got {found}, which is enough for {num_questions} images"
    )


def _count(num_requests: int) -> str:
    return f"{num_requests} request{'' if num_requests == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


@dataclass(frozen=True, kw_only=True)
class SpendingPlan:
    """How far an audit of an endpoint may go."""

    estimate: Estimate
    """Of the questions within `budget`."""
    tariff: Tariff
    limits: SpendingLimits
    budget: int | None
    """Questions, control images included, that all limits together reach for; None for all."""


def plan_spending(
    bundle: BundleContents, suspect: Suspect, options: AuditOptions
) -> SpendingPlan | None:
    """Work out how far an audit may go, before anything is sent.

    Args:
        bundle: What is asked.
        suspect: Whom.
        options: What is asked, settled for both; its limits count before those of the endpoint
            file.

    Returns:
        The plan; None for a suspect that is a file, which may be asked for nothing.

    Raises:
        AuditError: The limits do not reach beyond the control images, or limit a cost that
            nobody knows.
    """
    endpoint = watchable(suspect)
    if endpoint is None:
        return None
    limits, tariff = endpoint.limits.unless(options.limits), endpoint.tariff
    if limits.max_cost is not None and tariff.is_free:
        raise AuditError(
            "max_cost: expected price_per_request or price_per_image in the endpoint file, or "
            "--price beside --python, got none; without a price nothing limits the cost"
        )
    plan, budget = make_plan(bundle, options.scores, suspect.capability), options.budget
    reach = affordable_questions(plan, suspect.batch_size, tariff, limits)
    if reach is None and plan is not (more := with_repeats(plan)):
        # What may be asked again must not exhaust what the audit itself needs.
        can_repeat = affordable_questions(more, suspect.batch_size, tariff, limits) is None
        reach = None if can_repeat else plan.num_questions
    if reach is not None:
        budget = reach if budget is None else min(budget, reach)
    told = estimate(
        plan.within(budget),
        suspect.batch_size,
        endpoint,
        in_steps=options.decides_in_steps(bundle.manifest),
    )
    return SpendingPlan(estimate=told, tariff=tariff, limits=limits, budget=budget)
