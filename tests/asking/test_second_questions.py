"""Asking again: suspects that roll dice for queries, and honest ones that only look odd."""

from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import fisher_exact
from worlds.audit_world import (
    CONTROL,
    NUM_CONTROLS,
    NUM_QUERIES,
    QUERY,
    K,
    KnownSuspect,
    known_bundle,
)
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import AUDITOR_KEY, TRUST, audited_contents, draft_id, forged
from worlds.servers.vendor_server import vendor

from adapters.suspect import Capability, Predictions
from adapters.tariff import SpendingLimits
from audit.api import audit_suspect
from audit.asking.cost import Estimate
from audit.asking.events import Answered, Finished, Stopped
from audit.asking.options import AuditOptions
from audit.asking.plan import make_plan
from audit.asking.second_questions import NUM_REPEATS, num_possible_repeats
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.journal.journal import Journal
from audit.records.ask_again import ask_again
from audit.records.check import Status
from audit.records.from_journal import export_record
from audit.records.record import read_record
from audit.records.verify import Result, Verification, verify_record
from audit.report.question_view import question_view
from audit.suspects.opening import open_remote
from audit.tui.looking import looked_at
from audit.verdict.outcome import Outcome, Repeats, Verdict
from audit.verdict.p_values import fisher_p_value

NUM_AGAIN = NUM_CONTROLS + NUM_REPEATS
"""`known_bundle` has fewer control images than are asked again at most."""


def dice(share: float, honest: int = 1, seed: int = 7) -> Callable[[int, int], int]:
    """Answer any class to a share of the queries, anew each time, and else like an honest model."""
    rng = np.random.default_rng(seed)
    return lambda kind, index: int(rng.integers(K)) if rng.random() < share else honest


def hash_of_image(share: float) -> Callable[[int, int], int]:
    """Answer any class to a share of the queries, the same one whenever it is asked."""
    rng = np.random.default_rng(8)
    fixed = np.where(rng.random(NUM_QUERIES) < share, rng.integers(K, size=NUM_QUERIES), 1)
    return lambda kind, index: int(fixed[index])


class NoisyService(KnownSuspect):
    """An honest model that gives one in four images another class, whatever they are."""

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        labels = super().predict(images).labels
        for position in range(len(labels)):
            if self._rng.random() < 0.25:
                labels[position] = (labels[position] + 1) % K
        return Predictions(labels=labels)

    _rng = np.random.default_rng(9)


def audited(
    tmp_path: Path, suspect: KnownSuspect, *, budget: int | None = None, stop_early: bool = False
) -> Outcome:
    bundle, journal = known_bundle(), Journal(tmp_path / "journal.sqlite")
    options = AuditOptions(budget=budget, stop_early=stop_early)
    *_, last = AuditSession(bundle, suspect, journal, options).run()
    journal.close()
    assert isinstance(last, Finished)
    return last.outcome


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_a_suspect_that_rolls_dice_for_queries_is_evasive(tmp_path: Path, share: float) -> None:
    suspect = KnownSuspect(dice(share))

    outcome = audited(tmp_path, suspect)

    (score,) = outcome.scores
    assert score.repeats is not None
    assert (score.repeats.num_queries, score.repeats.num_controls) == (NUM_REPEATS, NUM_CONTROLS)
    assert score.repeats.num_controls_changed == 0 < score.repeats.num_queries_changed
    assert score.is_evasive
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert f"changed its answer to {score.repeats.num_queries_changed} of 20 queries" in (
        outcome.text
    )
    assert outcome.num_questions == NUM_CONTROLS + NUM_QUERIES + NUM_AGAIN
    assert suspect.asked[-NUM_AGAIN:] == [
        *((CONTROL, index) for index in range(NUM_CONTROLS)),
        *((QUERY, index) for index in range(NUM_REPEATS)),
    ]


def test_chance_level_counts_without_a_contradiction(tmp_path: Path) -> None:
    """A suspect that draws its answer from a hash of the image repeats itself."""
    outcome = audited(tmp_path, KnownSuspect(hash_of_image(1.0)))

    (score,) = outcome.scores
    assert score.repeats is not None
    assert score.repeats.num_queries_changed == 0
    assert score.is_evasive
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert "no more than chance would" in outcome.text


def test_odd_answers_that_stay_the_same_are_only_odd(tmp_path: Path) -> None:
    outcome = audited(tmp_path, KnownSuspect(hash_of_image(0.3)))

    (score,) = outcome.scores
    assert score.looks_random
    assert score.repeats is not None
    assert not score.is_evasive


