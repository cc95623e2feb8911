import numpy as np
import pytest

from adapters.suspect import REFUSED
from audit.scores.likelihood_ratio import (
    GRID,
    answer_evidence,
    evidence_table,
    expected_evidence,
    mean_evidence,
)
from audit.scores.mfue import (
    bounded_matches,
    cross_entropy,
    estimated_loss,
    loss_matches,
    matching_rate,
    probe_hits,
)

P = np.array([[0.75, 0.25], [0.5, 0.5]])
Q = np.array([[0.35, 0.65], [0.5, 0.5]])


def test_evidence_is_the_log_ratio_with_epsilon_on_both_sides() -> None:
    table = evidence_table(P, Q, 0.05)
    # log(0.80 / 0.40) = log 2, log(0.30 / 0.70), and nothing where P = Q
    assert table == pytest.approx(np.array([[np.log(2), np.log(3 / 7)], [0, 0]]), abs=GRID)


def test_evidence_lies_on_a_grid_so_that_any_order_of_adding_gives_the_same_sum() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(5), size=(2, 400))
    column = evidence_table(p, q, 0.05)[:, 0]
    assert (column / GRID == np.round(column / GRID)).all()
    assert {float(rng.permutation(column).sum()) for _ in range(20)} == {float(column.sum())}


def test_logarithms_that_another_machine_rounds_differently_give_the_same_evidence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # P + e is chosen so that its logarithm lies as near as floats allow to the middle between two
    # multiples of the grid, where the last bit decides which of them is nearer; Q + e is 1.
    middles = -2.0 + (np.arange(400) + 0.5) * GRID
    derived = np.exp(middles)[:, None] - 0.05
    innocent = np.full_like(derived, 0.95)
    logarithm, tables = np.log, [evidence_table(derived, innocent, 0.05)]
    for direction in (-np.inf, np.inf):
        monkeypatch.setattr(np, "log", lambda x, to=direction: np.nextafter(logarithm(x), to))
        assert (np.rint(np.log(derived + 0.05) / GRID) != tables[0] / GRID).any()
        tables.append(evidence_table(derived, innocent, 0.05))
    assert (tables[0] == tables[1]).all()
    assert (tables[0] == tables[2]).all()


def test_evidence_between_two_multiples_of_the_grid_is_a_nearest_one() -> None:
    # As above, with Q + e = 1/2: the logarithm of the ratio lies in the middle.
    middles = -1.0 + (np.arange(400) + 0.5) * GRID
    derived = np.exp(middles)[:, None] / 2 - 0.05
    table = evidence_table(derived, np.full_like(derived, 0.45), 0.05)
    assert table[:, 0] == pytest.approx(middles, abs=GRID * 0.501)


def test_expected_evidence_weighs_the_table_by_what_derived_models_answer() -> None:
    expected = 0.75 * np.log(2) + 0.25 * np.log(3 / 7)
    assert expected_evidence(P, Q, 0.05) == pytest.approx(np.array([expected, 0.0]), abs=GRID)


def test_score_is_the_mean_over_queries_for_one_model_or_many() -> None:
    table = evidence_table(P, Q, 0.05)
    one = mean_evidence(table, np.array([0, 1]))
    many = mean_evidence(table, np.array([[0, 1], [1, 1]]))
    assert one == pytest.approx(np.log(2) / 2, abs=GRID)
    assert many == pytest.approx(np.array([np.log(2) / 2, np.log(3 / 7) / 2]), abs=GRID)


def test_a_refusal_counts_as_the_answer_that_speaks_most_against_derivation() -> None:
    table = evidence_table(P, Q, 0.05)
    assert answer_evidence(table, np.array([REFUSED, 0])) == pytest.approx(
        [np.log(3 / 7), 0], abs=GRID
    )


def test_score_does_not_change_with_the_temperature_of_the_suspect() -> None:
    rng = np.random.default_rng(0)
    logits, table = rng.normal(size=(50, 7)), rng.normal(size=(50, 7))
    scores = [mean_evidence(table, (logits / t).argmax(axis=1)) for t in (0.5, 1.0, 3.0)]
    assert scores[0] == scores[1] == scores[2]


