"""What an audit of an endpoint may cost, put together from its file and the auditor's wishes."""

from dataclasses import dataclass

from adapters.attempts import watchable
from adapters.suspect import Suspect
from adapters.tariff import SpendingLimits, Tariff
from audit.asking.cost import Estimate, affordable_questions, estimate
from audit.asking.plan import make_plan
from audit.asking.second_questions import with_repeats
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError


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
    bundle: BundleContents,
    suspect: Suspect,
    scores: tuple[str, ...],
    *,
    budget: int | None = None,
    limits: SpendingLimits | None = None,
) -> SpendingPlan | None:
    """Work out how far an audit may go, before anything is sent.

    Args:
        bundle: What is asked.
        suspect: Whom.
        scores: Scores to compute.
        budget: Largest number of questions.
        limits: Count before those of the endpoint file.

    Returns:
        The plan; None for a suspect that is a file, which may be asked for nothing.

    Raises:
        AuditError: The limits do not reach beyond the control images, or limit a cost that
            nobody knows.
    """
    endpoint = watchable(suspect)
    if endpoint is None:
        return None
    limits, tariff = endpoint.limits.unless(limits or SpendingLimits()), endpoint.tariff
    if limits.max_cost is not None and tariff.is_free:
        raise AuditError(
            "max_cost: expected price_per_request or price_per_image in the endpoint file, got "
            "neither; without a price nothing limits the cost"
        )
    plan = make_plan(bundle, scores, suspect.capability)
    reach = affordable_questions(plan, suspect.batch_size, tariff, limits)
    if reach is None and plan is not (more := with_repeats(plan)):
        # What may be asked again must not exhaust what the audit itself needs.
        can_repeat = affordable_questions(more, suspect.batch_size, tariff, limits) is None
        reach = None if can_repeat else plan.num_questions
    if reach is not None:
        budget = reach if budget is None else min(budget, reach)
    told = estimate(plan.within(budget), suspect.batch_size, endpoint)
    return SpendingPlan(estimate=told, tariff=tariff, limits=limits, budget=budget)
