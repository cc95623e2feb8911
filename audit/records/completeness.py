"""Did the audit of a record ask all that its rule makes it ask?"""

from collections.abc import Iterator, Mapping, Sequence

from audit.answer import Answer
from audit.asking.ends import End
from audit.asking.plan import Plan, QuestionGroup
from audit.asking.second_questions import repeats_due
from audit.asking.second_step import needs_line_up, step_groups
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError, SignatureInvalidError
from audit.records.against_bundle import question_ids, record_plan, record_rule
from audit.records.check import Check, attempt, failed, unchecked
from audit.records.record import Record, State
from audit.verdict.early_stop import follow_controls
from audit.verdict.following import Follows, follow_score
from audit.verdict.judge import check_controls, judge
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.outcome import Verdict
from audit.verdict.rule import DecisionRule


def check_completeness(record: Record, bundle: BundleContents) -> Check:
    """Nothing that had to be asked is missing, unless the record says that it was stopped."""
    name = "completeness"
    if record.closing.state is State.INTERRUPTED:
        return unchecked(
            name,
            f"The audit was interrupted after {len(record.rows)} answers; the record is genuine "
            "but incomplete, and nothing follows from it.",
        )

    def found() -> str:
        plan = record_plan(record, bundle)
        budget = _budget(record)
        given = record.answers
        whole = set(question_ids(plan))
        due = _due(record, bundle, plan, budget) | set(_due_again(record, bundle, plan, budget))
        controls = {one for one in due if one.startswith("control/")}
        missing = sorted(due - set(given))
        if missing:
            raise SignatureInvalidError(
                f"{missing[0]}: expected an answer, got none; {len(missing)} answers are missing"
            )
        if record.closing.state is State.BUDGET:
            return (
                f"The budget of {budget} questions ended the audit before it could decide; all of "
                "them are answered."
            )
        left = len(whole - set(given))
        if left and (due == controls or not due >= set(question_ids(plan.within(budget)))):
            return (
                f"Every question that the verdict needed has an answer; {left} others were not "
                "needed."
            )
        if left:
            return (
                f"Every question within the auditor's budget of {budget} has an answer; {left} "
                "others of the bundle were not asked. A budget that is raised until a result "
                f"pleases is no test; this is the result of run {len(record.opening.runs)}."
            )
        return "Every planned question has an answer."

    return attempt(name, found)


def check_end(record: Record, bundle: BundleContents) -> Check:
    """What the record says of why asking ended is what the rule and the answers say."""
    name, told, state = "end of asking", record.closing.ended_by, record.closing.state
    if state is State.INTERRUPTED:
        return _check_broken_off(record, bundle)

    def found() -> str:
        end = _end(record, bundle)
        if told is not end:
            raise SignatureInvalidError(
                f"ended_by: expected '{end}', which follows from the rule and the answers, got "
                f"{'nothing' if told is None else repr(told.value)}"
            )
        outcome = record.closing.outcome
        is_open = outcome is None or outcome.verdict is Verdict.INCONCLUSIVE
        if end is End.BUDGET and is_open and state is State.COMPLETE:
            raise SignatureInvalidError(
                f"state: expected '{State.BUDGET}', because a budget of {_budget(record)} "
                "questions ended the audit before it could decide, got 'complete'"
            )
        if end is not End.BUDGET and state is State.BUDGET:
            raise SignatureInvalidError(f"state: no budget ended this audit, got '{state}'")
        return _EXPLAINED[end]

    return attempt(name, found)


_EXPLAINED = {
    End.RULE: "The rule ended it: the verdict needed nothing more.",
    End.ALL: "Everything was asked.",
    End.BUDGET: "The auditor's budget ended it.",
}


