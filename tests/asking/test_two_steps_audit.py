"""An audit in two steps, from the first question to a verified record and its report."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.audit_world import CONTROL, NUM_CONTROLS, NUM_QUERIES, QUERY, KnownSuspect
from worlds.bundle_builder import OWNER_KEY, OWNER_TRUST, STRANGER_KEY
from worlds.line_up_world import LINE_UP_TAG, LineUpWorld

from audit.asking.events import AuditEvent, Started
from audit.asking.options import AuditOptions
from audit.asking.run import run_audit
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.bundle.inspection import inspect_bundle
from audit.bundle.line_up import LineUp
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.records.check import Status
from audit.records.from_journal import draft_record
from audit.records.record import record_bytes, utc, write_record
from audit.records.verify import Result, Verification, verify_record
from audit.report.data import report_data
from audit.report.write import render_html, render_junit, render_markdown
from audit.signing.keys import Trust
from audit.sweep.tasks import SweepSettings
from audit.verdict.outcome import Outcome, Verdict

TRUST = Trust(keys=(OWNER_KEY.public_key, STRANGER_KEY.public_key))
EARLY = AuditOptions(stop_early=True)
COPY, STRANGE = 0, 1


@pytest.fixture(scope="module")
def world() -> LineUpWorld:
    return LineUpWorld(num_questions=200)


@pytest.fixture(scope="module")
def bundle_path(world: LineUpWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle, path = world.stepped, tmp_path_factory.mktemp("bundle") / "b.kinprint"
    write_bundle(path, bundle.manifest, bundle.arrays, OWNER_KEY, bundle.line_up)
    return path


@pytest.fixture(scope="module")
def bundle(bundle_path: Path) -> BundleContents:
    return read_bundle(bundle_path, OWNER_TRUST)


def suspect_of(
    log_probabilities: NDArray[np.float64], *, query_label: int, **options: int
) -> KnownSuspect:
    labels = log_probabilities.argmax(axis=-1)
    return KnownSuspect(
        lambda kind, index: int(labels[index]) if kind == LINE_UP_TAG else query_label, **options
    )


def num_asked(suspect: KnownSuspect, kind: int) -> int:
    return sum(asked == kind for asked, _ in suspect.asked)


def audited(
    bundle: BundleContents, suspect: KnownSuspect, folder: Path, options: AuditOptions = EARLY
) -> tuple[Outcome, str]:
    names: list[str] = []

    def hear(event: AuditEvent) -> None:
        if isinstance(event, Started):
            names.append(event.audit)

    folder.mkdir(exist_ok=True)
    with closing(Journal(folder / "journal.sqlite")) as journal:
        outcome = run_audit(journal, bundle, suspect, options, on_event=hear)
    return outcome, names[0]


def recorded(folder: Path, audit: str) -> Path:
    path = folder / "r.kinrecord"
    with closing(Journal(folder / "journal.sqlite")) as journal:
        draft = draft_record(journal, audit)
        write_record(path, record_bytes(draft, STRANGER_KEY, written=utc(time.time())))
    return path


def failures(found: Verification) -> list[str]:
    return [check.text for check in found.checks if check.status is Status.FAILED]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_copy_is_asked_no_question_of_the_line_up(
    world: LineUpWorld, bundle: BundleContents, tmp_path: Path, concurrency: int
) -> None:
    suspect = suspect_of(world.derived(0), query_label=COPY, concurrency=concurrency)
    outcome, _ = audited(bundle, suspect, tmp_path)
    assert outcome.verdict is Verdict.DERIVED
    assert num_asked(suspect, LINE_UP_TAG) == 0
    # five answers are the fewest that accuse; what was under way by then is all that follows
    assert 5 <= num_asked(suspect, QUERY) < 5 + concurrency


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_student_is_asked_on_until_somebody_leads(
    world: LineUpWorld, bundle: BundleContents, tmp_path: Path, concurrency: int
) -> None:
    suspect = suspect_of(world.derived(0), query_label=STRANGE, concurrency=concurrency)
    outcome, _ = audited(bundle, suspect, tmp_path)
    assert outcome.verdict is Verdict.DERIVED
    assert outcome.steps is not None
    assert outcome.steps.decided_by == "line-up"
    kinds = [kind for kind, _ in suspect.asked]
    # Controls, then crafted queries, then the line-up: nothing is mixed.
    assert kinds == sorted(kinds, key=[CONTROL, QUERY, LINE_UP_TAG].index)
    stop = outcome.scores[0].stopped_after
    assert stop is not None
    assert stop <= num_asked(suspect, LINE_UP_TAG) < stop + concurrency


@pytest.mark.parametrize("stop_early", [True, False])
@pytest.mark.parametrize(
    ("of", "query_label", "verdict"),
    [
        (lambda world: world.innocent(), COPY, Verdict.DERIVED),
        (lambda world: world.derived(0), STRANGE, Verdict.DERIVED),
        (lambda world: world.innocent(), STRANGE, Verdict.INDEPENDENT),
    ],
)
def test_a_record_of_two_steps_is_computed_again(
    world: LineUpWorld,
    bundle: BundleContents,
    bundle_path: Path,
    tmp_path: Path,
    of: Callable[[LineUpWorld], NDArray[np.float64]],
    query_label: int,
    verdict: Verdict,
    stop_early: bool,
) -> None:
    suspect = suspect_of(of(world), query_label=query_label)
    outcome, audit = audited(bundle, suspect, tmp_path, AuditOptions(stop_early=stop_early))
    assert outcome.verdict is verdict
    found = verify_record(recorded(tmp_path, audit), bundle_path, TRUST)
    assert found.result is Result.HOLDS, failures(found)
    told = {check.name: check for check in found.checks}
    assert told["deciding score"].text == (
        "'likelihood-ratio', then 'line-up' decides, as the bundle says."
    )
    assert told["error rates"].status is Status.HELD
    assert "alpha 0.15 (0.1 for the crafted queries, 0.05 for the line-up)" in (
        told["error rates"].text
    )


def test_a_record_that_leaves_the_second_step_out_is_refused(
    world: LineUpWorld, bundle: BundleContents, bundle_path: Path, tmp_path: Path
) -> None:
    _, audit = audited(bundle, suspect_of(world.derived(0), query_label=STRANGE), tmp_path)
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        draft = draft_record(journal, audit)
    kept = [row for row in draft.rows if not str(row["question"]).startswith("line-up/")]
    path = tmp_path / "cut.kinrecord"
    cut = replace(draft, rows=tuple(kept))
    write_record(path, record_bytes(cut, STRANGER_KEY, written=utc(time.time())))
    found = verify_record(path, bundle_path, TRUST)
    assert found.result is Result.REFUSED
    # The line-up's 200 questions, and three queries again of one that is not called derived.
    assert any("got none; 203 answers are missing" in text for text in failures(found))


def test_a_report_shows_both_steps(
    world: LineUpWorld, bundle: BundleContents, bundle_path: Path, tmp_path: Path
) -> None:
    _, audit = audited(bundle, suspect_of(world.derived(0), query_label=STRANGE), tmp_path)
    data = report_data(recorded(tmp_path, audit), bundle_path, TRUST)
    page = render_html(data)
    assert "The suspect has learnt from the source" in page
    for figure in ("scores-alt", "race-alt", "evidence-alt"):
        assert f'id="{figure}"' in page
    assert page.index('id="scores-alt"') < page.index('id="race-alt"')
    assert "Step one: " in page
    assert "step one in at most 10.0% and step two in at most 5.0% of cases" in page
    assert "Step two. " in render_markdown(data)
    assert 'type="derived"' in render_junit(data)


def test_the_budget_covers_both_steps(
    world: LineUpWorld, bundle: BundleContents, bundle_path: Path, tmp_path: Path
) -> None:
    """Step one stops after 20 of 40 queries for a stranger; what it leaves is the line-up's."""
    strange = world.derived(0)
    whole = suspect_of(strange, query_label=STRANGE)
    expected, _ = audited(bundle, whole, tmp_path / "whole")
    first = num_asked(whole, QUERY)
    assert first < NUM_QUERIES
    suspect = suspect_of(strange, query_label=STRANGE)
    budget = NUM_CONTROLS + first + 12
    cut = AuditOptions(stop_early=True, budget=budget)
    outcome, audit = audited(bundle, suspect, tmp_path / "cut", cut)
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert len(suspect.asked) <= budget
    assert num_asked(suspect, LINE_UP_TAG) >= 12
    found = verify_record(recorded(tmp_path / "cut", audit), bundle_path, TRUST)
    assert found.result is Result.INCOMPLETE, failures(found)
    again = AuditOptions(stop_early=True, resume=True)
    resumed, _ = audited(bundle, suspect, tmp_path / "cut", again)
    assert resumed == expected
    assert len(suspect.asked) == len(set(suspect.asked))


