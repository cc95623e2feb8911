from pathlib import Path

import numpy as np
import pytest
from worlds.linear_model import LinearModel
from worlds.tiny_task import MEAN, STD, tiny_images, tiny_net, trained_net

from generator.crafting.contrast import contrast_objective
from generator.crafting.queries import choose_queries
from generator.pools.students import SELECTION, make_students
from generator.sources.contract import InputContract
from generator.sources.source import Source
from generator.sources.torch_suspect import TorchSuspect, predict_logits


@pytest.fixture(scope="module")
def source() -> Source:
    return Source(
        model=trained_net(1, tiny_images(300, 1)),
        factory=tiny_net,
        architecture="tiny",
        weights_sha256="",
        contract=InputContract(mean=MEAN, std=STD),
    )


def test_students_answer_like_their_teacher_and_no_two_are_made_alike(source: Source) -> None:
    assert len({kind.architecture for kind in SELECTION}) == len(SELECTION)
    images = tiny_images(300, 2)
    students = make_students(source, images, SELECTION, epochs=6, learning_rate=0.05, seed=0)
    shown = tiny_images(100, 3).images
    told = predict_logits(source.model, shown).argmax(axis=1)
    for student in students:
        assert student.role == "derived"
        assert student.network is not None
        learnt = predict_logits(student.network, shown).argmax(axis=1)
        assert (learnt == told).mean() > 0.8
    assert len({student.weights_sha256 for student in students}) == len(students)


def test_finished_students_are_taken_up_again(source: Source, tmp_path: Path) -> None:
    images = tiny_images(60, 2)

    def made(epochs: float) -> list[str]:
        students = make_students(
            source, images, SELECTION, epochs=epochs, learning_rate=0.05, seed=0, work=tmp_path
        )
        return [student.weights_sha256 for student in students]

    first = made(1)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(times) == len(SELECTION)
    assert made(1) == first
    assert {path: path.stat().st_mtime_ns for path in times} == times
    next(iter(times)).write_bytes(b"cut off")  # a broken checkpoint is made again
    assert made(1) == first
    assert made(2) != first  # and another recipe takes nothing of this one


def test_without_epochs_there_are_no_students(source: Source) -> None:
    assert not make_students(
        source, tiny_images(20, 2), SELECTION, epochs=0, learning_rate=0.1, seed=0
    )


def test_every_group_of_derived_models_counts_the_same() -> None:
    # Three copies say class 0, the only student says class 1.
    copies = [LinearModel([[9.0] * 3, [0.0] * 3]) for _ in range(3)]
    student = LinearModel([[0.0] * 3, [9.0] * 3])
    image = np.full((1, 1, 1, 3), 255, dtype=np.uint8)
    innocent = TorchSuspect("i", LinearModel([[0.0] * 3] * 2))
    chosen = choose_queries(
        [image],
        [[TorchSuspect("c", copy) for copy in copies], [TorchSuspect("s", student)]],
        [],
        [innocent],
        num_queries=1,
        epsilon=0.05,
        rng=np.random.default_rng(0),
    )
    assert chosen.derived_probabilities[0] == pytest.approx([0.5, 0.5])
    losses, _ = contrast_objective([copies, [student]], [], epsilon=0.05)(image, np.array([1]))
    # cross-entropies of class 1: 27 nats for each copy, 0 for the student
    assert losses[0] == pytest.approx(27 / 2, abs=1e-3)