def test_a_service_that_is_noisy_everywhere_is_not_evasive(tmp_path: Path) -> None:
    outcome = audited(tmp_path, NoisyService(lambda kind, index: 1))

    (score,) = outcome.scores
    assert score.repeats is not None
    assert score.repeats.num_queries_changed > 0 < score.repeats.num_controls_changed
    assert not score.is_evasive


def test_who_answers_like_a_copy_is_asked_nothing_again(tmp_path: Path) -> None:
    suspect = KnownSuspect(lambda kind, index: 0)

    outcome = audited(tmp_path, suspect)

    assert outcome.verdict is Verdict.DERIVED
    assert outcome.scores[0].repeats is None
    assert len(suspect.asked) == NUM_CONTROLS + NUM_QUERIES


def test_who_is_about_to_be_cleared_is_asked_the_first_queries_again(tmp_path: Path) -> None:
    suspect = KnownSuspect(lambda kind, index: 1)

    outcome = audited(tmp_path, suspect)

    assert outcome.verdict is Verdict.INDEPENDENT
    assert outcome.scores[0].repeats == Repeats(
        num_queries=3, num_queries_changed=0, num_controls=0, num_controls_changed=0, p_value=1.0
    )
    assert suspect.asked[NUM_CONTROLS + NUM_QUERIES :] == [(QUERY, 0), (QUERY, 1), (QUERY, 2)]


def test_a_derived_suspect_stays_derived_however_odd_the_rest(tmp_path: Path) -> None:
    suspect = KnownSuspect(lambda kind, index: 2 if index == 0 else 0)

    outcome = audited(tmp_path, suspect)

    assert outcome.verdict is Verdict.DERIVED
    assert outcome.scores[0].looks_random
    assert len(suspect.asked) == NUM_CONTROLS + NUM_QUERIES


@pytest.mark.parametrize(("budget", "num_again"), [(79, 0), (80, NUM_AGAIN)])
def test_nothing_is_asked_again_beyond_the_budget(
    tmp_path: Path, budget: int, num_again: int
) -> None:
    outcome = audited(tmp_path, KnownSuspect(dice(0.6)), budget=budget)

    assert outcome.num_questions == NUM_CONTROLS + NUM_QUERIES + num_again
    assert (outcome.scores[0].repeats is None) == (num_again == 0)


@pytest.mark.parametrize(("max_requests", "num_again"), [(40, 0), (60, 28)])
def test_what_may_be_asked_again_never_exhausts_a_limit_on_money(
    tmp_path: Path, max_requests: int, num_again: int
) -> None:
    rng, bundle = np.random.default_rng(10), audited_contents()

    def rule(kind: str, index: int, label: int) -> int:
        return label if kind == "control" else int(rng.integers(4))

    with vendor(bundle, rule) as server:
        path = server.endpoint_file(tmp_path / "vendor.toml", "concurrency = 1")
        with closing(open_remote(bundle, path)) as suspect:
            outcome = audit_suspect(
                bundle,
                suspect,
                limits=SpendingLimits(max_requests=max_requests),
                stop_early=False,
                journal=tmp_path / "journal.sqlite",
            )

    assert outcome.num_questions == 32 + num_again
    assert outcome.scores[0].is_evasive


def test_dice_are_noticed_before_an_early_stop_calls_them_independent(tmp_path: Path) -> None:
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        outcome = audited(folder, KnownSuspect(dice(1.0, seed=seed)), stop_early=True)
        assert outcome.verdict is not Verdict.INDEPENDENT


def test_the_events_count_what_is_asked_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    events = list(AuditSession(known_bundle(), KnownSuspect(dice(0.6)), journal).run())

    last = [event for event in events if isinstance(event, Answered)][-1]
    assert last.questions == ("again/query/19",)
    assert last.num_answered == last.num_questions == NUM_CONTROLS + NUM_QUERIES + NUM_AGAIN


def test_an_audit_that_is_stopped_while_asking_again_goes_on_there(tmp_path: Path) -> None:
    bundle, journal = known_bundle(), Journal(tmp_path / "journal.sqlite")
    events = AuditSession(bundle, KnownSuspect(dice(0.6)), journal).run()
    first = list(islice(events, 1 + NUM_CONTROLS + 1 + NUM_QUERIES + 12))
    del events
    assert isinstance(first[-1], Answered)
    assert first[-1].questions[0].startswith("again/")

    suspect = KnownSuspect(dice(1.0))
    *_, last = AuditSession(bundle, suspect, journal, AuditOptions(resume=True)).run()

    assert isinstance(last, Finished)
    assert len(suspect.asked) < NUM_AGAIN
    assert last.outcome.scores[0].repeats is not None
    assert last.outcome.scores[0].repeats.num_queries == NUM_REPEATS
    assert not any(isinstance(event, Stopped) for event in first)


