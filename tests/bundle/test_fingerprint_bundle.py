"""Bundles of other methods than MFUE: audit, record, verification, calibration, report, sheet."""

import dataclasses
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from worlds.bundle_builder import OWNER_KEY, small_contents
from worlds.fingerprint_builder import SCORES, fingerprint_bundle, random_rule, soft
from worlds.record_builder import (
    AUDITOR_KEY,
    NUM_CONTROLS,
    NUM_QUERIES,
    TRUST,
    FakeSuspect,
    copy_rule,
    draft_id,
)

from adapters.suspect import REFUSED, Capability, Predictions
from audit.answer import Answer
from audit.asking.events import Finished
from audit.asking.options import AuditOptions
from audit.asking.plan import make_plan
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.bundle.inspection import inspect_bundle
from audit.bundle.manifest import BundleContents
from audit.calibrating.bundle_faults import bundle_faults
from audit.calibrating.model_folder import PanelAnswers
from audit.calibrating.recalibrate import NewModel, outliers, recalibrate
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.records.check import Status
from audit.records.from_journal import draft_record
from audit.records.record import record_bytes, utc
from audit.records.verify import Result, verify_record
from audit.report.contact_sheet import contact_sheet
from audit.report.data import report_data
from audit.report.write import render_html, render_markdown
from audit.scores.comparison import whole_scores
from audit.scores.query_budget import query_budget
from audit.scores.sample_correlation import probability_similarity
from audit.verdict.judge import judge, score_thresholds
from audit.verdict.outcome import Outcome, Verdict
from audit.verdict.rule import bundle_rule

Rule = Callable[[str, int, int], int]
RULES: tuple[tuple[Rule, Verdict], ...] = (
    (copy_rule, Verdict.DERIVED),
    (random_rule, Verdict.INDEPENDENT),
)


class SoftSuspect(FakeSuspect):
    """Tells probabilities, too."""

    capability = Capability.PROBABILITIES

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        labels = super().predict(images).labels
        rows = soft(labels)
        return Predictions(labels=labels, log_probabilities=rows)


def audited(
    tmp_path: Path,
    bundle: BundleContents,
    suspect: FakeSuspect,
    scores: tuple[str, ...] = (),
    *,
    stop_early: bool = False,
) -> tuple[Outcome, Path]:
    """Audit, and write the signed record."""
    journal = Journal(tmp_path / "journal.sqlite")
    try:
        *_, last = AuditSession(
            bundle, suspect, journal, AuditOptions(scores=scores, stop_early=stop_early)
        ).run()
        assert isinstance(last, Finished)
        draft = draft_record(journal, draft_id(journal))
    finally:
        journal.close()
    record = tmp_path / "audit.kinrecord"
    record.write_bytes(record_bytes(draft, AUDITOR_KEY, written=utc(time.time())))
    return last.outcome, record


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(("answering", "verdict"), RULES)
def test_a_copy_is_derived_a_stranger_is_not_and_the_record_recomputes_to_the_digit(
    tmp_path: Path, score: str, answering: Rule, verdict: Verdict
) -> None:
    path = tmp_path / "b.kinprint"
    bundle = fingerprint_bundle(path, score)
    outcome, record = audited(tmp_path, bundle, FakeSuspect(bundle, answering))
    assert outcome.verdict is verdict
    (found,) = outcome.scores
    assert (found.name, found.access, found.num_queries) == (score, "labels", NUM_QUERIES)
    assert (found.value == 1.0) == (verdict is Verdict.DERIVED)
    verification = verify_record(record, path, TRUST)
    assert verification.result is Result.HOLDS, verification.checks
    assert verification.outcome == outcome


@pytest.mark.parametrize(("answering", "verdict"), RULES)
def test_an_audit_by_matching_rate_stops_early_and_its_record_holds(
    tmp_path: Path, answering: Rule, verdict: Verdict
) -> None:
    path = tmp_path / "b.kinprint"
    bundle = fingerprint_bundle(path, "matching-rate")
    suspect = FakeSuspect(bundle, answering)
    suspect.batch_size = 1
    outcome, record = audited(tmp_path, bundle, suspect, stop_early=True)
    (score,) = outcome.scores
    assert outcome.verdict is verdict
    assert score.num_queries < NUM_QUERIES
    assert score.stopped_early
    verification = verify_record(record, path, TRUST)
    assert verification.result is Result.HOLDS, verification.checks
    assert verification.outcome == outcome


