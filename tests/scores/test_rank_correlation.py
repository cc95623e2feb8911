"""Rankings of whatever a suspect tells, and what stays the same however it tells it."""

import dataclasses
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr
from worlds.audit_world import CONTROL, K, KnownSuspect, known_bundle

from adapters.class_map import class_map
from adapters.suspect import REFUSED, Capability, Predictions
from audit.answer import Answer
from audit.asking.events import Finished
from audit.asking.options import AuditOptions
from audit.asking.plan import default_scores, make_plan
from audit.asking.session import AuditSession
from audit.bundle.manifest import BundleContents, ModelRecord
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.scores.mfue import loss_bounds
from audit.scores.rank_correlation import (
    GRID,
    mean_ranks,
    nearest_relatives,
    positions_of,
    told_boundaries,
    told_positions,
    top_classes,
)
from audit.verdict.judge import judge

NUM_QUERIES, NUM_CLASSES = 40, 8
RNG = np.random.default_rng(20_260_101)
LOGITS = RNG.normal(0, 3, (NUM_QUERIES, NUM_CLASSES))
"""What a suspect computes for each query, no two equal."""
DERIVED = LOGITS + RNG.normal(0, 1.5, (3, NUM_QUERIES, NUM_CLASSES))
INNOCENT = RNG.normal(0, 3, (4, NUM_QUERIES, NUM_CLASSES))


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def score(
    rows: NDArray[np.float64],
    labels: NDArray[np.int64] | None = None,
    *,
    classes: NDArray[np.int64] | None = None,
) -> float:
    """The score of log-probabilities ``[Q, K]``; ``classes`` names the models' classes anew."""
    own = rows.argmax(axis=1) if labels is None else labels
    positions = told_positions(own, rows)
    named = np.arange(NUM_CLASSES) if classes is None else classes
    derived, innocent = (
        positions_of(top_classes(pool[..., named]), NUM_CLASSES) for pool in (DERIVED, INNOCENT)
    )
    boundaries = told_boundaries(positions, NUM_CLASSES - 1)
    nearest = nearest_relatives(positions, boundaries, own == REFUSED, derived, innocent)
    return nearest[0] - nearest[1]


@pytest.mark.parametrize("temperature", [0.2, 0.5, 0.9, 1.1, 2.0, 5.0])
def test_a_temperature_changes_no_bit_of_the_score(temperature: float) -> None:
    assert score(log_softmax(LOGITS / temperature)) == score(log_softmax(LOGITS))


def test_no_monotone_change_of_the_scores_changes_the_score() -> None:
    assert score(np.arctan(LOGITS)) == score(LOGITS) == score(LOGITS**3)


def test_other_names_for_the_classes_change_nothing() -> None:
    names = np.random.default_rng(1).permutation(NUM_CLASSES)

    assert score(LOGITS[:, names], classes=names) == score(LOGITS)


def test_rounding_that_ties_no_classes_changes_nothing() -> None:
    probabilities = np.arange(1, NUM_CLASSES + 1) / 36.0
    rows = np.array([row for row in np.exp(LOGITS)])
    exact = probabilities[rankdata(rows, axis=1).astype(int) - 1]

    assert score(np.log(exact.round(2))) == score(np.log(exact)) == score(LOGITS)


def test_rounding_gives_the_score_of_the_classes_that_it_leaves_apart() -> None:
    rounded = np.exp(log_softmax(LOGITS)).round(2)
    # Any numbers in the same order with the same ties tell the same partial ranking.
    ranks = rankdata(rounded, axis=1, method="dense").astype(float)

    with np.errstate(divide="ignore"):
        given = np.log(rounded)

    assert len(np.unique(rounded[0])) < NUM_CLASSES, "two decimals tie some classes"
    assert score(given) == score(ranks)
    assert score(given) != score(LOGITS)


@pytest.mark.parametrize("num_told", [1, 2, 5])
def test_top_k_is_the_ranking_with_everything_else_tied(num_told: int) -> None:
    order = np.argsort(-LOGITS, axis=1)
    places = np.argsort(order, axis=1)
    told = np.where(places < num_told, log_softmax(LOGITS), np.nan)

    assert score(told) == score(-np.minimum(places, num_told).astype(float))


def test_a_label_is_top_1() -> None:
    nothing = np.full(LOGITS.shape, np.nan)
    places = np.argsort(np.argsort(-LOGITS, axis=1), axis=1)

    by_label = score(nothing, LOGITS.argmax(axis=1))

    assert by_label == score(np.where(places == 0, LOGITS, np.nan))
    # With m the share of labels like another model's, the correlation is (K m - 1) / (K - 1).
    labels, pools = LOGITS.argmax(axis=1), (DERIVED.argmax(axis=2), INNOCENT.argmax(axis=2))
    shares = [max((NUM_CLASSES * (labels == one).mean() - 1) / 7 for one in pool) for pool in pools]
    assert by_label == pytest.approx(shares[0] - shares[1], abs=2 * GRID)


