"""Does a record fit its bundle? Each function looks at one thing and returns one `Check`.

All of them take a record whose signature and chain were checked and a bundle that was read with
trust; none of them asks a suspect.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from adapters.suspect import ABSENT_CLASSES, MERGED_CLASSES, Capability
from audit.asking.class_order import SETTING, UNKNOWN, read_order
from audit.asking.plan import Plan, QuestionGroup, deciding_scores, make_plan
from audit.asking.second_questions import possible_repeats
from audit.bundle.manifest import BundleContents
from audit.bundle.query_order import START, started
from audit.errors import AuditError, SignatureInvalidError
from audit.library_versions import environment_versions
from audit.records.check import Check, Status, attempt, failed, held, unchecked
from audit.records.record import Record, Row, State, seconds, utc
from audit.scores.absent_classes import absent_in_words, read_absent, without_classes
from audit.scores.merged_classes import groups_in_words, read_groups
from audit.signing.canonical import array_sha256, canonical_bytes, sha256_hex
from audit.verdict.judge import judge
from audit.verdict.outcome import Outcome, Verdict
from audit.verdict.rule import DecisionRule, choose_rule, read_rule

CLOCK_TOLERANCE_S = 300.0
"""Two machines' clocks may differ by so much before a record counts as from the future."""
START_TOLERANCE_S = 1.0
"""Batches that are in flight together begin within the same moment, in any order."""


def check_bundle(record: Record, bundle: BundleContents) -> Check:
    """The bundle is the one that was asked with, and the record repeats its manifest."""

    def found() -> str:
        recorded = record.opening.bundle
        if recorded.sha256 != bundle.manifest_sha256:
            raise SignatureInvalidError(
                f"bundle: expected {recorded.sha256}, which this record was made with, got "
                f"{bundle.manifest_sha256}; this is another bundle or another version of it"
            )
        if sha256_hex(canonical_bytes(recorded.manifest.model_dump(mode="json"))) != (
            recorded.sha256
        ):
            raise SignatureInvalidError("manifest: the record's copy is not the bundle's manifest")
        if recorded.signer_key_id != bundle.signer_key_id:
            raise SignatureInvalidError(
                f"bundle: expected the signature of key {recorded.signer_key_id}, got that of "
                f"{bundle.signer_key_id}"
            )
        return f"The bundle {recorded.sha256} is the one that this audit asked with."

    return attempt("same bundle", found)


def check_questions(record: Record, bundle: BundleContents) -> Check:
    """Every question is the bundle's, pixel for pixel, and has one answer the bundle has."""

    def found() -> str:
        images: dict[str, str] = {}
        if record.opening.suspect.kind == "onnx" and START in record.opening.settings:
            raise SignatureInvalidError(
                f"settings: {START}: expected none, because a file is asked from the first query on"
            )
        plan = record_plan(record, started(bundle, record.opening.settings))
        record_order(record, bundle)
        for group in (*plan.groups, *possible_repeats(plan)):
            if any(row.question.rpartition("/")[0] == group.kind for row in record.rows):
                pixels = group.images()
                for index in range(group.num_questions):
                    images[group.question(index)] = array_sha256(pixels[index])
        seen: set[str] = set()
        for row in record.rows:
            _check_row(row, images, bundle.manifest.task.num_classes)
            if row.question in seen:
                raise SignatureInvalidError(f"{row.question}: answered twice")
            seen.add(row.question)
        return f"All {len(seen)} answers are to images of the bundle, pixel for pixel."

    return attempt("questions", found)


def check_order(record: Record, bundle: BundleContents) -> Check:
    """Questions were asked in the order that the owner signed, before any answer was known."""

    def found() -> str:
        plan = record_plan(record, bundle)
        positions = {
            question: number
            for number, question in enumerate(question_ids(plan, possible_repeats(plan)))
        }
        runs = [run.number for run in record.opening.runs]
        if runs != list(range(1, len(runs) + 1)):
            raise SignatureInvalidError("runs: expected numbers from 1 on without a gap")
        last: Row | None = None
        for row in record.rows:
            if row.run > len(runs):
                raise SignatureInvalidError(f"{row.question}: run {row.run} is not in the record")
            if last is not None:
                _check_succession(last, row, positions)
            last = row
        begun = f", queries from number {bundle.start} on" if bundle.start else ""
        return f"The questions were asked in the bundle's order, control images first{begun}" + (
            f", in {len(runs)} runs." if len(runs) > 1 else "."
        )

    return attempt("order of asking", found)


def check_count(record: Record) -> Check:
    """How many audits of this suspect the auditor's journal holds."""
    name, count = "number of the audit", record.opening.count
    told = f"This is {count.sentence}, by this bundle"
    if count.total == 1:
        return held(name, f"{told}; the auditor's journal counted.")
    return unchecked(
        name,
        f"{told}, those included that were not finished. Ask for the others: of several audits, "
        "one may please by chance.",
    )


