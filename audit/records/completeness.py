"""Did the audit of a record ask all that its rule makes it ask?"""

from collections.abc import Iterator, Mapping, Sequence

from audit.answer import Answer
from audit.asking.plan import Plan, QuestionGroup
from audit.asking.second_questions import repeats_due
from audit.bundle.manifest import BundleContents
from audit.errors import SignatureInvalidError
from audit.records.against_bundle import question_ids, record_plan, record_rule
from audit.records.check import Check, attempt, unchecked
from audit.records.record import Record, State
from audit.verdict.early_stop import follow_controls
from audit.verdict.following import Follows, follow_score
from audit.verdict.judge import check_controls, judge


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
        plan, rule = record_plan(record, bundle), record_rule(record, bundle)
        budget = record.opening.runs[-1].budget if record.opening.runs else None
        given = record.answers
        whole, due = set(question_ids(plan)), set(question_ids(plan.within(budget)))
        controls = _asked_enough(plan.groups[:1], follow_controls(bundle, rule), given)
        if not controls <= set(given):
            raise SignatureInvalidError("controls: expected all control images answered")
        if not check_controls(bundle, given, rule).comparable:
            due = controls
            further = sorted(one for one in given if not one.startswith("control/"))
            if further:
                raise SignatureInvalidError(
                    f"{further[0]}: expected no answer, because the control images end the audit"
                )
        else:
            queries = follow_score(bundle, rule, record.opening.scores[0])
            is_decided = queries is not None and queries.follow(given)
            others = _asked_enough(plan.within(budget).groups[1:], queries, given)
            due = controls | (
                {one for one in others if one.startswith(f"{queries.kind}/")}
                if queries is not None and is_decided
                else others
            )
            due |= set(_due_again(record, bundle, plan, budget))
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


def _due_again(
    record: Record, bundle: BundleContents, plan: Plan, budget: int | None
) -> Iterator[str]:
    """Yield the questions that had to be asked a second time."""
    given = record.answers
    outcome = judge(bundle, given, record.opening.scores[:1], record_rule(record, bundle))
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