def test_correlations_are_spearmans_also_with_ties() -> None:
    rows = np.exp(log_softmax(LOGITS)).round(2)
    with np.errstate(divide="ignore"):
        positions = told_positions(rows.argmax(axis=1), np.log(rows))
    boundaries = told_boundaries(positions, NUM_CLASSES - 1)
    theirs = positions_of(top_classes(DERIVED[:1]), NUM_CLASSES)

    found = nearest_relatives(
        positions, boundaries, np.zeros(NUM_QUERIES, dtype=bool), theirs, theirs
    )[0]

    # The second derivation: the model's ranking is first made as coarse as the suspect's.
    coarse = np.take_along_axis(mean_ranks(boundaries), theirs[0], axis=1)
    expected = np.mean(
        [spearmanr(-row, own).statistic for row, own in zip(rows, coarse, strict=True)]
    )
    assert found == pytest.approx(expected, abs=2 * GRID)


def test_what_lies_deeper_than_the_models_rankings_is_not_compared() -> None:
    """Of a ranking 0 1 2 3 with two known places of others: the tail counts as tied."""
    positions = np.array([[0, 1, 2, 3]])

    assert mean_ranks(told_boundaries(positions, 3)).tolist() == [[-3, -1, 1, 3]]
    assert mean_ranks(told_boundaries(positions, 2)).tolist() == [[-3, -1, 2, 2]]
    assert mean_ranks(told_boundaries(positions, 1)).tolist() == [[-3, 1, 1, 1]]


def test_a_tie_that_reaches_beyond_the_depth_merges_with_the_rest() -> None:
    positions = told_positions(np.array([0]), np.log([[0.4, 0.2, 0.2, 0.1, 0.1]]))

    assert mean_ranks(told_boundaries(positions, 2)).tolist() == [[-4, 1, 1, 1, 1]]
    assert mean_ranks(told_boundaries(positions, 3)).tolist() == [[-4, -1, -1, 3, 3]]


def test_correlations_lie_on_the_grid_of_every_record() -> None:
    # A label out of four classes against another one: -1/3, and 2^24 / 3 = 5592405.33.
    positions = positions_of(np.array([[0]]), 4)
    other = positions_of(np.array([[[1]]]), 4)
    boundaries = told_boundaries(positions, 3)

    found = nearest_relatives(positions, boundaries, np.array([False]), other, positions[None])

    assert found == (-5592405 / 2**24, 1.0)


def test_refusing_scores_below_every_answer_and_shortens_no_mean() -> None:
    rows = log_softmax(LOGITS)
    labels = rows.argmax(axis=1)
    labels[:10] = REFUSED

    refused = score(rows, labels)

    assert refused < score(np.concatenate([-rows[:10], rows[10:]]))
    assert score(rows, np.full(NUM_QUERIES, REFUSED)) == -2


@pytest.mark.parametrize("num_classes", [2, 3, 10, 100])
def test_rankings_keep_at_most_ten_places_and_never_the_last(num_classes: int) -> None:
    rows = np.random.default_rng(2).normal(size=(5, num_classes))

    top = top_classes(rows)

    assert top.shape == (5, min(10, num_classes - 1))
    assert top[:, 0].tolist() == rows.argmax(axis=1).tolist()


def test_bounds_of_a_loss_follow_from_what_is_told() -> None:
    nan = np.nan
    rows = np.log(
        [
            [0.5, 0.3, nan, 0.1],  # only one is left out: 0.1
            [0.5, 0.4, nan, nan],  # at most the 0.1 that is left
            [0.3, 0.1, nan, nan],  # at most 0.1, the smallest that is told
            [0.5, 0.3, 0.1, 0.1],
            [nan, nan, nan, nan],
        ]
    )

    low, high = loss_bounds(rows, np.full(5, 2))

    assert low == pytest.approx(-np.log([0.1, 0.1, 0.1, 0.1, 1.0]))
    assert high.tolist()[1:3] == [np.inf] * 2
    assert high[[0, 3]] == pytest.approx(-np.log([0.1, 0.1]))


class TopK(KnownSuspect):
    """Tells the first ``num_told`` classes: its own with 0.8, then the others upwards."""

    num_told = 1

    @property
    def capability(self) -> Capability:
        return Capability.TOP_K

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        labels = super().predict(images).labels
        rows = np.full((len(labels), K), np.nan)
        for row, label in zip(rows, labels, strict=True):
            others = [one for one in range(K) if one != label]
            row[[label, *others][: self.num_told]] = np.log([0.8, 0.15, 0.05])[: self.num_told]
        return Predictions(labels=labels, log_probabilities=rows)