@pytest.mark.parametrize("score", ["trajectory-rate", "sample-correlation"])
def test_a_score_that_is_no_mean_asks_all_its_queries(tmp_path: Path, score: str) -> None:
    bundle = fingerprint_bundle(tmp_path / "b.kinprint", score)
    suspect = FakeSuspect(bundle, copy_rule)
    outcome, _ = audited(tmp_path, bundle, suspect, stop_early=True)
    (found,) = outcome.scores
    assert (found.num_queries, found.stopped_early) == (NUM_QUERIES, False)


def test_probabilities_are_used_where_suspect_and_bundle_have_them(tmp_path: Path) -> None:
    path = tmp_path / "b.kinprint"
    bundle = fingerprint_bundle(path, "sample-correlation")
    outcome, record = audited(tmp_path, bundle, SoftSuspect(bundle, copy_rule))
    (score,) = outcome.scores
    assert (score.access, score.value, score.verdict) == ("probabilities", 1.0, Verdict.DERIVED)
    assert verify_record(record, path, TRUST).outcome == outcome
    labels = {
        f"{kind}/{index}": Answer(label=int(label), log_probabilities=None)
        for kind, known in (
            ("control", bundle.arrays.control_labels),
            ("query", bundle.arrays.source_query_labels),
        )
        for index, label in enumerate(known)
    }
    (from_labels,) = judge(bundle, labels, ("sample-correlation",)).scores
    assert from_labels.access == "labels"
    assert from_labels.derived_above != score.derived_above  # each kind has its own calibration


@pytest.mark.parametrize("score", SCORES)
def test_refusing_every_query_never_looks_derived_nor_independent(
    tmp_path: Path, score: str
) -> None:
    bundle = fingerprint_bundle(tmp_path / "b.kinprint", score)
    suspect = FakeSuspect(
        bundle, lambda kind, index, label: label if kind == "control" else REFUSED
    )
    outcome, _ = audited(tmp_path, bundle, suspect)
    (found,) = outcome.scores
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert found.num_queries == found.num_refused == NUM_QUERIES
    assert "refused 100% of the queries" in outcome.text


def test_thresholds_are_set_by_probabilities_where_suspects_are_compared_by_them(
    tmp_path: Path,
) -> None:
    bundle = fingerprint_bundle(tmp_path / "b.kinprint", "sample-correlation")
    arrays, models = bundle.arrays, bundle.manifest.calibration_models
    scores = probability_similarity(
        arrays.model_query_log_probabilities, arrays.source_query_log_probabilities
    )
    roles = np.array([model.role for model in models])
    innocent, derived = scores[roles == "innocent"], scores[roles == "derived"]
    # alpha = beta = 0.05 of 21 innocents and 20 derived models allow none beyond the bounds, which
    # are therefore the highest innocent and the lowest derived score.
    kinds = np.array([model.stratum for model in models])[roles == "derived"]
    nearest = min(np.median(derived[kinds == kind]) for kind in set(kinds))
    above = (innocent.max() + nearest) / 2
    below = min((derived.min() + np.median(innocent)) / 2, innocent.max())
    whole = whole_scores(bundle, "sample-correlation", with_probabilities=True)
    found = score_thresholds(bundle, bundle_rule(bundle.manifest), whole)
    assert (found.derived_above, found.independent_below) == pytest.approx((above, below))


@pytest.mark.parametrize("score", ["matching-rate", "trajectory-rate"])
def test_answers_at_chance_where_strangers_agree_are_evasive(tmp_path: Path, score: str) -> None:
    usual = fingerprint_bundle(tmp_path / "b.kinprint", score)
    arrays = usual.arrays
    is_innocent = np.array(
        [model.role == "innocent" for model in usual.manifest.calibration_models]
    )
    # Innocents all say one class further; the suspect says two further, as nobody else does.
    labels = arrays.model_query_labels.copy()
    labels[is_innocent] = (arrays.source_query_labels + 1) % 4
    bundle = dataclasses.replace(
        usual, arrays=dataclasses.replace(arrays, model_query_labels=labels)
    )
    answers = {
        **{
            f"control/{index}": Answer(label=int(label), log_probabilities=None)
            for index, label in enumerate(arrays.control_labels)
        },
        **{
            f"query/{index}": Answer(label=int(label + 2) % 4, log_probabilities=None)
            for index, label in enumerate(arrays.source_query_labels)
        },
    }
    (found,) = judge(bundle, answers, (score,)).scores
    assert found.is_evasive
    assert found.verdict is Verdict.INCONCLUSIVE