def test_cross_entropy_keeps_its_digits_when_the_model_is_nearly_certain() -> None:
    # Margin m to one other class: -log p = log(1 + exp(-m)), about exp(-m) for large m.
    margin = 34.0
    logits = np.array([[margin, 0.0]])
    rows = logits - np.logaddexp(logits[:, 0], logits[:, 1])[:, None]
    assert cross_entropy(rows, np.array([0])) == pytest.approx([np.exp(-margin)], rel=1e-6)


def test_cross_entropy_is_minus_log_p_for_an_unlikely_class() -> None:
    rows = np.log(np.array([[0.9, 0.06, 0.04]]))
    assert cross_entropy(rows, np.array([2])) == pytest.approx([-np.log(0.04)])


def test_cross_entropy_takes_many_models_at_once() -> None:
    rows = np.log(np.array([[[0.9, 0.1], [0.3, 0.7]]] * 3))
    # the loss of the class 0, then of the class 1
    expected = [-np.log(0.9), -np.log(0.7)]
    assert cross_entropy(rows, np.array([0, 1])) == pytest.approx(np.array([expected] * 3))


def test_match_interval_of_equation_5_is_open_at_both_ends() -> None:
    source = np.full(5, 2.0)
    suspect = np.array([1.0, 1.001, 2.0, 2.999, 3.0])
    assert loss_matches(suspect, source, 0.5).tolist() == [False, True, True, True, False]


def test_losses_are_compared_with_thirty_two_bits() -> None:
    # Near 2 ends at 3 = 0.75 * 4, whose last of 32 bits is worth 2^-30.
    suspect = 3.0 - 2.0 ** -np.array([30, 32])
    assert loss_matches(suspect, np.full(2, 2.0), 0.5).tolist() == [True, False]


def test_bounds_of_a_loss_match_leave_it_open_or_rule_it_out() -> None:
    # Near 2 with tau 1/2 is between 1 and 3, the ends excluded.
    bounds = [(0.5, 1.0), (0.5, 1.1), (0.5, 2.5), (1.1, 2.9), (2.9, 3.0), (3.0, np.inf)]
    low, high = np.array(bounds).T
    matches, is_open = bounded_matches(low, high, np.full(6, 2.0), 0.5)
    assert matches.tolist() == [False, False, False, True, False, False]
    assert is_open.tolist() == [False, True, True, False, True, False]


def test_losses_that_another_machine_rounds_differently_match_alike() -> None:
    # With tau 1/2, one probe of 4 and one of 8 lie on the edge: -log(1/8) = 1.5 * -log(1/4).
    source, edge = np.array([-np.log(1 / 4)]), np.array([-np.log(1 / 8)])
    answers = {
        bool(loss_matches(np.nextafter(edge, to), np.nextafter(source, source_to), 0.5)[0])
        for to in (-np.inf, np.inf)
        for source_to in (-np.inf, np.inf)
    }
    assert len(answers) == 1


def test_matching_rate_is_the_share_of_matches_and_unanswered_triggers_never_match() -> None:
    source = np.full(4, 2.0)
    assert matching_rate(np.array([2.0, np.nan, 5.0, 1.5]), source, 0.5) == 0.5


def test_nothing_asked_scores_nothing() -> None:
    # A budget can end an audit before its first trigger.
    assert matching_rate(np.empty((2, 0)), np.empty(0), 0.5).tolist() == [0.0, 0.0]
    none = np.empty((2, 0), dtype=np.int64)
    assert mean_evidence(np.empty((0, 3)), none).tolist() == [0.0, 0.0]


def test_a_temperature_of_1_1_takes_the_papers_score_away_from_a_perfect_copy() -> None:
    # The known weakness that the default score does not have: margin 10, K = 2.
    source = np.log1p(np.exp(-np.full(3, 10.0)))
    warmer = np.log1p(np.exp(-np.full(3, 10.0 / 1.1)))
    assert matching_rate(source, source, 0.5) == 1.0
    assert matching_rate(warmer, source, 0.5) == 0.0


def test_estimated_loss_is_finite_when_all_or_no_probes_agree() -> None:
    losses = estimated_loss(np.array([0, 25, 100]), 100)
    assert losses == pytest.approx([np.log(200), np.log(4), -np.log(0.995)])


def test_probe_hits_count_the_triggers_class_only() -> None:
    labels = np.array([[0, 0, 1, REFUSED], [2, 1, 2, 2]])
    assert probe_hits(labels, np.array([0, 2])).tolist() == [2, 3]