def check_deciding_score(record: Record, bundle: BundleContents) -> Check:
    """The score that decides is the one that the owner signed for that."""
    name, rule = "deciding score", record_rule(record, bundle)
    own = _quoted(deciding_scores(bundle.manifest))
    used = _quoted(record.opening.scores[: 1 if rule.steps is None else 2])
    if used == own:
        return held(name, f"{own} decides, as the bundle says.")
    if rule.look_for is not None:
        return unchecked(
            name,
            f"{used} decides because the auditor looked for {rule.look_for} only; the bundle names "
            f"{own}. The line-up, which finds what learnt from answers, was not asked.",
        )
    return unchecked(
        name,
        f"{used} decides because the auditor chose it; the bundle names {own}. Ask why: of "
        "several scores, one may please by chance.",
    )


def _quoted(scores: Sequence[str]) -> str:
    return ", then ".join(f"'{score}'" for score in scores)


def check_merged_classes(record: Record, bundle: BundleContents) -> Check | None:
    """Classes count as one only where the suspect cannot tell them apart by name.

    Returns:
        None where each class counts by itself.
    """
    text = record.opening.settings.get(MERGED_CLASSES)
    if text is None:
        return None
    name, classes = "merged classes", bundle.manifest.task.class_names
    try:
        groups = read_groups(text, len(classes))
    except AuditError as error:
        return failed(name, str(error))
    return unchecked(name, f"{groups_in_words(groups, classes)}. Ask whether that is so.")


def check_absent_classes(record: Record, bundle: BundleContents) -> Check | None:
    """Classes count as absent only where the suspect does not have them.

    Returns:
        None where it has all.
    """
    text = record.opening.settings.get(ABSENT_CLASSES)
    if text is None:
        return None
    name = "absent classes"
    try:
        absent = read_absent(text, bundle.manifest.task.num_classes)
    except AuditError as error:
        return failed(name, str(error))
    named = [answer.label for answer in record.answers.values() if answer.label in absent]
    if named:
        return failed(
            name,
            f"settings: {ABSENT_CLASSES}: expected no answer of an absent class, got {len(named)}",
        )
    told = absent_in_words(without_classes(bundle, absent), absent)
    return unchecked(name, f"{told[0].upper()}{told[1:]}. Ask whether that is so.")


def check_rule(record: Record, bundle: BundleContents) -> Check:
    """The error rates are those that the owner signed, or the record says which were chosen."""
    name = "error rates"

    def found() -> str:
        rule = record_rule(record, bundle)
        early = (
            f", stopping early; on the control images alone that errs with {rule.stopping_error:g}"
            if rule.stopping_error
            else ""
        )
        shares = (
            f" ({rule.steps.crafted_alpha:g} for the crafted queries, {rule.steps.line_up_alpha:g} "
            "for the line-up)"
            if rule.steps
            else ""
        )
        return f"alpha {rule.alpha:g}{shares} and beta {rule.beta:g}{early}."

    check = attempt(name, found)
    if check.status is Status.FAILED:
        return check
    rule = record_rule(record, bundle)
    usual = choose_rule(
        bundle.manifest,
        alpha=None,
        beta=None,
        stop_early=rule.stopping_error > 0,
        in_steps=rule.steps is not None,
        look_for=rule.look_for,
    )
    if rule == usual:
        return check
    return unchecked(
        name,
        f"{check.text[:-1]}, chosen by the auditor; the bundle names {usual.alpha:g} and "
        f"{usual.beta:g}. Ask whether they were chosen before the answers were known.",
    )


def record_rule(record: Record, bundle: BundleContents) -> DecisionRule:
    """Return the rule that the audit followed.

    Raises:
        SignatureInvalidError: A rate in the settings is none.
    """
    try:
        return read_rule(record.opening.settings, bundle.manifest)
    except AuditError as error:
        raise SignatureInvalidError(str(error)) from error


def record_order(record: Record, bundle: BundleContents) -> tuple[int, ...] | None:
    """Return the suspect's index of each of the bundle's classes, where the audit had to find it.

    Returns:
        None where it had not, or was broken off before it could.

    Raises:
        SignatureInvalidError: What the settings say is no order.
    """
    told = record.opening.settings.get(SETTING)
    is_open = told == UNKNOWN and record.closing.state is State.INTERRUPTED
    if told is None or is_open:
        return None
    try:
        return read_order(told, bundle.manifest.task.num_classes)
    except AuditError as error:
        raise SignatureInvalidError(str(error)) from error


def check_times(record: Record, *, now: float) -> Check:
    """The recorded times are possible."""

    def found() -> str:
        latest = 0.0
        for row in record.rows:
            asked = seconds(row.asked)
            earliest = max(latest, seconds(record.opening.runs[row.run - 1].started))
            if asked < earliest - START_TOLERANCE_S:
                raise SignatureInvalidError(
                    f"{row.question}: asked at {row.asked}, before {_utc_text(earliest)}, when "
                    "what comes earlier was asked"
                )
            latest = max(latest, asked)
        last = max(latest, seconds(record.closing.written))
        if last > now + CLOCK_TOLERANCE_S:
            raise SignatureInvalidError(
                f"written: expected a time not after {_utc_text(now)}, got {_utc_text(last)}; "
                "this machine's clock or the auditor's is wrong"
            )
        if not record.rows:
            return "Nothing was answered."
        return f"Asked from {record.rows[0].asked} to {utc(latest)} by the auditor's own clock."

    return attempt("times", found)