def test_several_scores_ask_the_queries_once(tmp_path: Path) -> None:
    bundle = fingerprint_bundle(tmp_path / "b.kinprint", "sample-correlation")
    plan = make_plan(bundle, SCORES, Capability.LABELS)
    assert plan.num_questions == NUM_CONTROLS + NUM_QUERIES
    outcome, _ = audited(tmp_path, bundle, FakeSuspect(bundle, copy_rule), scores=SCORES)
    assert [(one.name, one.value) for one in outcome.scores] == [(name, 1.0) for name in SCORES]


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("likelihood-ratio", "likelihood-ratio needs the derived models' probabilities"),
        ("mfue-w", "mfue-w needs triggers"),
        ("mfue-b", "mfue-b needs probes"),
    ],
)
def test_a_score_that_the_bundle_has_nothing_for_is_refused(
    tmp_path: Path, score: str, message: str
) -> None:
    bundle = fingerprint_bundle(tmp_path / "b.kinprint", "matching-rate")
    with pytest.raises(AuditError, match=message):
        make_plan(bundle, (score,), Capability.PROBABILITIES)


def test_any_bundle_with_queries_can_be_asked_for_its_matching_rate() -> None:
    plan = make_plan(small_contents(), ("likelihood-ratio", "matching-rate"), Capability.LABELS)
    assert [group.kind for group in plan.groups] == ["control", "query"]


def new_model(bundle: BundleContents, labels: NDArray[np.int64], name: str) -> NewModel:
    num = len(bundle.arrays.source_query_log_probabilities)
    answers = PanelAnswers(
        name=name,
        path=Path(f"{name}.onnx"),
        digest="0" * 60 + name[-4:].rjust(4, "0"),
        control_accuracy=1.0,
        control_labels=bundle.arrays.control_labels,
        query_labels=labels,
        query_log_probabilities=soft(labels)[:num],
        ranking=np.empty((len(labels), 0), np.int64),
        trigger_losses=np.empty(0),
        probe_hits=np.empty(0, np.int64),
    )
    return NewModel(role="innocent", stratum="new", lineage=None, answers=answers)


@pytest.mark.parametrize("score", SCORES)
def test_new_innocents_calibrate_and_a_copy_among_them_is_found(tmp_path: Path, score: str) -> None:
    bundle = fingerprint_bundle(tmp_path / "b.kinprint", score)
    rng = np.random.default_rng(0)
    innocents = [
        new_model(bundle, rng.integers(0, 4, NUM_QUERIES), f"{number:04d}") for number in range(8)
    ]
    copy = new_model(bundle, bundle.arrays.source_query_labels, "9999")
    assert outliers(bundle, [*innocents, copy]) == [copy]
    made = recalibrate(
        bundle,
        innocents,
        alpha=0.04,
        beta=None,
        report_share=0.25,
        created="2026-01-01T00:00:00Z",
    )
    assert made.false_positives is not None
    assert (made.false_positives.num_wrong, made.false_positives.num_models) == (0, 2)
    write_bundle(tmp_path / "more.kinprint", made.manifest, made.arrays, OWNER_KEY)
    more = read_bundle(tmp_path / "more.kinprint", TRUST)
    assert len(more.arrays.model_query_labels) == len(bundle.arrays.model_query_labels) + 6
    outcome, _ = audited(tmp_path, more, FakeSuspect(more, copy_rule))
    assert outcome.verdict is Verdict.DERIVED


def test_inspection_counts_groups(tmp_path: Path) -> None:
    path = tmp_path / "b.kinprint"
    fingerprint_bundle(path, "trajectory-rate")
    assert dict(inspect_bundle(path, TRUST).rows())["queries"] == "24 in 8 groups"
    fingerprint_bundle(path, "matching-rate")
    assert dict(inspect_bundle(path, TRUST).rows())["queries"] == "24"


@pytest.mark.parametrize("score", SCORES)
def test_a_bundle_without_triggers_has_no_faults_for_that(tmp_path: Path, score: str) -> None:
    assert bundle_faults(fingerprint_bundle(tmp_path / "b.kinprint", score)) == ()


