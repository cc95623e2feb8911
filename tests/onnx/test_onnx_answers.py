"""Scores to log-probabilities, by hand."""

import math

import numpy as np
import pytest

from adapters.onnx.answers import (
    check_finite,
    class_scores,
    detect_kind,
    log_probabilities,
)
from adapters.suspect import SuspectError


def test_logits_far_apart_keep_their_difference() -> None:
    # A float32 softmax would answer exactly 1 and 0 here.
    result = log_probabilities(np.array([[800.0, 0.0]]), "logits", "float32")
    assert result.tolist() == [[0.0, -800.0]]


def test_probabilities_of_zero_are_clipped_at_the_smallest_of_their_type() -> None:
    half = log_probabilities(np.array([[1.0, 0.0]]), "probabilities", "float16")
    single = log_probabilities(np.array([[1.0, 0.0]]), "probabilities", "float32")
    assert half[0, 1] == pytest.approx(-24 * math.log(2), abs=1e-6)
    assert single[0, 1] == pytest.approx(-126 * math.log(2))


def test_probabilities_that_miss_one_are_renormalised() -> None:
    result = log_probabilities(np.array([[0.2, 0.2]]), "probabilities", "float32")
    np.testing.assert_allclose(result, math.log(0.5))


def test_minus_infinity_is_a_log_probability_but_no_logit() -> None:
    scores = np.array([[0.0, -math.inf]])
    check_finite(scores, "log_probabilities")
    assert np.isfinite(log_probabilities(scores, "log_probabilities", "float32")).all()
    with pytest.raises(SuspectError, match="NaN or infinity for 1 of 1 images"):
        check_finite(scores, "logits")


@pytest.mark.parametrize(
    ("scores", "operator", "kind"),
    [
        ([[0.25, 0.75], [0.5, 0.5]], "", "probabilities"),
        ([[0.25, 0.75], [0.5, 0.5]], "Gemm", "logits"),
        ([[0.25, 0.75], [0.5, 0.9]], "", "logits"),
        ([[0.25, 0.75], [0.5, 0.9]], "Sigmoid", "sigmoids"),
        ([[-0.6931, -0.6931], [-1.3863, -0.2877]], "", "log_probabilities"),
        ([[-0.6931, -0.6931], [-3.0, -0.2877]], "", "logits"),
        ([[3.0, -1.0], [0.5, 0.5]], "", "logits"),
    ],
)
def test_the_kind_is_seen_in_the_operator_or_in_all_answers(
    scores: list[list[float]], operator: str, kind: str
) -> None:
    assert detect_kind(np.array(scores), operator) == kind


@pytest.mark.parametrize(
    ("shape", "num_classes"),
    [((2, 5), 5), ((2, 5, 1, 1), 5), ((2, 1, 1, 5), 5), ((2, 5, 2), None), ((2, 1), None)],
)
def test_axes_of_size_one_do_not_hide_the_classes(
    shape: tuple[int, ...], num_classes: int | None
) -> None:
    scores = class_scores(np.zeros(shape))
    assert (None if scores is None else scores.shape[1]) == num_classes
