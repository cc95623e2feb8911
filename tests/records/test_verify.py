"""Verification: what holds, what is refused, what is told as not checked."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from worlds.bundle_builder import GOLDEN, OWNER_KEY, small_contents
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    GOLDEN_RECORD,
    STARTED,
    TRUST,
    audited_bundle,
    audited_contents,
    completed,
    copy_rule,
    fixed_draft,
    forged,
    innocent_rule,
    interrupted,
    signed,
)

from audit.records.against_bundle import check_deciding_score, compare
from audit.records.check import Status
from audit.records.record import Draft, State, parse_record, utc
from audit.records.verify import (
    LIMITS,
    OWNER_IS_AUDITOR,
    Result,
    Verification,
    verify_record,
)
from audit.signing.keys import Trust
from audit.verdict.outcome import Verdict

Lines = list[dict[str, object]]
LATER = STARTED + 3600


def verified(
    tmp_path: Path, data: bytes, bundle: Path = GOLDEN_BUNDLE, trust: Trust = TRUST
) -> Verification:
    path = tmp_path / "test.kinrecord"
    path.write_bytes(data)
    return verify_record(path, bundle, trust, now=LATER)


def failure(verification: Verification) -> tuple[str, str]:
    assert verification.result is Result.REFUSED
    (found,) = [check for check in verification.checks if check.status is Status.FAILED]
    return found.name, found.text


def refused(tmp_path: Path, change: Callable[[Lines], None]) -> tuple[str, str]:
    """Return name and text of the check that fails on a record forged with the auditor's key."""
    return failure(verified(tmp_path, forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY)))


def test_the_golden_record_holds_and_gives_its_verdict_again(tmp_path: Path) -> None:
    verification = verified(tmp_path, GOLDEN_RECORD.read_bytes())
    assert verification.result is Result.HOLDS
    assert verification.outcome is not None
    assert verification.outcome.verdict is Verdict.DERIVED
    # No innocent of 21 scores as high: p = 1 / 22
    assert verification.outcome.scores[0].p_value == 1 / 22


@pytest.mark.parametrize(
    ("rule", "verdict"), [(copy_rule, Verdict.DERIVED), (innocent_rule, Verdict.INDEPENDENT)]
)
def test_verdicts_are_recomputed_to_the_last_digit(
    tmp_path: Path, rule: Callable[[str, int, int], int], verdict: Verdict
) -> None:
    verification = verified(tmp_path, signed(fixed_draft(audited_contents(), rule)))
    assert verification.outcome is not None
    assert verification.outcome.verdict is verdict
    assert verification.record is not None
    assert verification.outcome == verification.record.closing.outcome
    (check,) = [check for check in verification.checks if check.name == "recomputation"]
    assert check.status is Status.HELD
    assert "every number equal to its last digit" in check.text


def test_what_cannot_be_shown_is_said_with_every_record(tmp_path: Path) -> None:
    verification = verified(tmp_path, GOLDEN_RECORD.read_bytes())
    # a file that another key than the owner's vouches for
    assert verification.limits == LIMITS
    assert any("nobody invented rows" in limit for limit in LIMITS)
    opened = {check.name for check in verification.checks if check.status is Status.OPEN}
    assert opened == {"timestamp of the bundle", "timestamp of the answers", "commitment"}


def test_a_record_that_the_owner_signed_is_called_the_owners_word(tmp_path: Path) -> None:
    data = signed(fixed_draft(audited_contents(), copy_rule), OWNER_KEY)
    assert verified(tmp_path, data).limits == (*LIMITS, OWNER_IS_AUDITOR)