def test_the_budget_curve_of_matching_rates_is_a_running_mean(tmp_path: Path) -> None:
    bundle = fingerprint_bundle(tmp_path / "b.kinprint", "matching-rate")
    curve = query_budget(bundle)
    assert curve is not None
    roles = np.array([model.role for model in bundle.manifest.calibration_models])
    matches = bundle.arrays.model_query_labels == bundle.arrays.source_query_labels
    assert curve.innocent_max[-1] == matches[roles == "innocent"].mean(axis=1).max()
    assert curve.derived_min[-1] == matches[roles == "derived"].mean(axis=1).min()


@pytest.mark.parametrize(
    ("score", "words"),
    [
        ("matching-rate", ("This share is what the test compares", "Matching rate: the share")),
        ("trajectory-rate", ("The test counts the series of images", "less than half of its")),
        ("sample-correlation", ("which images are answered alike", "mean difference between")),
    ],
)
def test_a_report_explains_the_score_and_shows_answers(
    tmp_path: Path, score: str, words: tuple[str, str]
) -> None:
    path = tmp_path / "b.kinprint"
    bundle = fingerprint_bundle(path, score)
    _, record = audited(tmp_path, bundle, FakeSuspect(bundle, copy_rule))
    data = report_data(record, path, TRUST)
    page = render_html(data)
    for text in words:
        assert text in page
    assert "nats" not in page
    # The running mean is drawn for the score that is one; matches are shown for all of them.
    assert ("matching rate settles" in page) == (score == "matching-rate")
    assert page.count('<li><img src="data:image/png') == 12
    assert f"| {score} | 1.0000 |" in render_markdown(data)


def test_the_most_telling_matches_are_those_that_innocents_rarely_make(tmp_path: Path) -> None:
    path = tmp_path / "b.kinprint"
    bundle = fingerprint_bundle(path, "matching-rate")
    _, record = audited(tmp_path, bundle, FakeSuspect(bundle, copy_rule))
    telling = [query.index for query in report_data(record, path, TRUST).telling]
    is_innocent = [model.role == "innocent" for model in bundle.manifest.calibration_models]
    matches = bundle.arrays.model_query_labels[is_innocent] == bundle.arrays.source_query_labels
    rates = matches.mean(axis=0)
    assert [rates[index] for index in telling] == sorted(rates)[:12]


def test_the_contact_sheet_shows_queries_beside_their_carriers(tmp_path: Path) -> None:
    bundle = fingerprint_bundle(tmp_path / "b.kinprint", "trajectory-rate")
    with Image.open(io.BytesIO(contact_sheet(bundle))) as image:
        pixels = np.asarray(image.convert("RGB"))
    # margin 12, three headings of 16 + 4, then tiles of 8 x 8 pixels enlarged 8 times
    row = pixels[12 + 3 * 20 : 12 + 3 * 20 + 64 : 8, 12:]
    tiles = [row[:, start : start + 64 : 8] for start in (0, 68, 136)]
    carrier, query = bundle.arrays.query_carriers[0], bundle.arrays.queries[0]
    # queries differ from carriers by 8 everywhere, and 127 // 8 = 15
    difference = np.where(query > carrier, 128 + 8 * 15, 128 - 8 * 15)
    for tile, expected in zip(tiles, (carrier, query, difference), strict=True):
        np.testing.assert_array_equal(tile, expected)


def test_natural_queries_stand_alone_on_the_contact_sheet(tmp_path: Path) -> None:
    bundle = fingerprint_bundle(tmp_path / "b.kinprint", "matching-rate")
    natural = dataclasses.replace(
        bundle,
        arrays=dataclasses.replace(bundle.arrays, query_carriers=bundle.arrays.queries),
    )
    with Image.open(io.BytesIO(contact_sheet(natural))) as image:
        alone = image.size
    with Image.open(io.BytesIO(contact_sheet(bundle))) as image:
        assert image.size[1] > alone[1]


def test_a_record_whose_deciding_score_is_not_the_bundles_says_so(tmp_path: Path) -> None:
    path = tmp_path / "b.kinprint"
    bundle = fingerprint_bundle(path, "trajectory-rate")
    _, record = audited(tmp_path, bundle, FakeSuspect(bundle, copy_rule), scores=("matching-rate",))
    checks = {check.name: check for check in verify_record(record, path, TRUST).checks}
    assert checks["deciding score"].status is Status.OPEN
    assert "the bundle names 'trajectory-rate'" in checks["deciding score"].text
