"""What is compared where next to nothing was asked, and how a comparison calls itself."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.audit_world import K, known_bundle
from worlds.record_builder import audited_contents

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.manifest import BundleContents
from audit.scores.comparison import compare, whole_scores
from audit.scores.evidence import query_evidence, shown_evidence
from audit.scores.query_scores import deciding_query_score
from audit.scores.rank_correlation import GRID
from audit.verdict.judge import judge

LIKE_SOURCE = np.log([0.8, 0.1, 0.1])
"""What the source of the known bundle says to each trigger."""


def labelled(**labels: int) -> dict[str, Answer]:
    """Answers ``query_3=0`` and the like, by label only."""
    return {
        name.replace("_", "/"): Answer(label=label, log_probabilities=None)
        for name, label in labels.items()
    }


@pytest.mark.parametrize(
    "score", ["likelihood-ratio", "matching-rate", "trajectory-rate", "mfue-w", "mfue-b"]
)
def test_where_nothing_was_asked_everybody_scores_nothing(score: str) -> None:
    found = compare(known_bundle(), {}, score)
    assert found.score == score
    assert found.value == 0
    assert found.models.tolist() == [0.0] * 18
    assert (len(found.asked), found.num_refused, found.num_undecided) == (0, 0, 0)
    assert found.by_model(known_bundle()) == ()


def test_one_trigger_that_matches_is_all_of_one() -> None:
    answers = {"trigger/7": Answer(label=0, log_probabilities=LIKE_SOURCE)}
    found = compare(known_bundle(), answers, "mfue-w")
    assert (found.value, found.access) == (1.0, "probabilities")
    assert found.asked.tolist() == [7]
    # innocents put 0.2 on the trigger's class, derived models 0.8 as the source
    assert [value for _, value in found.by_model(known_bundle())] == [0.0] * 9 + [1.0] * 9


def test_a_refused_trigger_is_asked_and_no_match_and_not_undecided() -> None:
    answers = {
        "trigger/0": Answer(label=0, log_probabilities=LIKE_SOURCE),
        "trigger/1": Answer(label=REFUSED, log_probabilities=None),
    }
    found = compare(known_bundle(), answers, "mfue-w")
    assert (found.value, found.num_refused, found.num_undecided) == (0.5, 1, 0)
    assert found.access == "probabilities"


def test_a_label_alone_may_or_may_not_match_a_trigger() -> None:
    answers = {"trigger/0": Answer(label=0, log_probabilities=None)}
    found = compare(known_bundle(), answers, "mfue-w")
    assert (found.value, found.num_undecided, found.access) == (0.0, 1, "top-k")


def test_a_score_of_probes_rests_on_labels() -> None:
    # 2 of 4 probes of each trigger get its class from the source: a loss of log 2
    answers = labelled(probe_3_0=0, probe_3_1=0, probe_3_2=1, probe_3_3=1)
    found = compare(known_bundle(), answers, "mfue-b")
    assert (found.score, found.access, found.value) == ("mfue-b", "labels", 1.0)
    assert found.asked.tolist() == [3]
    assert found.labels.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(("label", "value"), [(0, 1.0), (1, 0.0)])
@pytest.mark.parametrize("score", ["matching-rate", "trajectory-rate"])
def test_one_query_is_a_whole_mean(score: str, label: int, value: float) -> None:
    found = compare(known_bundle(), labelled(query_5=label), score)
    assert (found.value, found.access, found.num_in_bundle) == (value, "labels", 40)


def test_a_score_of_labels_calls_itself_so_whatever_the_suspect_tells() -> None:
    answers = {"query/0": Answer(label=0, log_probabilities=LIKE_SOURCE)}
    assert compare(known_bundle(), answers, "likelihood-ratio").access == "labels"


def test_scores_are_named_in_the_outcome_by_what_they_were_asked_for() -> None:
    answers = labelled(**{f"control_{index}": index % K for index in range(10)})
    answers |= labelled(**{f"query_{index}": 0 for index in range(40)})
    answers |= {
        f"trigger/{index}": Answer(label=0, log_probabilities=LIKE_SOURCE) for index in range(30)
    }
    outcome = judge(known_bundle(), answers, ("matching-rate", "mfue-w", "mfue-b"))
    # nothing was asked for the last one
    assert [(score.name, score.access) for score in outcome.scores] == [
        ("matching-rate", "labels"),
        ("mfue-w", "probabilities"),
    ]


def test_evidence_of_a_likelihood_ratio_weighs_as_much_as_it_says() -> None:
    answers = labelled(query_0=0, query_1=1, query_2=2)
    found = query_evidence(known_bundle(), answers, "likelihood-ratio")
    assert found is not None
    # log((0.7 + 0.05) / (0.15 + 0.05)), its negative, and nothing where both are 0.15
    says = np.log(0.75 / 0.20)
    assert found.suspect == pytest.approx([says, -says, 0], abs=GRID)
    assert found.weights == pytest.approx([says, says, 0], abs=GRID)


def test_a_match_weighs_by_how_rarely_innocents_make_it() -> None:
    # All innocents answer 1 where the source says 0: their matching rate is 0.
    found = query_evidence(known_bundle(), labelled(query_0=0, query_1=1), "matching-rate")
    assert found is not None
    assert found.weights.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        (("likelihood-ratio",), "likelihood-ratio"),
        (("mfue-w", "likelihood-ratio", "matching-rate"), "likelihood-ratio"),
        (("sample-correlation",), "matching-rate"),
        ((), "matching-rate"),
    ],
)
def test_evidence_is_shown_by_the_first_score_that_is_a_mean(
    scores: tuple[str, ...], shown: str
) -> None:
    found = shown_evidence(known_bundle(), labelled(query_0=0), scores)
    assert found is not None
    assert found.score == shown


def test_a_score_that_is_no_mean_has_no_evidence_of_single_answers() -> None:
    assert query_evidence(audited_contents(), labelled(query_0=0), "rank-correlation") is None
    assert query_evidence(known_bundle(), {}, "likelihood-ratio") is None


def one_deep() -> BundleContents:
    """A bundle of four classes whose rankings name the first one only."""
    known = audited_contents()
    arrays = dataclasses.replace(
        known.arrays,
        selection_rankings=known.arrays.selection_rankings[..., :1],
        model_rankings=known.arrays.model_rankings[..., :1],
    )
    return dataclasses.replace(known, arrays=arrays)


def by_labels(bundle: BundleContents) -> NDArray[np.float64]:
    """What the models of `audited_contents` score where of each ranking the first class is told.

    Two models correlate by 1 where they agree, else by -1/3. The derived selection model answers
    as the source, the innocent one a class further.
    """
    shift = (bundle.arrays.model_query_labels - bundle.arrays.source_query_labels) % 4
    share = (shift == 0).mean(axis=1) - (shift == 1).mean(axis=1)
    return np.asarray(share * 4 / 3)


def test_models_whose_rankings_are_one_deep_are_compared_by_their_labels() -> None:
    scores = whole_scores(one_deep(), "rank-correlation")
    assert scores == pytest.approx(by_labels(one_deep()), abs=2 * GRID)


def test_models_are_compared_by_labels_where_the_suspect_tells_no_more() -> None:
    bundle = audited_contents()
    source = bundle.arrays.source_query_labels
    answers = labelled(**{f"query_{index}": int(label) for index, label in enumerate(source)})
    found = compare(bundle, answers, "rank-correlation")
    assert found.value == pytest.approx(4 / 3, abs=2 * GRID)
    assert found.models == pytest.approx(by_labels(bundle), abs=2 * GRID)


def test_a_suspect_is_compared_no_deeper_than_the_models_rankings_reach() -> None:
    bundle = one_deep()
    # the source's class first, and the other three in an order that nobody knows
    row = np.log([0.4, 0.1, 0.2, 0.3])
    answers = {
        f"query/{index}": Answer(label=int(label), log_probabilities=np.roll(row, label))
        for index, label in enumerate(bundle.arrays.source_query_labels)
    }
    found = compare(bundle, answers, "rank-correlation")
    assert found.access == "probabilities"
    assert found.value == pytest.approx(4 / 3, abs=2 * GRID)


@pytest.mark.parametrize(
    ("default", "deciding"),
    [
        ("likelihood-ratio", "likelihood-ratio"),
        ("matching-rate", "matching-rate"),
        ("mfue-w", "likelihood-ratio"),
        # the known bundle has no rankings
        ("rank-correlation", None),
    ],
)
def test_queries_tell_models_apart_by_the_bundles_score_or_else_by_a_mean(
    default: str, deciding: str | None
) -> None:
    assert deciding_query_score(known_bundle(default_score=default)) == deciding
