"""The line-up's statistic against numbers by hand, and its p-value against 10,000 line-ups."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.line_up_world import LineUpWorld, log_softmax

from adapters.suspect import REFUSED
from audit.bundle.line_up import CODE_STEP, LineUp, decode, encode
from audit.scores.line_up import (
    GRID,
    Race,
    ToldAnswers,
    answer_worths,
    class_weights,
    model_races,
    race,
    rank_worths,
    source_leads,
    source_p_value,
    worth_table,
)
from audit.verdict.p_values import clopper_pearson

NUM_LINE_UPS, NUM_MEMBERS, NUM_QUESTIONS = 10_000, 20, 40


def told(labels: NDArray[np.int64]) -> ToldAnswers:
    return ToldAnswers(questions=np.arange(len(labels)), labels=labels)


def with_codes(world: LineUpWorld, member_codes: object, **record: object) -> LineUp:
    arrays = replace(world.line_up.arrays, member_codes=np.array(member_codes, dtype=np.uint8))
    return LineUp(record=world.line_up.record.model_copy(update=record), arrays=arrays)


@pytest.fixture(scope="module")
def world() -> LineUpWorld:
    return LineUpWorld()


def test_an_answer_is_worth_minus_the_logarithm_of_its_rank(world: LineUpWorld) -> None:
    # two members, one question; the second holds classes 1 and 2 for equally likely
    line_up = with_codes(world, [[[3, 9, 40]], [[3, 40, 40]]], form="ranks")
    nats = worth_table(line_up)[:, 0] * GRID
    # ranks 1, 2, 3, and 1 with 2 and 3 shared: 2.5 each
    assert nats[0] == pytest.approx([0, -np.log(2), -np.log(3)], abs=GRID)
    assert nats[1] == pytest.approx([0, -np.log(2.5), -np.log(2.5)], abs=GRID)


def test_an_answer_is_worth_the_logarithm_of_its_probability(world: LineUpWorld) -> None:
    line_up = with_codes(world, [[[16, 32, 255]]], form="logarithms", epsilon=0.02)
    nats = worth_table(line_up)[0, 0] * GRID
    # codes of 16 and 32 are e^-1 and e^-2; 255 is nothing beside epsilon
    expected = [np.log(np.exp(-1) + 0.02), np.log(np.exp(-2) + 0.02), np.log(0.02)]
    assert nats == pytest.approx(expected, abs=1e-4)


def test_no_rank_lies_where_two_machines_could_round_it_differently() -> None:
    ranks = np.arange(2, 2 * 20_000 + 1) / 2
    steps = -np.log(ranks) / GRID
    # A logarithm's last bit is 1e-10 steps here.
    assert np.abs(steps - np.floor(steps) - 0.5).min() > 1e-8
    assert rank_worths(3).tolist()[2:] == np.rint(steps[:5]).tolist()


def test_more_than_a_label_is_worth_its_expectation(world: LineUpWorld) -> None:
    line_up = with_codes(world, [[[3, 9, 40]]], form="ranks")
    # half on class 0, nothing told of the other two, which share the other half
    answer = ToldAnswers(
        questions=np.array([0]),
        labels=np.array([0]),
        log_probabilities=np.log([[0.5, np.nan, np.nan]]),
    )
    expected = 0.5 * 0 - 0.25 * np.log(2) - 0.25 * np.log(3)
    assert answer_worths(line_up, answer)[0, 0] * GRID == pytest.approx(expected, abs=GRID)
    assert class_weights(answer.log_probabilities).sum() == 2**20  # type: ignore[arg-type]
    assert answer.access == "top-k"


def test_the_pull_that_a_member_has_on_everybody_is_taken_off(world: LineUpWorld) -> None:
    # Two members, two questions, a panel of two; member 1 likes whatever the panel answers.
    codes = [[[0, 50, 60], [0, 50, 60]], [[50, 0, 60], [50, 0, 60]]]
    record = world.line_up.record
    small = LineUp(
        record=record.model_copy(
            update={"form": "ranks", "members": record.members[:2], "models": record.models[:2]}
        ),
        arrays=replace(
            world.line_up.arrays,
            member_codes=np.array(codes, dtype=np.uint8),
            model_labels=np.array([[1, 1], [1, 0]]),
        ),
    )
    running = race(small, told(np.array([1, 1]))).leads
    # Question 0: worths -log 2 and 0; pull -log 2 and 0: nothing is left of either.
    assert running[:, 0] == pytest.approx([0, 0], abs=1e-4)
    # Question 1: worths -log 2 and 0; pull -log(2)/2 each: +-log(2)/2 around their mean.
    assert running[:, 1] == pytest.approx([-np.log(2) / 2, np.log(2) / 2], abs=1e-4)


def test_a_panel_model_is_measured_against_the_other_lineages(world: LineUpWorld) -> None:
    # What panel member 0 gets in the race is what a suspect with its answers gets from the others.
    line_up, record = world.line_up, world.line_up.record
    labels = line_up.arrays.model_labels
    others = LineUp(
        record=record.model_copy(update={"models": record.models[1:]}),
        arrays=replace(
            line_up.arrays,
            model_labels=labels[1:],
            model_codes=line_up.arrays.model_codes[1:],
        ),
    )
    own = model_races(line_up, told(labels[0])).leads[0]
    assert own == pytest.approx(race(others, told(labels[0])).leads, abs=0.01)


def test_a_refusal_moves_no_member(world: LineUpWorld) -> None:
    labels = world.innocent().argmax(axis=-1)
    refused = labels.copy()
    refused[5] = REFUSED
    running = race(world.line_up, told(refused)).running
    assert (running[:, 5] == running[:, 4]).all()
    assert (
        model_races(world.line_up, told(refused)).running[..., 5]
        == model_races(world.line_up, told(refused)).running[..., 4]
    ).all()


def test_eight_bits_keep_a_probability_within_three_percent() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(10), size=1000)
    kept = np.exp(-CODE_STEP * encode(np.log(probabilities)))
    told_of = probabilities > 1e-6
    assert np.abs(kept / probabilities - 1)[told_of].max() <= np.expm1(CODE_STEP / 2) + 1e-9
    assert decode(encode(np.log(probabilities))).sum(axis=-1) == pytest.approx(1)


def test_ties_count_against_the_source() -> None:
    assert source_p_value(np.array([4, 4, 1, 0]), 0) == 0.5
    assert source_leads(np.array([4, 4, 1, 0]), 0) == 0


# -- the checks that the derivation owes -------------------------------------------------------


@pytest.mark.parametrize("labels_only", [True, False])
@pytest.mark.parametrize("form", ["ranks", "logarithms"])
def test_who_is_the_source_changes_no_question_and_no_stop(form: str, labels_only: bool) -> None:
    world = LineUpWorld(form=form, num_questions=80)
    line_up, suspect = world.line_up, world.derived(3)
    answer = ToldAnswers(
        questions=np.arange(80),
        labels=suspect.argmax(axis=-1),
        log_probabilities=None if labels_only else suspect,
    )
    whole = race(line_up, answer)
    order = np.random.default_rng(5).permutation(20)
    permuted = LineUp(
        record=line_up.record.model_copy(update={"source": int(np.flatnonzero(order == 0)[0])}),
        arrays=replace(line_up.arrays, member_codes=line_up.arrays.member_codes[order]),
    )
    moved = race(permuted, answer)
    assert (moved.running == whole.running[order]).all()
    assert moved.first_lead(10) == whole.first_lead(10)
    for source in range(20):
        place = int(np.flatnonzero(order == source)[0])
        assert source_p_value(moved.running[:, -1], place) == source_p_value(
            whole.running[:, -1], source
        )


def test_a_suspect_that_is_a_sibling_picks_that_sibling() -> None:
    world = LineUpWorld()
    for sibling in (1, 7, 19):
        labels = world.members[sibling].argmax(axis=-1)
        running = race(world.line_up, told(labels)).running
        assert running[:, -1].argmax() == sibling
        assert source_p_value(running[:, -1], 0) > 0.05


def simulated(num: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Running scores of exchangeable members, ``[num, T, n]``, that differ by a pull of their own.

    Every innocent of a line-up leans to the same members: nothing that the panel has taken off.
    """
    pull = rng.normal(size=(num, NUM_MEMBERS, 1)) * 0.3
    gains = pull + rng.normal(size=(num, NUM_MEMBERS, NUM_QUESTIONS))
    return np.rint(gains / GRID).astype(np.int64).cumsum(axis=-1)


