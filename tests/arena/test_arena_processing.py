"""What a deployer puts around a model does to the answers what its name says."""

from typing import Literal, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from adapters.suspect import Capability, Predictions, Suspect, SuspectIdentity
from benchmarks.arena.config import Ensemble, InputName, Processing
from benchmarks.arena.ensembles import combinations
from benchmarks.arena.processing import INPUTS, processings


class Rote:
    """Answers the same logits to every image, and remembers what it saw."""

    capability = Capability.PROBABILITIES
    concurrency, batch_size = 1, 64
    identity = SuspectIdentity(kind="onnx", name="rote.onnx", digest="0" * 64)

    def __init__(self, logits: NDArray[np.float64]) -> None:
        self.answer = logits - np.log(np.exp(logits).sum())
        self.seen: NDArray[np.uint8] | None = None

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        self.seen = images
        rows = np.repeat(self.answer[None], len(images), axis=0)
        return Predictions(labels=rows.argmax(axis=1), log_probabilities=rows)

    def close(self) -> None:
        raise AssertionError("belongs to its owner")


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)


def only(**wanted: object) -> tuple[Rote, Suspect]:
    (named,) = processings(Processing.model_validate(wanted), seed=0)
    inner = Rote(np.array([2.0, 1.0, -1.0]))
    return inner, named[1](inner)


def rows(suspect: Suspect) -> NDArray[np.float64]:
    found = suspect.predict(IMAGES).log_probabilities
    assert found is not None
    return found


def test_temperature_divides_log_odds_and_keeps_labels() -> None:
    inner, hot = only(temperatures=[2.0])
    np.testing.assert_allclose(np.exp(rows(hot)).sum(axis=1), 1.0)
    assert rows(hot)[0, 0] - rows(hot)[0, 1] == pytest.approx(0.5)
    np.testing.assert_array_equal(hot.predict(IMAGES).labels, inner.predict(IMAGES).labels)


def test_rounded_probabilities_have_so_many_decimals() -> None:
    _, rounded = only(decimals=[2])
    shown = np.exp(rows(rounded))
    np.testing.assert_allclose(shown, np.round(shown, 2), atol=1e-12)
    assert np.isfinite(rows(rounded)).all()


def test_fresh_noise_differs_from_query_to_query_and_fixed_noise_does_not() -> None:
    _, fresh = only(noise=[1.0])
    _, fixed = only(fixed_noise=[1.0])
    assert not np.allclose(rows(fresh), rows(fresh))
    np.testing.assert_array_equal(rows(fixed), rows(fixed))
    assert not np.allclose(rows(fixed)[0], rows(fixed)[1])


def test_the_noise_is_as_strong_as_it_says() -> None:
    inner, noisy = only(noise=[2.0])
    # Differences of two logits get the variance of two draws.
    found = rows(noisy)[:, 0] - rows(noisy)[:, 1] - (inner.answer[0] - inner.answer[1])
    assert found.std() == pytest.approx(2.0 * 2**0.5, rel=0.35)


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_stay_images_of_their_size(name: InputName) -> None:
    inner, changed = only(inputs=[name])
    changed.predict(IMAGES)
    assert inner.seen is not None
    assert (inner.seen.shape, inner.seen.dtype) == (IMAGES.shape, np.dtype(np.uint8))
    assert not np.array_equal(inner.seen, IMAGES)


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_take_grey_images(name: InputName) -> None:
    grey = IMAGES[:, :, :, :1]
    changed = INPUTS[name](grey[0], np.random.default_rng(0))
    assert changed.shape == grey[0].shape


def test_bits_keep_white_white_and_black_black() -> None:
    flat = np.array([[[0, 128, 255]]], dtype=np.uint8)
    kept = INPUTS["bits-5"](flat, np.random.default_rng(0))
    assert kept[0, 0, 0] == 0
    assert kept[0, 0, 2] == 255
    assert abs(int(kept[0, 0, 1]) - 128) <= 4


def test_every_deployment_is_a_suspect_of_its_own() -> None:
    inner, hot = only(temperatures=[2.0])
    assert hot.identity.digest != inner.identity.digest
    assert "temperature 2" in hot.identity.name


def test_every_input_that_a_config_may_name_is_there() -> None:
    assert set(INPUTS) == set(get_args(InputName))


def together(wanted: Processing, first: Suspect, *others: Suspect) -> NDArray[np.float64]:
    ((_, partners, wrap),) = combinations(wanted, seed=0)
    assert len(partners) == len(others)
    suspect = wrap(first, others)
    found = suspect.predict(IMAGES)
    assert found.log_probabilities is not None
    np.testing.assert_array_equal(found.labels, found.log_probabilities.argmax(axis=1))
    np.testing.assert_allclose(np.exp(found.log_probabilities).sum(axis=1), 1.0)
    return np.asarray(np.exp(found.log_probabilities[0]))


def ensemble(share: float, how: Literal["mean", "top-1"], num: int) -> Processing:
    partners = tuple(f"partner-{number}" for number in range(num))
    return Processing(ensembles=(Ensemble(share=share, partners=partners, how=how),))


def test_an_ensembles_mean_is_weighted_and_its_partners_share_the_rest() -> None:
    # Odds of 8 to 1 to 1, and twice 1 to 1 to 8: 0.4 * 0.8 + 0.6 * 0.1 = 0.38.
    own, other = Rote(np.log([8.0, 1, 1])), Rote(np.log([1.0, 1, 8]))
    mean = together(ensemble(0.4, "mean", 2), own, other, other)
    assert mean == pytest.approx([0.38, 0.1, 0.52])


def test_in_a_vote_partners_that_disagree_leave_the_largest_share_to_win() -> None:
    own, second, third = (Rote(10.0 * np.eye(3)[label]) for label in range(3))
    assert together(ensemble(0.4, "top-1", 2), own, second, third).argmax() == 0
    assert together(ensemble(0.4, "top-1", 2), own, second, second).argmax() == 1


def test_a_mirrored_average_shows_both_sides() -> None:
    inner = Rote(np.zeros(3))
    ((_, _, wrap),) = combinations(Processing(views=("mirror-average",)), seed=0)
    wrap(inner, []).predict(IMAGES)
    assert inner.seen is not None
    np.testing.assert_array_equal(inner.seen, IMAGES[:, :, ::-1])


def test_a_vote_over_noise_draws_anew_each_time() -> None:
    shown: list[NDArray[np.uint8]] = []

    class Watched(Rote):
        def predict(self, images: NDArray[np.uint8]) -> Predictions:
            shown.append(images)
            return super().predict(images)

    ((_, _, wrap),) = combinations(Processing(views=("noise-vote",)), seed=0)
    wrap(Watched(np.zeros(3)), []).predict(IMAGES)
    assert len(shown) == 5
    assert not np.array_equal(shown[0], shown[1])
