"""Who shapes queries and who sets thresholds, of all that is derived from a source."""

import numpy as np
import pytest
from worlds.linear_model import LinearModel
from worlds.tiny_task import MEAN, STD, tiny_images, tiny_net, trained_net

from generator.images.labelled import ImageSet
from generator.images.splits import Splits
from generator.pools.derived import DerivedPool, make_derived_pool
from generator.pools.mimics import MimicSettings, make_mimics
from generator.pools.preconditions import comparable_models
from generator.pools.references import torch_pool_model
from generator.pools.removal import round_to_half
from generator.pools.students import CALIBRATION, SELECTION
from generator.settings import CraftSettings
from generator.sources.contract import InputContract
from generator.sources.source import Normalised, Source


@pytest.fixture(scope="module")
def source() -> Source:
    return Source(
        model=trained_net(1, tiny_images(300, 1)),
        factory=tiny_net,
        architecture="tiny",
        weights_sha256="",
        contract=InputContract(mean=MEAN, std=STD),
    )


def pool(source: Source, **changes: float | bool) -> DerivedPool:
    options = {name: value for name, value in changes.items() if name.startswith("with_")}
    settings = {name: value for name, value in changes.items() if name not in options}
    splits = Splits(
        training=tiny_images(200, 1),
        controls=tiny_images(60, 4),
        tuning=tiny_images(60, 5),
        candidates=tiny_images(60, 6),
    )
    mimics, _ = make_mimics(
        source.model, splits.training, MimicSettings(num_mimics=2, batch_size=32), seed=0
    )
    return make_derived_pool(
        source,
        mimics,
        splits,
        CraftSettings.model_validate(
            {"student_learning_rate": 0.02, "hardening_epochs": 1, **settings}, strict=False
        ),
        innocents=[],
        control_accuracy=0.9,
        work=None,
        report=lambda stage, done, total: None,
        **options,  # type: ignore[arg-type]
    )


def test_students_calibrate_where_students_shape_queries(source: Source) -> None:
    made = pool(source, student_epochs=6, min_control_agreement=0.5)
    calibrating = [one for one in made.calibration if one.stratum == "extracted"]
    assert [one.name for one in made.students] == [kind.name for kind in SELECTION]
    assert [one.name for one in calibrating] == [kind.name for kind in CALIBRATION]
    digests = [one.weights_sha256 for one in (*made.copies, *made.students, *made.calibration)]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("changes", [{}, {"student_epochs": 6, "with_students": False}])
def test_without_students_none_calibrate(source: Source, changes: dict[str, float]) -> None:
    made = pool(source, min_control_agreement=0.5, **changes)
    assert not made.students
    assert "extracted" not in {one.stratum for one in made.calibration}


def test_what_is_no_suspect_any_more_takes_no_part_and_is_named() -> None:
    # Two classes by the sign of one pixel; how many of ten images each model gets right is known.
    images = np.zeros((10, 1, 1, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(10) * 20
    controls = ImageSet(images, np.array([0] * 5 + [1] * 5), ("dark", "bright"))
    models = [
        torch_pool_model(
            LinearModel([[0.0] * 3, [1.0, 0.0, 0.0]], [0.0, -turn / 255]),
            name=f"turns at {turn}",
            role="derived",
            stratum="copy",
            provenance="",
        )
        for turn in (90, 30, 250, 110)  # 10, 7, 5 and 9 of 10 right
    ]

    def kept(floor: float) -> list[str]:
        chosen, _ = comparable_models(models, controls, floor=floor)
        return [one.name for one in chosen]

    assert kept(0.7) == ["turns at 90", "turns at 30", "turns at 110"]
    assert kept(0.95) == ["turns at 90"]
    # One of two classes by chance alone: 60 % are asked for in any case.
    assert kept(0.0) == ["turns at 90", "turns at 30", "turns at 110"]
    _, left_out = comparable_models(models, controls, floor=0.7)
    assert left_out == [
        "turns at 250 (copy) gets 50% of the control images right, less than 70%, and takes no part"
    ]


def test_a_half_copy_of_a_source_in_half_precision_does_not_set_its_own_threshold() -> None:
    model = round_to_half(trained_net(1, tiny_images(300, 1)))
    assert isinstance(model, Normalised)
    rounded = Source(
        model=model,
        factory=tiny_net,
        architecture="tiny",
        weights_sha256="",
        contract=InputContract(mean=MEAN, std=STD),
    )
    made = pool(rounded, student_epochs=0, min_control_agreement=0.5)
    assert "half" not in {one.name for one in made.calibration}
    assert any(told.startswith("half has the weights of source") for told in made.left_out)
    shaping = {one.weights_sha256 for one in made.copies}
    assert not shaping & {one.weights_sha256 for one in made.calibration}