def check_recomputation(record: Record, bundle: BundleContents) -> tuple[Check, Outcome | None]:
    """The verdict and all its numbers follow from the answers.

    Returns:
        The check, and the outcome computed here; None where the record has none.
    """
    name = "recomputation"
    if record.closing.outcome is None:
        if record.closing.state is not State.INTERRUPTED:
            return failed(name, "outcome: expected one in a record that was ended, got none"), None
        return unchecked(name, "There is no verdict to recompute."), None
    if record.closing.state is State.INTERRUPTED:
        return failed(name, "outcome: expected none in an interrupted audit, got one"), None
    try:
        outcome = judge(bundle, record.answers, record.opening.scores, record_rule(record, bundle))
    except (AuditError, ValueError, KeyError) as error:
        return failed(name, f"outcome: cannot be computed from these answers: {error}"), None
    is_open = outcome.verdict is Verdict.INCONCLUSIVE
    if record.closing.state is State.BUDGET and not is_open:
        return failed(name, f"state: expected a decision, got {record.closing.state}"), outcome
    differences = compare(
        record.closing.outcome.model_dump(mode="json"), outcome.model_dump(mode="json")
    )
    if not differences:
        return held(
            name,
            f"Computed again from {len(record.rows)} answers: '{outcome.verdict}', and every "
            "number equal to its last digit.",
        ), outcome
    several = f"; {len(differences)} values differ ({', '.join(differences[:5])})"
    return failed(
        name,
        f"outcome: {differences[0]}: the recorded value does not follow from the answers"
        f"{several if len(differences) > 1 else ''}{_other_version(record)}",
    ), outcome


def compare(recorded: Any, computed: Any, path: str = "") -> list[str]:
    """Return where two JSON values differ.

    Args:
        recorded: One value.
        computed: The other.
        path: Where they stand.

    Returns:
        Paths; numbers are equal or differ, whatever by.

    Example:
        >>> compare({"a": [1.0, "x"]}, {"a": [1, "y"]})
        ['a.1']
    """
    if isinstance(recorded, dict) and isinstance(computed, dict) and set(recorded) == set(computed):
        pairs = [(key, recorded[key], computed[key]) for key in recorded]
    elif isinstance(recorded, list) and isinstance(computed, list):
        if len(recorded) != len(computed):
            return [path]
        pairs = [
            (str(index), *values)
            for index, values in enumerate(zip(recorded, computed, strict=True))
        ]
    else:
        return [] if recorded == computed else [path]
    return [
        difference
        for key, one, other in pairs
        for difference in compare(one, other, f"{path}.{key}" if path else key)
    ]


def _other_version(record: Record) -> str:
    theirs = record.opening.runs[-1].libraries.get("kinprint") if record.opening.runs else None
    ours = environment_versions().get("kinprint")
    if theirs == ours:
        return ""
    return (
        f"; the record was made with Kinprint {theirs or 'of an unknown version'}, this is {ours}: "
        "verify it with that version, too"
    )


def record_plan(record: Record, bundle: BundleContents) -> Plan:
    """Return all that the audit of a record had to ask, whatever its budget."""
    settings = record.opening.settings
    try:
        capability = Capability[settings.get("capability", "")]
    except KeyError as error:
        raise SignatureInvalidError("settings: capability: unknown") from error
    return make_plan(bundle, record.opening.scores, capability)


def question_ids(plan: Plan, again: Sequence[QuestionGroup] = ()) -> list[str]:
    """Return the ids of a plan's questions in order, then those that are asked again."""
    groups = (*plan.groups, *again)
    return [group.question(index) for group in groups for index in range(group.num_questions)]


def _check_row(row: Row, images: Mapping[str, str], num_classes: int) -> None:
    if row.question not in images:
        raise SignatureInvalidError(f"{row.question}: the bundle has no such question")
    if row.image_sha256 != images[row.question]:
        raise SignatureInvalidError(f"{row.question}: asked with other pixels than the bundle's")
    if row.label >= num_classes:
        raise SignatureInvalidError(
            f"{row.question}: label: expected at most {num_classes - 1}, got {row.label}"
        )
    values = row.answer.log_probabilities
    if values is not None and len(values) != num_classes:
        raise SignatureInvalidError(
            f"{row.question}: log_probabilities: expected {num_classes}, got {len(values)}"
        )


def _check_succession(last: Row, row: Row, positions: Mapping[str, int]) -> None:
    if row.sequence <= last.sequence or row.run < last.run:
        raise SignatureInvalidError(
            f"{row.question}: sequence: expected the rows in the order of asking"
        )
    # A resumed run goes back to questions that the interruption left without an answer.
    if row.run == last.run and positions.get(row.question, -1) <= positions.get(last.question, -1):
        raise SignatureInvalidError(
            f"{row.question}: asked after {last.question}, against the bundle's order"
        )


def _utc_text(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
