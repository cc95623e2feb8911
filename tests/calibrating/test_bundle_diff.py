"""What changed from one bundle to another."""

import dataclasses
import json
from pathlib import Path

from worlds.bundle_builder import OWNER_KEY
from worlds.in_process import run
from worlds.record_builder import (
    GOLDEN_BUNDLE,
    NUM_DERIVED,
    NUM_QUERIES,
    audited_bundle,
    audited_contents,
)

from audit.bundle.manifest import BundleContents
from audit.calibrating.bundle_diff import diff_bundles


def with_arrays(bundle: BundleContents, **changes: object) -> BundleContents:
    arrays = dataclasses.replace(bundle.arrays, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(bundle, arrays=arrays)


def test_queries_in_another_order_are_the_same_queries() -> None:
    bundle = audited_contents()
    arrays = bundle.arrays
    turned = with_arrays(
        bundle,
        queries=arrays.queries[::-1],
        source_query_labels=arrays.source_query_labels[::-1],
    )
    queries = next(one for one in diff_bundles(bundle, turned).images if one.kind == "queries")
    assert (queries.num_same, queries.num_added, queries.num_removed) == (NUM_QUERIES, 0, 0)
    assert queries.has_other_order
    assert queries.num_other_labels == 0


def test_a_query_whose_answer_is_another_one_is_counted() -> None:
    bundle = audited_contents()
    labels = bundle.arrays.source_query_labels.copy()
    labels[0] = (labels[0] + 1) % 4
    found = diff_bundles(bundle, with_arrays(bundle, source_query_labels=labels))
    queries = next(one for one in found.images if one.kind == "queries")
    assert (queries.num_other_labels, queries.has_other_order) == (1, False)


def test_a_model_left_out_is_named_with_what_it_does_to_the_thresholds() -> None:
    bundle = audited_contents()
    models = bundle.manifest.models
    gone = models[-1]
    fewer = with_arrays(
        bundle,
        **{
            field.name: getattr(bundle.arrays, field.name)[:-1]
            for field in dataclasses.fields(bundle.arrays)
            if field.name.startswith("model_")
        },
    )
    fewer = dataclasses.replace(
        fewer, manifest=bundle.manifest.model_copy(update={"models": models[:-1]})
    )
    found = diff_bundles(bundle, fewer)
    (group,) = found.models
    assert (group.role, group.removed, group.added) == ("derived", (gone.name,), ())
    assert group.num_same == NUM_DERIVED - 1
    changed = {one.field: (one.then, one.now) for one in found.facts}
    assert changed["thresholds.derived_models"] == (NUM_DERIVED, NUM_DERIVED - 1)


def test_the_command_tells_one_changed_fact_and_nothing_else(tmp_path: Path) -> None:
    other = audited_bundle(tmp_path / "other.kinprint", model_name="renamed")
    trust = tmp_path / "owner.pub"
    trust.write_bytes(OWNER_KEY.public_key.pem)
    done = run("bundle", "diff", GOLDEN_BUNDLE, other, "--trust", trust, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert not document["is_same"]
    assert document["facts"] == [
        {
            "section": "source",
            "field": "model_name",
            "then": "audited-test-model",
            "now": "renamed",
        }
    ]
    assert (document["models"], document["arrays"]) == ([], [])
    assert run("bundle", "diff", GOLDEN_BUNDLE, other).returncode == 13
    same = run("bundle", "diff", other, other, "--trust", trust)
    assert same.stdout == "It is one bundle: nothing that is signed differs.\n"