def ranked_bundle() -> BundleContents:
    """`known_bundle` with selection models: derived ones rank 0 1 2, innocents 1 2 0."""
    base = known_bundle()
    arrays, models = base.arrays, base.manifest.models
    selection = tuple(
        ModelRecord(**{**one.model_dump(), "use": "selection"}) for one in (models[0], models[-1])
    )
    num_queries = len(arrays.queries)
    ranks = {"derived": [0, 1], "innocent": [1, 2]}

    def rankings(chosen: tuple[ModelRecord, ...]) -> NDArray[np.int64]:
        return np.array([[ranks[model.role]] * num_queries for model in chosen])

    return dataclasses.replace(
        base,
        manifest=base.manifest.model_copy(update={"models": (*selection, *models)}),
        arrays=dataclasses.replace(
            arrays, selection_rankings=rankings(selection), model_rankings=rankings(models)
        ),
    )


def audit(tmp_path: Path, suspect: KnownSuspect, *scores: str) -> Finished:
    with closing(Journal(tmp_path / "j.sqlite")) as journal:
        session = AuditSession(ranked_bundle(), suspect, journal, AuditOptions(scores=scores))
        *_, last = session.run()
    assert isinstance(last, Finished)
    return last


@pytest.mark.parametrize(
    ("suspect", "access"),
    [
        (KnownSuspect(lambda kind, index: 0), "labels"),
        (TopK(lambda kind, index: 0), "top-k"),
        (KnownSuspect(lambda kind, index: 0, probability=0.8), "probabilities"),
    ],
)
def test_one_score_takes_labels_top_k_and_probabilities(
    tmp_path: Path, suspect: KnownSuspect, access: str
) -> None:
    (outcome,) = audit(tmp_path, suspect, "rank-correlation").outcome.scores

    assert outcome.access == access
    # Each answer tells the first of three classes and ties the others: 1 with derived models,
    # -0.5 with innocents.
    assert outcome.value == 1.5
    assert outcome.verdict == "derived"
    assert outcome.num_queries == outcome.num_in_bundle == 40


def test_calibration_models_are_compared_by_no_more_than_the_suspect_tells() -> None:
    bundle = ranked_bundle()
    answers = {
        f"control/{index}": Answer(label=index % K, log_probabilities=None) for index in range(10)
    }
    answers |= {f"query/{index}": Answer(label=1, log_probabilities=None) for index in range(40)}
    full = np.log([0.1, 0.6, 0.3])
    told = {name: Answer(label=1, log_probabilities=full) for name in answers if "query" in name}

    (by_label,) = judge(bundle, answers, ("rank-correlation",)).scores
    (by_order,) = judge(bundle, answers | told, ("rank-correlation",)).scores

    # By labels innocents score -1.5 and derived models 1.5; by full rankings (0 1 2 and 1 2 0,
    # which correlate by -0.5) the same, because each kind agrees with itself.
    assert by_label.value == by_order.value == -1.5
    assert by_label.num_as_high == by_order.num_as_high == 9
    assert by_label.verdict == by_order.verdict == "independent"


@pytest.mark.parametrize(
    ("num_told", "value"),
    [
        (1, 1.0),  # the trigger's class is told, and its loss lies near the source's
        (3, 1.0),
    ],
)
def test_mfue_matches_by_what_top_k_tells(tmp_path: Path, num_told: int, value: float) -> None:
    suspect = TopK(lambda kind, index: 0)
    suspect.num_told = num_told

    (outcome,) = audit(tmp_path, suspect, "mfue-w").outcome.scores

    assert outcome.value == value
    assert outcome.num_queries == 30


def test_a_trigger_whose_class_is_not_told_is_no_match_and_stays_in_the_mean(
    tmp_path: Path,
) -> None:
    """Half of the triggers get another class: there p_0 is at most 0.2, and may be 0."""
    suspect = TopK(lambda kind, index: index % 2 if kind != CONTROL else 0)

    (outcome,) = audit(tmp_path, suspect, "mfue-w").outcome.scores

    assert outcome.value == 0.5
    assert outcome.num_queries == 30
    assert outcome.access == "top-k"


def test_a_rate_that_is_only_a_lower_bound_calls_nobody_independent(tmp_path: Path) -> None:
    """A suspect of class 1 that tells its 0.8, and one that tells no number at all.

    Of the first one p_0 is at most the 0.2 that is left, so that its loss is at least 1.61 and
    cannot match: that ends at 1.5 times -ln 0.8 = 0.33. Of the second one it may be anything.
    """

    class Silent(TopK):
        def predict(self, images: NDArray[np.uint8]) -> Predictions:
            given = super().predict(images)
            return dataclasses.replace(given, log_probabilities=np.full((len(images), K), np.nan))

    folder = tmp_path / "silent"
    folder.mkdir()

    (certain,) = audit(tmp_path, TopK(lambda kind, index: 1), "mfue-w").outcome.scores
    (silent,) = audit(folder, Silent(lambda kind, index: 1), "mfue-w").outcome.scores

    assert (certain.value, certain.num_undecided, certain.verdict) == (0.0, 0, "independent")
    assert (silent.value, silent.num_undecided, silent.num_refused) == (0.0, 30, 0)
    assert silent.verdict == "inconclusive"
    assert "of 30 triggers the suspect tells too little" in silent.reason