def test_an_answer_changed_by_the_auditor_no_longer_gives_the_outcome(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        lines[12]["label"] = 1

    name, text = refused(tmp_path, change)
    assert name == "recomputation"
    assert "scores.0.value" in text


def test_a_verdict_changed_by_the_auditor_is_refused(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        outcome = lines[-1]["outcome"]
        assert isinstance(outcome, dict)
        outcome["verdict"] = "independent"

    name, text = refused(tmp_path, change)
    assert name == "recomputation"
    assert text.startswith("outcome: verdict: the recorded value does not follow")


def test_a_number_changed_in_its_ninth_digit_is_refused(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        outcome = lines[-1]["outcome"]
        assert isinstance(outcome, dict)
        outcome["scores"][0]["value"] *= 1 + 1e-9

    assert refused(tmp_path, change)[0] == "recomputation"


def test_a_number_changed_in_its_last_bit_is_refused(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        outcome = lines[-1]["outcome"]
        assert isinstance(outcome, dict)
        outcome["scores"][0]["value"] = math.nextafter(outcome["scores"][0]["value"], 9.0)

    name, text = refused(tmp_path, change)
    assert name == "recomputation"
    assert text == "outcome: scores.0.value: the recorded value does not follow from the answers"


def test_numbers_of_another_version_are_refused_with_the_advice_to_use_that_version(
    tmp_path: Path,
) -> None:
    def change(lines: Lines) -> None:
        runs, outcome = lines[0]["runs"], lines[-1]["outcome"]
        assert isinstance(runs, list)
        assert isinstance(outcome, dict)
        runs[0]["libraries"]["kinprint"] = "0.0.9"
        outcome["scores"][0]["value"] += 0.25

    _, text = refused(tmp_path, change)
    assert "the record was made with Kinprint 0.0.9, this is " in text
    assert text.endswith("verify it with that version, too")


def test_a_dropped_row_is_missed(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        del lines[12]
        lines[-1]["num_answers"] = 31

    name, text = refused(tmp_path, change)
    assert name == "completeness"
    assert text.startswith("query/3: expected an answer, got none")


def test_a_score_that_the_auditor_chose_is_told(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        settings = lines[0]["settings"]
        assert isinstance(settings, dict)
        settings["scores"] = "mfue-w,likelihood-ratio"

    record = parse_record(forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY), TRUST)
    check = check_deciding_score(record, audited_contents())
    assert check.status is Status.OPEN
    assert "'mfue-w' decides because the auditor chose it; the bundle names" in check.text


def cut_draft() -> Draft:
    """An audit of 8 control images and 20 of 24 queries, which calls itself complete."""
    bundle = audited_contents()
    draft = fixed_draft(bundle, copy_rule)
    run = draft.opening.runs[0].model_copy(update={"budget": 28})
    opening = draft.opening.model_copy(update={"runs": (run,)})
    return completed(dataclasses.replace(draft, opening=opening, rows=draft.rows[:28]), bundle)


def test_a_budget_that_ended_an_audit_leaves_it_incomplete(tmp_path: Path) -> None:
    cut = dataclasses.replace(cut_draft(), state=State.BUDGET)
    verification = verified(tmp_path, signed(cut))
    assert verification.result is Result.INCOMPLETE
    (text,) = [check.text for check in verification.checks if check.name == "completeness"]
    assert text == (
        "The budget of 28 questions ended the audit before it could decide; all of them are "
        "answered."
    )


def test_a_budget_that_ended_an_audit_is_no_complete_audit(tmp_path: Path) -> None:
    name, text = failure(verified(tmp_path, signed(cut_draft())))
    assert name == "end of asking"
    assert "because a budget of 28 questions ended the audit before it could decide" in text


def test_a_doubled_row_is_refused(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        lines.insert(12, dict(lines[12]))
        lines[-1]["num_answers"] = 33

    assert refused(tmp_path, change) == ("questions", "query/3: answered twice")


def test_rows_in_another_order_are_refused(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        lines[12], lines[13] = lines[13], lines[12]

    name, text = refused(tmp_path, change)
    assert name == "order of asking"
    assert "sequence: expected the rows in the order of asking" in text


def test_questions_asked_against_the_bundles_order_are_refused(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        lines[12], lines[13] = lines[13], lines[12]
        for field in ("sequence", "asked"):
            lines[12][field], lines[13][field] = lines[13][field], lines[12][field]

    name, text = refused(tmp_path, change)
    assert name == "order of asking"
    assert text == "query/3: asked after query/4, against the bundle's order"


def test_a_run_that_begins_before_the_last_one_ends_is_refused(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        runs = lines[0]["runs"]
        assert isinstance(runs, list)
        runs.append({**runs[0], "number": 2})
        lines[12]["run"] = 2  # and the rows behind it are of run 1 again

    name, text = refused(tmp_path, change)
    assert name == "order of asking"
    assert text == "query/4: sequence: expected the rows in the order of asking"


def test_an_answer_to_other_pixels_is_refused(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        lines[12]["image_sha256"] = "0" * 64

    assert refused(tmp_path, change) == (
        "questions",
        "query/3: asked with other pixels than the bundle's",
    )


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("question", "query/24", "the bundle has no such question"),
        ("question", "weather/0", "the bundle has no such question"),
        ("label", 4, "label: expected at most 3, got 4"),
        ("log_probabilities", "AAAAAAAAAAA=", "log_probabilities: expected 4, got 1"),
        ("log_probabilities", "AAAA", "expected base64 of float64 values"),
    ],
)
def test_a_row_that_the_bundle_cannot_have_is_refused(
    tmp_path: Path, field: str, value: object, told: str
) -> None:
    def change(lines: Lines) -> None:
        lines[12][field] = value

    name, text = refused(tmp_path, change)
    assert name == "questions"
    assert told in text


def test_a_manifest_that_differs_from_the_bundles_is_refused(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        bundle = lines[0]["bundle"]
        assert isinstance(bundle, dict)
        bundle["manifest"]["alpha"] = 0.1

    name, text = refused(tmp_path, change)
    assert name == "same bundle"
    assert "the record's copy is not the bundle's manifest" in text


def test_another_version_of_the_bundle_is_refused_by_both_identities(tmp_path: Path) -> None:
    other = audited_bundle(tmp_path / "other.kinprint", model_name="audited-test-model 2")
    name, text = failure(verified(tmp_path, GOLDEN_RECORD.read_bytes(), other))
    assert name == "same bundle"
    assert audited_contents().manifest_sha256 in text
    assert "another version" in text


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    data = bytearray(GOLDEN_BUNDLE.read_bytes())
    data[-2000] ^= 1
    path = tmp_path / "damaged.kinprint"
    path.write_bytes(data)
    name, _ = failure(verified(tmp_path, GOLDEN_RECORD.read_bytes(), path))
    assert name == "signature of the bundle"


def test_without_the_auditors_key_nothing_in_the_record_counts(tmp_path: Path) -> None:
    trust = Trust(keys=(OWNER_KEY.public_key,))
    verification = verified(tmp_path, GOLDEN_RECORD.read_bytes(), trust=trust)
    name, text = failure(verification)
    assert name == "signature of the record"
    assert f"its key {AUDITOR_KEY.public_key.key_id} is not trusted" in text
    assert verification.record is None
    assert verification.outcome is None


def test_a_record_from_the_future_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "future.kinrecord"
    path.write_bytes(GOLDEN_RECORD.read_bytes())
    name, text = failure(verify_record(path, GOLDEN_BUNDLE, TRUST, now=STARTED - 3600))
    assert name == "times"
    assert "expected a time not after 2025-01-01T11:00:00Z" in text


def test_times_that_run_backwards_are_refused(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        lines[12]["asked"] = utc(STARTED - 60)

    assert refused(tmp_path, change)[0] == "times"


def test_an_interrupted_audit_verifies_as_incomplete(tmp_path: Path) -> None:
    draft = interrupted(fixed_draft(audited_contents(), copy_rule), num_rows=20)
    verification = verified(tmp_path, signed(draft))
    assert verification.result is Result.INCOMPLETE
    assert verification.outcome is None
    texts = [check.text for check in verification.checks if check.name == "completeness"]
    assert texts == [
        "The audit was interrupted after 20 answers; the record is genuine but incomplete, and "
        "nothing follows from it."
    ]


def test_an_interrupted_audit_cannot_carry_a_verdict(tmp_path: Path) -> None:
    draft = fixed_draft(audited_contents(), copy_rule)
    interrupted = dataclasses.replace(draft, state=State.INTERRUPTED, ended_by=None)
    assert failure(verified(tmp_path, signed(interrupted)))[0] == "recomputation"


def test_a_record_with_too_few_queries_for_any_verdict_holds(tmp_path: Path) -> None:
    data = signed(fixed_draft(small_contents(), copy_rule))
    verification = verified(tmp_path, data, GOLDEN)
    assert verification.outcome is not None
    assert verification.outcome.verdict is Verdict.INCONCLUSIVE


def test_queries_asked_of_a_suspect_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        for line in lines[1:9]:
            label = line["label"]
            assert isinstance(label, int)
            line["label"] = (label + 1) % 4

    name, text = refused(tmp_path, change)
    assert name == "completeness"
    assert text == "query/0: expected no answer, because the control images end the audit"


def test_differences_between_outcomes_are_found_wherever_they_are() -> None:
    assert compare({"a": [1, {"b": "x"}]}, {"a": [1.25, {"b": "y"}]}) == ["a.0", "a.1.b"]
    assert compare({"a": 1}, {"b": 1}) == [""]
    assert compare([1], [1, 2]) == [""]