def test_a_budget_that_ends_the_first_step_leaves_the_verdict_open(
    world: LineUpWorld, bundle: BundleContents, bundle_path: Path, tmp_path: Path
) -> None:
    suspect = suspect_of(world.derived(0), query_label=STRANGE)
    cut = AuditOptions(stop_early=False, budget=NUM_CONTROLS + 25)
    outcome, audit = audited(bundle, suspect, tmp_path, cut)
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert num_asked(suspect, LINE_UP_TAG) == 0
    found = verify_record(recorded(tmp_path, audit), bundle_path, TRUST)
    assert found.result is Result.INCOMPLETE, failures(found)


def test_looking_for_copies_ends_after_the_first_step(
    world: LineUpWorld, bundle: BundleContents, bundle_path: Path, tmp_path: Path
) -> None:
    suspect = suspect_of(world.derived(0), query_label=STRANGE)
    options = AuditOptions(stop_early=True, look_for="copies")
    outcome, audit = audited(bundle, suspect, tmp_path, options)
    assert outcome.verdict is Verdict.NO_COPY
    assert num_asked(suspect, LINE_UP_TAG) == 0
    path = recorded(tmp_path, audit)
    found = verify_record(path, bundle_path, TRUST)
    assert found.result is Result.HOLDS, failures(found)
    told = {check.name: check for check in found.checks}["deciding score"]
    assert told.status is Status.OPEN
    assert "looked for copies only" in told.text
    page = render_html(report_data(path, bundle_path, TRUST))
    assert "The suspect is no copy of the source; extraction was not looked for." in page


