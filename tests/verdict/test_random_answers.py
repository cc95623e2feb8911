"""Answers at chance, answers that nobody's model gives, answers that change: counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.audit_world import NUM_CONTROLS, NUM_QUERIES, K, known_bundle

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.manifest import BundleContents
from audit.verdict.judge import judge
from audit.verdict.outcome import Repeats, Verdict
from audit.verdict.random_answers import (
    compare_repeats,
    is_at_chance,
    is_below_strangers,
    looks_random,
    num_unexpected,
)

NUM = 7
"""Answers out of two classes: P(X >= 7) = 1 / 128 is below 1 %, P(X >= 6) = 8 / 128 is not."""


def constant(label: int) -> NDArray[np.int64]:
    return np.full(NUM, label)


def mixed(other: int, num: int) -> NDArray[np.int64]:
    """Class 0, but for the last few answers."""
    return np.array([0] * (NUM - num) + [other] * num)


@pytest.mark.parametrize(
    ("labels", "is_random"),
    [(constant(0), False), (mixed(1, 1), True), (mixed(REFUSED, 1), True)],
)
def test_answers_are_better_than_chance_where_chance_gives_so_many_hits_in_less_than_one_of_100(
    labels: NDArray[np.int64], *, is_random: bool
) -> None:
    assert is_at_chance(labels, np.tile([0.9, 0.1], (NUM, 1))) is is_random


def test_what_chance_gives_in_one_of_sixty_four_is_no_better_than_chance() -> None:
    assert is_at_chance(np.zeros(6, np.int64), np.tile([0.9, 0.1], (6, 1)))


STRANGERS = np.array([constant(0), constant(0)])
COPIES = np.array([constant(1)])


@pytest.mark.parametrize(
    ("labels", "innocent", "expected"),
    [
        # 4 hits among innocents, 3 among derived models: P(X >= 4) is 1 / 2
        (mixed(1, 3), STRANGERS, True),
        (constant(0), STRANGERS, False),  # like innocents
        (constant(1), STRANGERS, False),  # like derived models
        # one innocent alone cannot show that innocents agree with each other
        (mixed(1, 3), STRANGERS[:1], False),
        # an innocent that answers so, too, is as lost among the others
        (mixed(1, 3), np.array([*STRANGERS, mixed(1, 3)]), False),
    ],
)
def test_a_suspect_is_below_strangers_where_it_is_at_chance_and_no_innocent_is(
    labels: NDArray[np.int64], innocent: NDArray[np.int64], *, expected: bool
) -> None:
    assert is_below_strangers(labels, innocent, COPIES, 2) is expected


def test_where_innocents_contradict_each_other_being_at_chance_says_nothing() -> None:
    # Without its own answers, either innocent hits the other one's class nowhere.
    innocent, derived = np.array([constant(0), constant(1)]), np.array([constant(2)])
    assert not is_below_strangers(constant(1), innocent, derived, 3)


def test_an_answer_is_unexpected_where_no_pool_has_it_as_its_likeliest() -> None:
    likeliest = np.array([[0, 0, 0], [1, 1, 2]])
    labels = np.array([[0, 1, REFUSED], [2, 2, 2], [0, 0, 0]])
    assert np.asarray(num_unexpected(labels, likeliest)).tolist() == [1, 2, 0]


def label_only_bundle() -> BundleContents:
    """`known_bundle` without probabilities: its models' own answers stand in for them."""
    known, nothing = known_bundle(), np.empty((0, K))
    arrays = replace(known.arrays, derived_probabilities=nothing, innocent_probabilities=nothing)
    return replace(known, arrays=arrays)


@pytest.mark.parametrize("bundle", [known_bundle(), label_only_bundle()])
def test_answers_look_random_where_more_of_them_are_unexpected_than_of_any_model(
    bundle: BundleContents,
) -> None:
    # Innocents say 1 and derived models 0, each of them to every query.
    every, labels = np.arange(NUM_QUERIES), np.arange(NUM_QUERIES) % 2
    assert not looks_random(bundle, labels, every)
    labels[7] = 2
    assert looks_random(bundle, labels, every)
    assert not looks_random(bundle, labels[:7], every[:7])
    assert not looks_random(bundle, labels[:0], every[:0])
    # One innocent that is as odd is enough.
    models = bundle.arrays.model_query_labels.copy()
    models[0, 3] = 2
    odd = replace(bundle, arrays=replace(bundle.arrays, model_query_labels=models))
    assert not looks_random(odd, labels, every)


def test_nothing_looks_random_beside_no_model() -> None:
    known = known_bundle()
    labels = known.arrays.model_query_labels[:0]
    bundle = replace(known, arrays=replace(known.arrays, model_query_labels=labels))
    assert not looks_random(bundle, np.full(NUM_QUERIES, 2), np.arange(NUM_QUERIES))


REPEATED = [("query", 0), ("query", 1), ("control", 0), ("control", 1)]


@pytest.mark.parametrize(
    ("label", "verdict"),
    [(0, Verdict.DERIVED), (1, Verdict.INDEPENDENT), (2, Verdict.INCONCLUSIVE)],
)
def test_without_probabilities_only_answers_like_nobodys_are_evasive(
    label: int, verdict: Verdict
) -> None:
    labels = {f"control/{index}": index % K for index in range(NUM_CONTROLS)}
    labels |= {f"query/{index}": label for index in range(NUM_QUERIES)}
    answers = {name: Answer(label=one, log_probabilities=None) for name, one in labels.items()}
    outcome = judge(label_only_bundle(), answers, ("matching-rate",))
    assert outcome.verdict is verdict
    assert outcome.scores[0].is_evasive is (label == 2)


def test_nobody_who_repeats_itself_is_said_to_answer_at_random() -> None:
    labels = {f"control/{index}": index % K for index in range(NUM_CONTROLS)}
    labels |= {f"query/{index}": 2 for index in range(NUM_QUERIES)}
    labels |= {f"again/{kind}/{index}": labels[f"{kind}/{index}"] for kind, index in REPEATED}
    answers = {name: Answer(label=one, log_probabilities=None) for name, one in labels.items()}
    outcome = judge(label_only_bundle(), answers, ("matching-rate",))
    assert outcome.scores[0].is_evasive
    assert "changed its answer to 0 of 2 queries" in outcome.text
    assert "so does an honest model" in outcome.text
    assert "at random" not in outcome.text


def test_second_answers_are_compared_with_first_ones_by_kind() -> None:
    first = {"control/0": 0, "control/1": 1, "query/0": 0, "query/1": 1, "query/2": 2}
    # Both changes are among queries; nothing is known of a first answer to query 9.
    again = {"control/0": 0, "control/1": 1, "query/0": 2, "query/1": 2, "query/9": 0}
    labels = first | {f"again/{question}": label for question, label in again.items()}
    answers = {name: Answer(label=label, log_probabilities=None) for name, label in labels.items()}
    # one of the C(4, 2) = 6 ways to place two changes among two queries and two control images
    assert compare_repeats(answers) == Repeats(
        num_queries=2,
        num_queries_changed=2,
        num_controls=2,
        num_controls_changed=0,
        p_value=1 / 6,
    )
    assert compare_repeats({name: answers[name] for name in first}) is None
