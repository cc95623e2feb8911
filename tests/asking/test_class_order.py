"""Suspects whose classes stand in another order, and ones that answer queries at random."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from worlds.audit_world import CONTROL, KnownSuspect, known_bundle
from worlds.in_process import run
from worlds.tiny_world import TinyWorld

from adapters.narrowed import Relabelled
from adapters.suspect import REFUSED, Predictions
from audit.answer import Answer
from audit.asking.class_order import confusion, order_of
from audit.errors import AuditError
from audit.verdict.judge import judge
from audit.verdict.outcome import Verdict
from audit.verdict.random_answers import is_at_chance

NAMES = ("ant", "bee", "cat")


def shuffled_classes(path: Path, out: Path, order: list[int]) -> Path:
    """Write an ONNX file whose output j is the given one's output ``order[j]``."""
    model = onnx.load(path)
    (output,) = model.graph.output
    model.graph.node.append(helper.make_node("Gather", [output.name, "order"], ["moved"], axis=1))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(order), "order"))
    moved = onnx.ValueInfoProto()
    moved.CopyFrom(output)
    moved.name = "moved"
    del model.graph.output[:]
    model.graph.output.append(moved)
    onnx.save(model, out)
    return out


def test_a_copy_with_its_classes_moved_is_derived_and_its_record_can_be_asked_again(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    # The new output 0 is the old 2, so that class 0 is found at index 1.
    suspect = shuffled_classes(tiny_world.folder / "copy.onnx", tmp_path / "moved.onnx", [2, 0, 1])
    keys = ["--trust", tiny_world.public_key]
    journal = ["--journal", tmp_path / "journal.sqlite"]
    arguments = ["audit", tiny_world.bundle, *keys, "--onnx", suspect, *journal]
    as_it_is = run(*arguments)
    assert as_it_is.returncode == 15
    assert "Look at the order of the classes" in as_it_is.stdout
    assert run("keygen", tmp_path / "auditor.key").returncode == 0
    record = tmp_path / "a.kinrecord"
    signing = ["--record", record, "--auditor-key", tmp_path / "auditor.key"]
    done = run(*arguments, "--infer-classes", "--json", *signing)
    assert done.returncode == 10, done.stderr
    assert "order of the classes: 1,2,0; " in done.stderr
    details = json.loads(done.stdout)["audits"][0]["suspect"]["details"]
    assert details["class_order"] == "1,2,0"
    verified = run(
        "verify", record, "--bundle", tiny_world.bundle, *keys,
        "--trust", tmp_path / "auditor.pub", "--onnx", suspect,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout
    assert "0 of " in verified.stdout


def test_the_order_that_gets_most_images_right_is_found() -> None:
    # ant is said to be 2 (9 of 10), bee 0 (8 of 10), cat 1 (10 of 10)
    counts = np.array([[0, 1, 9], [8, 1, 1], [0, 10, 0]])
    found = order_of(counts, NAMES, accuracy_as_is=0.1)
    assert found.order == (2, 0, 1)
    assert found.accuracy == pytest.approx(27 / 30)
    assert found.unsure == ()
    assert not found.is_identity


def test_a_class_that_might_be_another_is_named() -> None:
    counts = np.array([[5, 4, 0], [3, 6, 0], [0, 0, 9]])
    found = order_of(counts, NAMES, accuracy_as_is=0.7)
    assert found.order == (0, 1, 2)
    # 5 against 4: chance does as well with probability 1/2; 6 against 3 with 130/512 = 0.25
    assert found.unsure == (
        "'ant' is the suspect's class 0 by 5 images against 4 for 1.",
        "'bee' is the suspect's class 1 by 6 images against 3 for 0.",
    )


def test_two_classes_can_be_told_apart() -> None:
    found = order_of(np.array([[1, 9], [10, 0]]), ("no", "yes"), accuracy_as_is=0.05)
    assert (found.order, found.unsure) == ((1, 0), ())


def test_a_class_without_control_images_is_named() -> None:
    counts = confusion(np.array([0, 1, 2]), np.array([0, 1, REFUSED]), 3)
    with pytest.raises(AuditError, match="control images of every class, got none of 'cat'"):
        order_of(counts, NAMES, accuracy_as_is=0.7)


def test_relabelling_moves_labels_and_probabilities_alike_and_keeps_refusals() -> None:
    class Some(KnownSuspect):
        def predict(self, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Predictions:
            rows = np.log([[0.7, 0.2, 0.1], [0.2, 0.1, 0.7], [0.1, 0.8, 0.1]])
            return Predictions(labels=np.array([0, 2, REFUSED]), log_probabilities=rows)

    images = known_bundle().arrays.controls[:3]
    given = Relabelled(Some(lambda kind, index: 0), (2, 0, 1)).predict(images)
    assert given.labels.tolist() == [1, 0, REFUSED]
    assert given.log_probabilities is not None
    assert given.log_probabilities.argmax(axis=1).tolist()[:2] == [1, 0]


def test_what_is_at_chance_follows_the_binomial_distribution() -> None:
    innocents = np.tile(np.eye(10)[3], (30, 1))
    # 30 answers of 10 classes: P(X >= 8) = 0.0078, P(X >= 7) = 0.0258 for X ~ Binomial(30, 0.1)
    for hits, expected in ((8, False), (7, True)):
        labels = np.where(np.arange(30) < hits, 3, 5)
        assert is_at_chance(labels, innocents) is expected


def test_a_suspect_that_answers_queries_at_random_is_not_called_independent() -> None:
    bundle = known_bundle()
    answers = {
        f"control/{index}": Answer(label=int(label), log_probabilities=None)
        for index, label in enumerate(bundle.arrays.control_labels)
    } | {
        f"query/{index}": Answer(label=index % 3, log_probabilities=None)
        for index in range(len(bundle.arrays.queries))
    }
    outcome = judge(bundle, answers, ("likelihood-ratio",))
    # one third are the innocents' answers, one third the derived models': chance of three classes
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert outcome.scores[0].is_evasive
    assert "agree with those of other models no more than chance would" in outcome.text
    # No answer changed when it was repeated: nobody is accused of dice.
    assert "seems to notice queries" not in outcome.text


def test_an_innocents_answers_are_not_evasive() -> None:
    bundle = known_bundle()
    suspect = KnownSuspect(lambda kind, index: 1 if kind != CONTROL else 0)
    answers = {
        f"query/{index}": Answer(label=int(label), log_probabilities=None)
        for index, label in enumerate(suspect.predict(bundle.arrays.queries).labels)
    } | {
        f"control/{index}": Answer(label=int(label), log_probabilities=None)
        for index, label in enumerate(bundle.arrays.control_labels)
    }
    outcome = judge(bundle, answers, ("likelihood-ratio",))
    assert outcome.verdict is Verdict.INDEPENDENT
    assert not outcome.scores[0].is_evasive