def stops_that_peek(running: NDArray[np.int64], bound: float) -> NDArray[np.bool_]:
    """Whether the source ever leads: what a stop that looks at the source would report."""
    return np.asarray((source_leads(np.moveaxis(running, 1, -1), 0) * GRID > bound).any(axis=-1))


@pytest.fixture(scope="module")
def null() -> NDArray[np.int64]:
    """10,000 line-ups in which nobody comes from any member."""
    return simulated(NUM_LINE_UPS, np.random.default_rng(11))


def is_within_the_rate(num_picked: int) -> bool:
    """Whether so many of 10,000 line-ups can be 1 in 20 or fewer, in a 99.9 % interval's width."""
    low, _ = clopper_pearson(num_picked, NUM_LINE_UPS, confidence=0.999)
    return low <= 1 / NUM_MEMBERS


def test_innocents_pick_the_source_once_in_twenty_line_ups(null: NDArray[np.int64]) -> None:
    p_values = source_p_value(null[..., -1], 0)
    low, high = clopper_pearson(int((p_values <= 0.05).sum()), NUM_LINE_UPS, confidence=0.999)
    assert low <= 0.05 <= high
    # exact at every rate that twenty members can give
    for rank in range(1, NUM_MEMBERS + 1):
        share = (p_values <= rank / NUM_MEMBERS + 1e-9).mean()
        assert share == pytest.approx(rank / NUM_MEMBERS, abs=0.02)


