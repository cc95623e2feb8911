from pathlib import Path

import numpy as np
import pytest
from worlds.bundle_builder import GOLDEN, OWNER_TRUST
from worlds.record_builder import audited_contents

from audit.answer import Answer
from audit.bundle.inspection import SignatureState
from audit.report.question_view import question_view, source_label
from audit.scores.query_budget import query_budget
from audit.signing.keys import Trust
from audit.suspects.found_files import (
    SuspectKind,
    bundle_files,
    describe_suspect,
    find_bundles,
    find_suspects,
)
from audit.verdict.control_confusion import control_confusion
from generator.demo.server import write_endpoint_file


def test_bundles_are_found_two_folders_deep_with_the_state_of_their_signature(
    tmp_path: Path,
) -> None:
    for place in ("a.kinprint", "one/b.kinprint", "one/two/c.kinprint", "one/two/three/d.kinprint"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(GOLDEN.read_bytes())
    (tmp_path / ".hidden.kinprint").write_bytes(GOLDEN.read_bytes())
    (tmp_path / "b.kinprint").write_bytes(b"no bundle")
    assert [path.name for path in bundle_files(tmp_path)] == [
        "a.kinprint",
        "b.kinprint",
        "b.kinprint",
        "c.kinprint",
    ]
    found = {one.path: one for one in find_bundles(tmp_path, OWNER_TRUST)}
    assert found[tmp_path / "a.kinprint"].state is SignatureState.TRUSTED
    assert found[tmp_path / "b.kinprint"].state is None
    assert "bundle" in found[tmp_path / "b.kinprint"].reason
    (untrusted, *_) = find_bundles(tmp_path / "one", Trust(keys=()))
    assert untrusted.state is SignatureState.UNTRUSTED
    assert untrusted.contents is not None


def test_suspects_are_told_by_kind_and_other_toml_files_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"x" * 10)
    write_endpoint_file(tmp_path / "b.toml", 80, ["cat", "dog"])
    (tmp_path / "c.toml").write_text('format = "kinprint-suspect"\n[model]\nfile = "a.onnx"\n')
    (tmp_path / "d.toml").write_text('format = "generic"\nurl = 7\n')
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    (tmp_path / "broken.toml").write_text("= =")
    (tmp_path / "notes.txt").write_text("")
    found = find_suspects(tmp_path)
    assert [(one.path.name, one.kind) for one in found] == [
        ("a.onnx", SuspectKind.ONNX),
        ("b.toml", SuspectKind.ENDPOINT),
        ("c.toml", SuspectKind.DESCRIBED),
        ("d.toml", SuspectKind.ENDPOINT),
    ]
    assert (found[0].num_bytes, found[1].target) == (10, "http://127.0.0.1:80/classify")
    assert found[2].target == "a.onnx"
    assert "url" in found[3].problem
    assert describe_suspect(tmp_path / "gone.onnx") is None
    assert find_suspects(tmp_path / "no-such-folder") == ()


def answers(labels: list[int]) -> dict[str, Answer]:
    return {
        f"control/{index}": Answer(label=label, log_probabilities=None)
        for index, label in enumerate(labels)
    }


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda truth: (truth + 1) % 4, "With the classes in another order 8 of 8 would be right"),
        (lambda truth: truth * 0, "Most images are called 'cat'"),
        (lambda truth: truth * 0 - 1, "8 of 8 images got no class"),
    ],
)
def test_the_likely_cause_of_wrong_controls_comes_first(change: object, cause: str) -> None:
    bundle = audited_contents()
    assert callable(change)
    given = [int(label) for label in change(bundle.arrays.control_labels)]
    confusion = control_confusion(bundle, answers(given))
    assert confusion.likely_causes[0].startswith(cause)
    assert int(confusion.counts.sum()) + confusion.num_refused == 8
    told = " ".join(confusion.likely_causes)
    assert told.count("normalisation") == told.count("colour order") == 1


def test_right_controls_lie_on_the_diagonal() -> None:
    bundle = audited_contents()
    confusion = control_confusion(bundle, answers([int(x) for x in bundle.arrays.control_labels]))
    assert int(np.trace(confusion.counts)) == 8
    assert control_confusion(bundle, {}).likely_causes == ()


def test_the_query_budget_says_from_when_derived_models_stay_above_innocents() -> None:
    bundle = audited_contents()
    budget = query_budget(bundle)
    assert budget is not None
    roles = np.array([model.role for model in bundle.manifest.calibration_models])
    # The last point of the curve is the score over all queries, which the arrays give directly.
    table = np.log(bundle.arrays.derived_probabilities + bundle.manifest.epsilon) - np.log(
        bundle.arrays.innocent_probabilities + bundle.manifest.epsilon
    )
    whole = table[np.arange(len(table)), bundle.arrays.model_query_labels].mean(axis=1)
    assert budget.innocent_max[-1] == pytest.approx(whole[roles == "innocent"].max(), abs=1e-6)
    assert budget.derived_min[-1] == pytest.approx(whole[roles == "derived"].min(), abs=1e-6)
    needed = budget.num_needed
    if needed is not None:
        assert (budget.share_above[needed - 1 :] == 1).all()


def test_every_kind_of_question_can_be_looked_at() -> None:
    bundle = audited_contents()
    arrays = bundle.arrays
    assert (question_view(bundle, "control/1").image == arrays.controls[1]).all()
    assert (question_view(bundle, "query/2").image == arrays.queries[2]).all()
    trigger = question_view(bundle, "trigger/0")
    assert trigger.clean is not None
    assert (trigger.clean == arrays.carriers[0]).all()
    assert source_label(bundle, "query/2") == int(arrays.source_query_labels[2])
    if bundle.manifest.probes is not None:
        assert question_view(bundle, "probe/1/3").image.shape == arrays.triggers[1].shape


def test_listings_of_two_readings_can_be_compared(tmp_path: Path) -> None:
    (tmp_path / "a.kinprint").write_bytes(GOLDEN.read_bytes())
    assert find_bundles(tmp_path, OWNER_TRUST) != find_bundles(tmp_path, OWNER_TRUST)
