"""Classes that a suspect does not have are left out for everybody, by what the bundle says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.audit_world import known_bundle
from worlds.record_builder import audited_contents
from worlds.wide_bundle import NUM_WIDE_QUERIES, wide_bundle

from adapters.suspect import Capability, absent_text
from audit.answer import Answer
from audit.asking.plan import make_plan
from audit.bundle.query_order import control_order, query_order
from audit.errors import AuditError
from audit.scores.absent_classes import read_absent, without_classes
from audit.scores.comparison import compare
from audit.scores.merged_classes import as_asked


def test_what_rests_on_the_class_is_left_out_whatever_a_suspect_answers(tmp_path: Path) -> None:
    bundle = without_classes(wide_bundle(tmp_path / "wide.kinprint"), [2])
    labels = bundle.arrays.source_query_labels
    # The source's own label, and where innocents answer it: one class further than the source.
    assert set(labels[list(bundle.left_out_queries)].tolist()) == {1, 2}
    assert len(query_order(bundle)) == NUM_WIDE_QUERIES // 2
    assert 2 not in bundle.arrays.control_labels[control_order(bundle)]
    plan = make_plan(bundle, ("likelihood-ratio",), Capability.LABELS)
    control, query = plan.groups
    assert (control.num_questions, query.num_questions) == (6, NUM_WIDE_QUERIES // 2)
    # Questions keep their names, and with them their images.
    assert query.question(0) == f"query/{query_order(bundle)[0]}"
    assert (query.images()[0] == bundle.arrays.queries[query_order(bundle)[0]]).all()


def test_the_other_classes_share_what_the_class_had() -> None:
    # P is (0.7, 0.15, 0.15) and Q is (0.15, 0.7, 0.15) for each query: class 2 has a small share.
    bundle = without_classes(known_bundle(), [2])
    assert bundle.left_out_queries == ()
    np.testing.assert_allclose(bundle.arrays.derived_probabilities[0], [14 / 17, 3 / 17, 0])
    np.testing.assert_allclose(bundle.arrays.innocent_probabilities[0], [3 / 17, 14 / 17, 0])


def naming_it() -> NDArray[np.int64]:
    labels = known_bundle().arrays.model_query_labels.copy()
    labels[0, 0] = labels[9, 0] = 2  # an innocent and a derived model name the absent class once
    return labels


def test_a_model_that_names_the_class_counts_at_its_bound() -> None:
    bundle = known_bundle()
    bundle = replace(bundle, arrays=replace(bundle.arrays, model_query_labels=naming_it()))
    labels = without_classes(bundle, [2]).arrays.model_query_labels
    # Class 0 speaks for derivation, class 1 against it.
    assert (labels[0, 0], labels[9, 0]) == (0, 1)
    given = {"query/0": Answer(label=0, log_probabilities=None)}
    found = compare(without_classes(bundle, [2]), given, "likelihood-ratio")
    # The innocent ranks as high as a suspect that answers like a copy.
    assert found.models[0] == found.value


def test_a_model_whose_ranking_is_known_says_what_it_ranks_next() -> None:
    bundle = known_bundle()
    rankings = np.stack([naming_it(), np.where(naming_it() == 2, 1, 2)], axis=-1)
    arrays = replace(bundle.arrays, model_query_labels=naming_it(), model_rankings=rankings)
    labels = without_classes(replace(bundle, arrays=arrays), [2]).arrays.model_query_labels
    assert (labels[0, 0], labels[9, 0]) == (1, 1)


@pytest.mark.parametrize("score", ["trajectory-rate", "mfue-b"])
def test_a_score_that_cannot_leave_a_class_out_is_refused(score: str) -> None:
    bundle = without_classes(known_bundle(), [2])
    with pytest.raises(AuditError, match=f"does not have all classes of the bundle, got {score}"):
        make_plan(bundle, (score,), Capability.LABELS)


def test_too_few_queries_that_are_left_are_refused() -> None:
    bundle = without_classes(audited_contents(), [2])
    with pytest.raises(AuditError, match="at least 20 queries that do not rest on them, got 12 of"):
        make_plan(bundle, ("likelihood-ratio",), Capability.LABELS)


def test_absent_classes_are_read_as_they_are_written() -> None:
    assert read_absent(absent_text((1, 4)), 10) == (1, 4)
    settings = {"absent_classes": "2"}
    assert as_asked(known_bundle(), settings).lacks_classes


@pytest.mark.parametrize("text", ["", "x", "4", "1,1", "2,1", "0,1,2"])
def test_what_is_no_class_or_more_than_half_of_them_is_refused(text: str) -> None:
    with pytest.raises(AuditError, match="absent_classes: expected at most half of the classes"):
        read_absent(text, 4)