@pytest.mark.parametrize("bound", [1.0, 3.0, 6.0])
def test_stopping_when_anybody_leads_keeps_the_rate(null: NDArray[np.int64], bound: float) -> None:
    stops = Race(running=null, nats_per_step=GRID).first_lead(bound)
    led = np.flatnonzero(stops)
    leaders = null[led, :, stops[led] - 1].argmax(axis=-1)
    assert len(led) > 3000
    assert is_within_the_rate(int((leaders == 0).sum()))
    # and nobody else is named more often either
    counts = np.bincount(leaders, minlength=NUM_MEMBERS) / len(led)
    assert counts == pytest.approx(np.full(NUM_MEMBERS, 0.05), abs=0.015)


def test_a_stop_that_peeks_at_the_source_is_caught(null: NDArray[np.int64]) -> None:
    assert not is_within_the_rate(int(stops_that_peek(null, 3.0).sum()))


def test_real_answers_of_innocents_keep_the_rate_too() -> None:
    """The same from class probabilities, codes and a panel; the source is drawn, as it is."""
    rng = np.random.default_rng(3)
    world = LineUpWorld(num_questions=60, num_panel=12, num_derived=0)
    picks = np.array(
        [
            race(world.line_up, told(world.innocent().argmax(axis=-1))).running[:, -1].argmax()
            for _ in range(400)
        ]
    )
    is_source = picks == rng.integers(NUM_MEMBERS, size=400)
    low, _ = clopper_pearson(int(is_source.sum()), 400, confidence=0.999)
    assert low <= 0.05


def test_students_pick_their_teacher() -> None:
    world = LineUpWorld(num_questions=300)
    assert log_softmax(world.members[0]).shape == (300, 3)
    for _ in range(10):
        labels = world.derived(0, noise=1.0).argmax(axis=-1)
        assert race(world.line_up, told(labels)).running[:, -1].argmax() == 0