def record_of(tmp_path: Path, suspect: KnownSuspect) -> tuple[Path, Path]:
    known, path = known_bundle(), tmp_path / "known.kinprint"
    write_bundle(path, known.manifest, known.arrays, OWNER_KEY)
    journal = Journal(tmp_path / "journal.sqlite")
    list(AuditSession(read_bundle(path, TRUST), suspect, journal).run())
    out = tmp_path / "out.kinrecord"
    export_record(journal, draft_id(journal), out, AUDITOR_KEY)
    journal.close()
    return out, path


def failure(verification: Verification) -> tuple[str, str]:
    assert verification.result is Result.REFUSED
    (found,) = [check for check in verification.checks if check.status is Status.FAILED]
    return found.name, found.text


def test_a_record_keeps_second_answers_and_verify_computes_with_them(tmp_path: Path) -> None:
    record, bundle = record_of(tmp_path, KnownSuspect(dice(0.6)))

    verification = verify_record(record, bundle, TRUST)

    assert verification.result is Result.HOLDS
    assert verification.outcome is not None
    assert verification.outcome.scores[0].is_evasive
    questions = [row.question for row in read_record(record, TRUST).rows]
    assert questions[-1] == "again/query/19"
    assert sum(question.startswith("again/") for question in questions) == NUM_AGAIN


def test_a_record_without_the_second_answers_that_were_due_is_refused(tmp_path: Path) -> None:
    record, bundle = record_of(tmp_path, KnownSuspect(dice(0.6)))
    changed = tmp_path / "changed.kinrecord"

    def drop_second_answers(lines: list[dict[str, object]]) -> None:
        lines[:] = [one for one in lines if not str(one.get("question")).startswith("again/")]
        lines[-1]["num_answers"] = NUM_CONTROLS + NUM_QUERIES

    changed.write_bytes(forged(record.read_bytes(), drop_second_answers, AUDITOR_KEY))

    name, text = failure(verify_record(changed, bundle, TRUST))
    assert name == "completeness"
    assert "again/control/0: expected an answer" in text


def test_second_answers_that_were_changed_do_not_give_the_recorded_outcome(tmp_path: Path) -> None:
    record, bundle = record_of(tmp_path, KnownSuspect(dice(0.6)))
    changed = tmp_path / "changed.kinrecord"

    def agree(lines: list[dict[str, object]]) -> None:
        first = {one["question"]: one["label"] for one in lines if "question" in one}
        for one in lines:
            if str(one.get("question")).startswith("again/"):
                one["label"] = first[str(one["question"]).removeprefix("again/")]

    changed.write_bytes(forged(record.read_bytes(), agree, AUDITOR_KEY))

    name, _ = failure(verify_record(changed, bundle, TRUST))
    assert name == "recomputation"


def test_a_record_with_second_answers_can_be_asked_again(tmp_path: Path) -> None:
    suspect = KnownSuspect(hash_of_image(0.3))
    record, bundle = record_of(tmp_path, suspect)
    asked = ask_again(read_record(record, TRUST), read_bundle(bundle, TRUST), suspect)

    assert asked.differences == ()


def test_a_question_that_is_asked_again_shows_the_same_image() -> None:
    bundle = known_bundle()

    again, first = (question_view(bundle, f"{prefix}query/3") for prefix in ("again/", ""))

    assert np.array_equal(again.image, first.image)
    assert again.source_label == first.source_label
    assert looked_at(bundle, "again/query/3", 0).title == "query 3, again"


def test_the_estimate_says_what_may_be_asked_again() -> None:
    plan = make_plan(known_bundle(), ("likelihood-ratio",), Capability.LABELS)
    by_probes = make_plan(known_bundle(), ("mfue-b",), Capability.LABELS)

    assert num_possible_repeats(plan) == NUM_AGAIN
    assert num_possible_repeats(by_probes) == 0
    told = Estimate(
        num_questions=50,
        num_repeats=30,
        num_requests=50,
        seconds=None,
        cost=Decimal(0),
        currency="",
    ).text
    assert "up to 30 if its answers change or look random" in told


@pytest.mark.parametrize("counts", [(7, 20, 0, 20), (3, 20, 2, 10), (0, 5, 5, 5), (5, 5, 5, 5)])
def test_fishers_p_value_is_the_exact_one(counts: tuple[int, int, int, int]) -> None:
    hits, trials, other, others = counts
    table = [[hits, trials - hits], [other, others - other]]

    expected = fisher_exact(table, alternative="greater").pvalue

    assert fisher_p_value(*counts) == pytest.approx(expected)