def test_looking_for_copies_takes_crafted_queries(tmp_path: Path) -> None:
    world = LineUpWorld(num_questions=30)
    manifest = world.bundle.manifest.model_copy(update={"default_score": "line-up"})
    bare = replace(world.bundle, manifest=manifest)
    with pytest.raises(AuditError, match="look-for: copies are found by crafted queries, but"):
        audited(
            bare,
            suspect_of(world.innocent(), query_label=COPY),
            tmp_path,
            AuditOptions(look_for="copies"),
        )


def test_whoever_names_a_score_gets_that_one_alone(
    world: LineUpWorld, bundle: BundleContents, bundle_path: Path, tmp_path: Path
) -> None:
    suspect = suspect_of(world.derived(0), query_label=STRANGE)
    options = AuditOptions(scores=("likelihood-ratio",), stop_early=True)
    outcome, audit = audited(bundle, suspect, tmp_path, options)
    assert outcome.steps is None
    assert outcome.verdict is Verdict.INDEPENDENT
    found = verify_record(recorded(tmp_path, audit), bundle_path, TRUST)
    told = {check.name: check for check in found.checks}["deciding score"]
    assert told.status is Status.OPEN
    assert "the bundle names 'likelihood-ratio', then 'line-up'" in told.text


def test_a_sweep_asks_in_steps_too(bundle: BundleContents) -> None:
    options = SweepSettings().options(bundle)
    assert options.scores == ("likelihood-ratio", "line-up")
    assert options.rule(bundle.manifest).steps == bundle.manifest.steps
    copies = SweepSettings(look_for="copies").options(bundle)
    assert copies.scores == ("likelihood-ratio",)
    assert copies.rule(bundle.manifest).look_for == "copies"
    ways = {SweepSettings().asked_as(bundle), SweepSettings(look_for="copies").asked_as(bundle)}
    assert len(ways) == 2
    named = SweepSettings(scores=("line-up",)).options(bundle)
    assert named.rule(bundle.manifest).steps is None


def test_inspect_says_how_alpha_is_shared(bundle_path: Path) -> None:
    rows = dict(inspect_bundle(bundle_path, OWNER_TRUST).rows())
    assert rows["method"].endswith("decides by likelihood-ratio, then by the line-up")
    assert rows["rates"].startswith(
        "false positives 0.15: 0.1 by the crafted queries and 0.05 by the line-up"
    )


@pytest.mark.parametrize("place", [7, 19])
def test_the_second_step_treats_source_and_siblings_alike(
    world: LineUpWorld, bundle: BundleContents, tmp_path: Path, place: int
) -> None:
    """Another member is the source: the same questions, in the same order, up to the same stop."""
    suspected = world.derived(place)
    told = []
    for folder, there in (
        ("as-made", bundle),
        ("other", with_source(bundle, place)),
        ("moved", moved(bundle, place)),
    ):
        suspect = suspect_of(suspected, query_label=STRANGE)
        outcome, _ = audited(there, suspect, tmp_path / folder)
        found = outcome.scores[0].line_up
        assert found is not None
        asked = [one for one in suspect.asked if one[0] == LINE_UP_TAG]
        told.append((asked, outcome.scores[0].stopped_after, found))
    (asked, stop, as_made), (asked_too, stop_too, other), (moved_asked, moved_stop, swapped) = told
    assert asked == asked_too == moved_asked
    assert stop == stop_too == moved_stop
    assert stop is not None
    assert as_made.leads == other.leads
    # The mean that is taken off for drawing is summed in another order; ranks are of integers.
    assert sorted(as_made.leads) == pytest.approx(sorted(swapped.leads), abs=1e-12)
    assert as_made.rank > 1
    assert other.rank == swapped.rank == 1


def with_source(bundle: BundleContents, place: int) -> BundleContents:
    assert bundle.line_up is not None
    record = bundle.line_up.record.model_copy(update={"source": place})
    return replace(bundle, line_up=LineUp(record=record, arrays=bundle.line_up.arrays))


def moved(bundle: BundleContents, place: int) -> BundleContents:
    """The same line-up with two members in each other's place, and the first the source."""
    assert bundle.line_up is not None
    record, arrays = bundle.line_up.record, bundle.line_up.arrays
    order = np.arange(len(record.members))
    order[[0, place]] = place, 0
    return replace(
        bundle,
        line_up=LineUp(
            record=record.model_copy(
                update={"members": tuple(record.members[one] for one in order)}
            ),
            arrays=replace(
                arrays,
                member_codes=arrays.member_codes[order],
                member_control_codes=arrays.member_control_codes[order],
            ),
        ),
    )