def test_an_endpoints_list_of_the_likeliest_classes_is_taken_as_it_is() -> None:
    classes = class_map(["cat", "dog", "frog"], None)
    nan = np.nan

    def told(**scores: float) -> list[float]:
        return [round(float(one), 9) for one in np.exp(classes.told_log_probabilities(scores))]

    assert told(dog=0.7, cat=0.2) == pytest.approx([0.2, 0.7, nan], nan_ok=True)
    # more classes than the bundle has; what they take counts, their names do not
    assert told(dog=0.5, bird=0.3) == pytest.approx([nan, 0.5, nan], nan_ok=True)
    # percentages and independent scores are no probabilities: only the label is used
    assert told(dog=70, cat=20) == pytest.approx([nan, nan, nan], nan_ok=True)
    assert told(dog=0.9, cat=0.8) == pytest.approx([nan, nan, nan], nan_ok=True)
    assert told() == pytest.approx([nan, nan, nan], nan_ok=True)


def test_mfue_needs_more_than_labels() -> None:
    with pytest.raises(AuditError, match="mfue-w needs probabilities"):
        make_plan(ranked_bundle(), ("mfue-w",), Capability.LABELS)


def test_files_with_probabilities_show_the_rank_correlation_beside_the_bundles_score() -> None:
    shown = default_scores(ranked_bundle(), is_file=True, capability=Capability.PROBABILITIES)

    assert shown == ("likelihood-ratio", "rank-correlation", "mfue-w")
    assert "rank-correlation" not in default_scores(
        ranked_bundle(), is_file=False, capability=Capability.PROBABILITIES
    )


def test_a_bundle_without_rankings_cannot_be_asked_for_them() -> None:
    with pytest.raises(AuditError, match="needs rankings by derived and innocent models"):
        make_plan(known_bundle(), ("rank-correlation",), Capability.PROBABILITIES)


@pytest.mark.parametrize(("label", "verdict"), [(0, "derived"), (1, "independent")])
def test_two_classes_are_enough_for_either_score(label: int, verdict: str) -> None:
    base = ranked_bundle()
    task = base.manifest.task.model_copy(update={"class_names": ("a", "b")})
    arrays = dataclasses.replace(
        base.arrays,
        derived_probabilities=np.tile([0.8, 0.2], (40, 1)),
        innocent_probabilities=np.tile([0.2, 0.8], (40, 1)),
        selection_rankings=base.arrays.selection_rankings[..., :1],
        model_rankings=base.arrays.model_rankings[..., :1],
        control_labels=np.arange(10) % 2,
    )
    bundle = dataclasses.replace(
        base, manifest=base.manifest.model_copy(update={"task": task}), arrays=arrays
    )
    answers = {
        f"{kind}/{index}": Answer(
            label=index % 2 if kind == "control" else label,
            log_probabilities=np.log([0.6, 0.4] if label == 0 else [0.4, 0.6]),
        )
        for kind, num in (("control", 10), ("query", 40))
        for index in range(num)
    }

    found = judge(bundle, answers, ("likelihood-ratio", "rank-correlation")).scores

    assert [score.verdict for score in found] == [verdict] * 2
    # one class first is all there is to a ranking of two
    assert found[1].value == (2.0 if label == 0 else -2.0)


def test_two_classes_drawn_by_lot_are_not_independent() -> None:
    base = known_bundle()
    task = base.manifest.task.model_copy(update={"class_names": ("a", "b")})
    arrays = dataclasses.replace(
        base.arrays,
        derived_probabilities=np.tile([0.8, 0.2], (40, 1)),
        innocent_probabilities=np.tile([0.2, 0.8], (40, 1)),
        control_labels=np.arange(10) % 2,
    )
    bundle = dataclasses.replace(
        base, manifest=base.manifest.model_copy(update={"task": task}), arrays=arrays
    )
    drawn = np.random.default_rng(3).integers(2, size=40)
    answers = {f"control/{i}": Answer(label=i % 2, log_probabilities=None) for i in range(10)}
    answers |= {
        f"query/{i}": Answer(label=int(one), log_probabilities=None) for i, one in enumerate(drawn)
    }

    outcome = judge(bundle, answers, ("likelihood-ratio",))

    assert outcome.verdict == "inconclusive"
    assert outcome.scores[0].is_evasive