def _check_broken_off(record: Record, bundle: BundleContents) -> Check:
    """Nobody can check who broke an audit off; what its answers come to already, anybody can."""
    name, told = "end of asking", record.closing.ended_by
    if told in (End.RULE, End.ALL):
        return failed(
            name, f"ended_by: an audit that was interrupted cannot have ended by '{told}'"
        )
    who = "without a word" if told is None else f"by '{told}'"
    try:
        outcome = judge(bundle, record.answers, record.opening.scores, record_rule(record, bundle))
    except (AuditError, ValueError, KeyError):
        return unchecked(name, f"It was broken off {who}, as the auditor says.")
    decided = [one for one in outcome.scores[:1] if one.stopped_early]
    already = (
        f" Its answers had decided by then: '{decided[0].verdict}'. Ask why it was not finished."
        if decided
        else ""
    )
    return unchecked(name, f"It was broken off {who}, as the auditor says.{already}")


def _end(record: Record, bundle: BundleContents) -> End:
    """Return why nothing more was asked, from the rule and the answers."""
    plan, given = record_plan(record, bundle), set(record.answers)
    if set(question_ids(plan)) <= given:
        return End.ALL
    return End.RULE if _due(record, bundle, plan) <= given else End.BUDGET


def _budget(record: Record) -> int | None:
    return record.opening.runs[-1].budget


def _due(record: Record, bundle: BundleContents, plan: Plan, budget: int | None = None) -> set[str]:
    """Return the questions of a plan that the rule makes an audit ask, given its answers.

    Raises:
        SignatureInvalidError: The control images are not answered as the rule wants them.
    """
    rule, given = record_rule(record, bundle), record.answers
    controls = _asked_enough(plan.groups[:1], follow_controls(bundle, rule), given)
    if not controls <= set(given):
        raise SignatureInvalidError("controls: expected all control images answered")
    if not check_controls(bundle, given, rule).comparable:
        further = sorted(one for one in given if not one.startswith("control/"))
        if further:
            raise SignatureInvalidError(
                f"{further[0]}: expected no answer, because the control images end the audit"
            )
        return controls
    if rule.steps is None:
        cut = plan.within(budget).groups[1:]
        return controls | _due_for(bundle, rule, plan.scores[0], cut, given)
    return controls | _due_in_steps(bundle, rule, plan, given, budget)


def _due_for(
    bundle: BundleContents,
    rule: DecisionRule,
    score: str,
    groups: Sequence[QuestionGroup],
    given: Mapping[str, Answer],
) -> set[str]:
    """Return the questions of a score, and what is asked beside it, that had to be asked."""
    follower = follow_score(bundle, rule, score)
    is_decided = follower is not None and follower.follow(given)
    asked = _asked_enough(groups, follower, given)
    if follower is None or not is_decided:
        return asked
    return {one for one in asked if one.startswith(f"{follower.kind}/")}


def _due_in_steps(
    bundle: BundleContents,
    rule: DecisionRule,
    plan: Plan,
    given: Mapping[str, Answer],
    budget: int | None,
) -> set[str]:
    groups = step_groups(plan, given, rule, budget=budget)
    due = _due_for(bundle, rule, plan.scores[0], groups.crafted, given)
    if needs_line_up(bundle, given, plan, rule):
        due |= _due_for(bundle, rule, LINE_UP, (groups.line_up,), given)
    return due | _asked_enough(groups.beside, None, given)


def _due_again(
    record: Record, bundle: BundleContents, plan: Plan, budget: int | None
) -> Iterator[str]:
    """Yield the questions that had to be asked a second time."""
    given = record.answers
    rule = record_rule(record, bundle)
    steps = record.opening.scores[: 1 if rule.steps is None else 2]
    outcome = judge(bundle, given, steps, rule)
    for group in repeats_due(plan, given, outcome, budget=budget):
        yield from (group.question(index) for index in range(group.num_questions))


def _asked_enough(
    groups: Sequence[QuestionGroup], follower: Follows | None, given: Mapping[str, Answer]
) -> set[str]:
    """Return the questions that had to be asked: those after an early stop had not."""
    has_stopped = follower is not None and follower.follow(given)
    due: set[str] = set()
    for group in groups:
        num = group.num_questions
        if has_stopped and follower and group.kind == follower.kind:
            num = min(num, follower.num_followed)
        due |= {group.question(index) for index in range(num)}
    return due
