"""From a line-up's answers to a verdict: the source's rank among its siblings, and its lead.

Asking ends when any member leads all others by the bundle's bound. The questions up to there and
who leads then are the same whoever of the members is the source, so that an innocent ends with the
source in the lead with probability at most 1 / (J + 1), whatever the bound and however often one
looks. A stop that looked at the source only would have no such bound; a test holds this apart. Nor
has a budget that somebody chose: what it ended while nobody led is inconclusive.

"Derived" takes two things: the source first, at a rank that alpha allows, and a lead that the
panel's innocents do not reach as soon. One line-up is one draw, and a whole kind of innocents may
lean to the same member. A line-up that is not fair, or too small for alpha, only ranks the lead
among the panel's lineages.
"""

from collections.abc import Mapping

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.line_up import MAX_CODE, LineUp
from audit.bundle.line_up_fairness import fairness_of
from audit.bundle.manifest import BundleContents
from audit.scores.line_up import source_leads, source_p_value
from audit.verdict.line_up_models import RacedModels
from audit.verdict.line_up_outcome import LineUpOutcome
from audit.verdict.line_up_race import LINE_UP, LineUpRace, follow_race, line_up_of
from audit.verdict.line_up_words import line_up_words
from audit.verdict.outcome import ScoreOutcome, Verdict, likeness_of
from audit.verdict.p_values import smallest_p_value
from audit.verdict.rule import MAX_REFUSED, MIN_QUERIES, DecisionRule

_ROUNDING = 1e-9
"""1 / 20 is at most 0.05, whatever a division says."""


def judge_line_up(
    bundle: BundleContents, answers: Mapping[str, Answer], rule: DecisionRule
) -> ScoreOutcome:
    """Judge a suspect by its answers to the line-up's questions.

    Args:
        bundle: With a line-up.
        answers: By question id; some may be missing.
        rule: Error rates, and whether asking ends early.

    Raises:
        AuditError: The bundle has no line-up.
    """
    line_up = line_up_of(bundle)
    record, stops_early = line_up.record, bool(rule.stopping_error)
    followed = follow_race(bundle, answers, stops_early=stops_early)
    scores = followed.scores
    lead = float(source_leads(scores, record.source) * followed.race.nats_per_step)
    models = RacedModels.raced(line_up, followed.told, stops_early=stops_early)
    fairness = fairness_of(bundle)
    assert fairness is not None
    smallest = 1 / len(record.members)
    is_first = lead > 0
    if stops_early:
        is_first = is_first and followed.led_after is not None
    as_far = models.as_far(lead, is_first=is_first)
    as_little = models.as_little(followed, lead, is_first=is_first)
    found = LineUpOutcome(
        source=record.source,
        leads=followed.final_leads,
        rank=int((scores >= scores[record.source]).sum()),
        led_after=followed.led_after,
        lead_bound=record.lead_bound,
        is_led_by_source=is_first,
        basis="line-up" if fairness.is_fair and smallest <= rule.alpha + _ROUNDING else "innocents",
        unfair=fairness.reason,
        rank_p_value=float(source_p_value(scores, record.source)),
        smallest_p_value=smallest,
        innocents_p_value=(1 + len(as_far)) / (1 + models.num_panel_lineages),
        num_lineages=models.num_panel_lineages,
        num_lineages_as_far=len(as_far),
        derived_p_value=(1 + models.num_lineages_in(as_little)) / (1 + models.num_derived_lineages),
        power=models.power(),
    )
    result = _score_outcome(
        followed,
        found,
        models,
        lead,
        rule,
        num_in_bundle=len(line_up.arrays.questions),
        num_as_low=int(as_little.sum()),
    )
    reason = line_up_words(result, found, rule, num_classes=_num_answered_classes(line_up))
    return result.model_copy(update={"reason": reason})


def _num_answered_classes(line_up: LineUp) -> int:
    """Return how many classes anybody can answer: fewer than there are where some are merged."""
    is_told = line_up.arrays.member_codes < MAX_CODE
    return int(is_told.any(axis=(0, 1)).sum())


def race_of(
    bundle: BundleContents, answers: Mapping[str, Answer], score: str, rule: DecisionRule
) -> LineUpRace | None:
    """Return the race of a line-up as it is judged; None for other scores, and without answers.

    Args:
        bundle: What was asked.
        answers: By question id.
        score: The name of one.
        rule: Whether asking ends early.
    """
    if score != LINE_UP or bundle.line_up is None:
        return None
    found = follow_race(bundle, answers, stops_early=bool(rule.stopping_error))
    return found if found.num_questions else None


def _score_outcome(
    followed: LineUpRace,
    found: LineUpOutcome,
    models: RacedModels,
    lead: float,
    rule: DecisionRule,
    *,
    num_in_bundle: int,
    num_as_low: int,
) -> ScoreOutcome:
    told, smallest_of_panel = followed.told, smallest_p_value(found.num_lineages)
    is_rank = found.basis == "line-up"
    p_value = found.rank_p_value if is_rank else found.innocents_p_value
    return ScoreOutcome(
        name=LINE_UP,
        access=told.access,
        value=lead,
        num_queries=followed.num_questions,
        num_in_bundle=num_in_bundle,
        num_refused=int((told.labels == REFUSED).sum()),
        num_undecided=0,
        is_evasive=False,
        looks_random=False,
        repeats=None,
        derived_above=None,
        independent_below=None,
        stopped_early=found.led_after is not None,
        p_value=p_value,
        smallest_p_value=found.smallest_p_value if is_rank else smallest_of_panel,
        p_derived=found.derived_p_value,
        smallest_p_derived=smallest_p_value(models.num_derived_lineages),
        likeness=likeness_of(
            may_be_innocent=p_value > rule.alpha + _ROUNDING,
            may_be_derived=found.derived_p_value > rule.beta + _ROUNDING,
        ),
        num_innocents=int(models.is_innocent.sum()),
        num_lineages=found.num_lineages,
        num_as_high=found.num_lineages_as_far,
        num_derived=int((~models.is_innocent).sum()),
        num_as_low=num_as_low,
        has_equals=True,
        blind_kinds=(),
        strata={},
        line_up=found,
        verdict=_verdict(followed, found, rule, num_in_bundle),
        reason="",
    )


def _verdict(
    followed: LineUpRace, found: LineUpOutcome, rule: DecisionRule, num_in_bundle: int
) -> Verdict:
    num = followed.num_questions
    # The bound of a race ends it. Without one whoever cut it could choose where, and a handful of
    # answers is no evidence.
    if found.led_after is None and (num < num_in_bundle or num < MIN_QUERIES):
        return Verdict.INCONCLUSIVE
    alpha, beta = rule.alpha + _ROUNDING, rule.beta + _ROUNDING
    # Beside an exact rank, a panel that is too small for alpha has to be beaten altogether.
    is_beyond_innocents = found.innocents_p_value <= alpha or (
        found.basis == "line-up" and not found.num_lineages_as_far
    )
    is_ranked_first = found.basis == "innocents" or found.rank_p_value <= alpha
    if found.is_led_by_source and is_ranked_first and is_beyond_innocents:
        return Verdict.DERIVED
    num_refused = int((followed.told.labels == REFUSED).sum())
    if found.rank > 1 and found.derived_p_value <= beta and num_refused <= MAX_REFUSED * num:
        return Verdict.INDEPENDENT
    return Verdict.INCONCLUSIVE
