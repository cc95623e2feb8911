"""Classes that count as one count so for everybody."""

import numpy as np
import pytest
from worlds.audit_world import K, known_bundle
from worlds.record_builder import audited_contents

from adapters.suspect import REFUSED, groups_text
from audit.answer import Answer
from audit.errors import AuditError
from audit.scores.comparison import compare
from audit.scores.merged_classes import as_asked, merge_classes, read_groups


def answers(labels: list[int]) -> dict[str, Answer]:
    return {
        f"query/{index}": Answer(label=label, log_probabilities=None)
        for index, label in enumerate(labels)
    }


def test_probabilities_of_a_group_are_added_up() -> None:
    # P is (0.7, 0.15, 0.15) and Q is (0.15, 0.7, 0.15) for each query.
    arrays = merge_classes(known_bundle(), ((1, 2),)).arrays
    np.testing.assert_allclose(arrays.derived_probabilities[0], [0.7, 0.3, 0])
    np.testing.assert_allclose(arrays.innocent_probabilities[0], [0.15, 0.85, 0])


def test_suspect_and_models_are_scored_on_the_same_evidence() -> None:
    bundle = merge_classes(known_bundle(), ((1, 2),))
    found = compare(bundle, answers([1] * 40), "likelihood-ratio")
    # log(0.3 + 0.05) - log(0.85 + 0.05): what an innocent answers, all of whom answer class 1.
    expected = np.log(0.35) - np.log(0.9)
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert found.models[:9] == pytest.approx(np.full(9, expected), abs=1e-6)
    # Derived ones answer class 0: log(0.75) - log(0.2).
    assert found.models[9:] == pytest.approx(np.full(9, np.log(0.75) - np.log(0.2)), abs=1e-6)


def test_labels_of_everybody_go_by_the_first_class() -> None:
    bundle = merge_classes(known_bundle(), ((0, 2),))
    assert set(bundle.arrays.control_labels.tolist()) == {0, 1}
    assert bundle.manifest == known_bundle().manifest


def test_refusals_stay_refusals_and_count_against_derivation() -> None:
    bundle = merge_classes(known_bundle(), ((1, 2),))
    found = compare(bundle, answers([REFUSED] * 40), "likelihood-ratio")
    assert found.value == pytest.approx(np.log(0.35) - np.log(0.9), abs=1e-6)
    assert found.num_refused == 40


def test_triggers_of_a_merged_class_are_compared_for_nobody() -> None:
    # All 30 triggers are of class 0, about which alone the models' losses are known.
    row = np.log(np.full(K, 1 / K))
    given = {f"trigger/{i}": Answer(label=0, log_probabilities=row) for i in range(30)}
    assert len(compare(known_bundle(), given, "mfue-w").asked) == 30
    assert len(compare(merge_classes(known_bundle(), ((0, 1),)), given, "mfue-w").asked) == 0
    assert len(compare(merge_classes(known_bundle(), ((1, 2),)), given, "mfue-w").asked) == 30


def test_rankings_keep_their_length_and_name_each_class_once() -> None:
    bundle = audited_contents()
    merged = merge_classes(bundle, ((1, 3),)).arrays
    before, after = bundle.arrays.selection_rankings, merged.selection_rankings
    assert before.shape == after.shape
    for old, new in zip(
        before.reshape(-1, before.shape[-1]), after.reshape(-1, after.shape[-1]), strict=True
    ):
        kept = list(dict.fromkeys(1 if label == 3 else label for label in old.tolist()))
        assert new[: len(kept)].tolist() == kept
        assert len(set(new.tolist())) == len(new)


def test_groups_are_read_as_they_are_written() -> None:
    groups = ((1, 9), (3, 4, 7))
    assert read_groups(groups_text(groups), 10) == groups


@pytest.mark.parametrize("text", ["", "1", "1=1", "2=1", "1=10", "1=2;2=3", "1=x", "1=2;"])
def test_what_is_no_group_is_refused(text: str) -> None:
    with pytest.raises(AuditError, match="merged_classes: expected groups"):
        read_groups(text, 10)


def test_a_suspect_that_merges_nothing_leaves_the_bundle_alone() -> None:
    bundle = known_bundle()
    assert as_asked(bundle, {"output": "logits"}) is bundle
