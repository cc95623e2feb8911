"""Which of several sources: p-values by hand, the rate over simulated versions, and the command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY, OWNER_KEY
from worlds.fingerprint_builder import line_up_bundle
from worlds.in_process import Done, run
from worlds.line_up_world import LineUpWorld, line_up_answers
from worlds.record_builder import copy_rule, innocent_rule
from worlds.screens.ui_desk import answering_model

from audit.bundle.bundle_file import write_bundle
from audit.exit_codes import ExitCode
from audit.verdict.attribution import SourceFinding, attribute, holm
from audit.verdict.judge import judge
from audit.verdict.outcome import Verdict
from audit.verdict.p_values import clopper_pearson
from audit.verdict.rule import DecisionRule

EARLY = DecisionRule(alpha=0.05, beta=0.1, stopping_error=0.005)


def finding(name: str, verdict: Verdict, p_value: float) -> SourceFinding:
    return SourceFinding(model_name=name, verdict=verdict, p_value=p_value, level=0.05)


def test_holm_multiplies_by_the_tests_that_are_left() -> None:
    # 0.01 * 3, 0.03 * 2, and 0.04 * 1, which may not be below the one before it
    assert holm(np.array([0.04, 0.01, 0.03])).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_one_source_is_named_with_its_p_value() -> None:
    found = attribute(
        [finding("v1", Verdict.INDEPENDENT, 0.6), finding("v2", Verdict.DERIVED, 0.05)]
    )
    assert found.named == ("v2",)
    assert found.adjusted_p_values == (0.6, 0.1)
    assert found.level == 0.1
    assert found.text == (
        "It has learnt from the answers or weights of 'v2' (p = 0.050, 0.100 for having tried 2). "
        "Nothing was found of the other source, which does not prove that there is nothing. A "
        "model that learnt from none of the 2 sources is led to one of them with probability at "
        "most 0.1."
    )


def test_two_names_do_not_say_which() -> None:
    found = attribute([finding(name, Verdict.DERIVED, 0.05) for name in ("v1", "v2")])
    assert found.named == ("v1", "v2")
    assert "do not tell which" in found.text


def test_no_name_clears_nobody() -> None:
    found = attribute([finding(name, Verdict.INCONCLUSIVE, 0.2) for name in ("v1", "v2")])
    assert found.named == ()
    assert found.text.startswith("No source is named, which does not clear the suspect of any.")


def test_a_student_of_one_version_names_that_one_as_often_as_the_rate_allows() -> None:
    """Two versions of other training; whoever learnt from the second is a stranger to the first."""
    names_first = names_second = 0
    for seed in range(50):
        first = LineUpWorld(seed=seed, num_questions=120, num_derived=2)
        second = LineUpWorld(seed=1000 + seed, num_questions=120, num_derived=2)
        found = attribute(
            [
                SourceFinding(
                    model_name=name,
                    verdict=outcome.verdict,
                    p_value=outcome.scores[0].p_value,
                    level=0.05,
                )
                for name, outcome in (
                    (
                        "v1",
                        judge(first.bundle, line_up_answers(first.innocent()), ("line-up",), EARLY),
                    ),
                    (
                        "v2",
                        judge(
                            second.bundle, line_up_answers(second.derived(0)), ("line-up",), EARLY
                        ),
                    ),
                )
            ]
        )
        names_first += "v1" in found.named
        names_second += "v2" in found.named
    # At most one in twenty is led astray; a lead that innocents do not reach makes it rarer.
    assert clopper_pearson(names_first, 50)[0] <= 0.05
    assert names_second >= 45


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bundles: the first's source is what ``copy.onnx`` copies, the second's a sibling."""
    folder = tmp_path_factory.mktemp("versions")
    first = line_up_bundle(folder / "a.kinprint", model_name="version 1")
    assert first.line_up is not None
    arrays, record = first.line_up.arrays, first.line_up.record
    order = np.array([5, *(place for place in range(20) if place != 5)])
    line_up = type(first.line_up)(
        record=record.model_copy(update={"members": tuple(record.members[i] for i in order)}),
        arrays=type(arrays)(
            questions=arrays.questions,
            member_codes=arrays.member_codes[order],
            member_control_codes=arrays.member_control_codes[order],
            model_labels=arrays.model_labels,
            model_codes=arrays.model_codes,
        ),
    )
    source = first.manifest.source.model_copy(update={"weights_sha256": "ef" * 32})
    manifest = first.manifest.model_copy(update={"model_name": "version 2", "source": source})
    write_bundle(folder / "b.kinprint", manifest, first.arrays, OWNER_KEY, line_up)
    for name, rule in (("copy", copy_rule), ("stranger", innocent_rule)):
        onnx.save(answering_model(rule), folder / f"{name}.onnx")
    return folder


def attributed(folder: Path, journal: Path, *options: object) -> Done:
    return run(
        "audit", "--attribute", folder / "a.kinprint", folder / "b.kinprint",
        "--trust", GOLDEN_PUBLIC_KEY, "--journal", journal, *options,
    )  # fmt: skip


def test_the_command_names_the_version_that_was_copied(versions: Path, tmp_path: Path) -> None:
    done = attributed(versions, tmp_path / "j", "--onnx", versions / "copy.onnx", "--json")
    assert done.returncode == ExitCode.DERIVED, done.stderr
    (one,) = json.loads(done.stdout)["suspects"]
    assert one["named"] == ["version 1"]
    assert one["alpha"] == 0.1
    sources: list[dict[str, Any]] = one["sources"]
    assert sources[0]["outcome"]["scores"][0]["line_up"]["rank"] == 1
    assert sources[0]["outcome"]["scores"][0]["p_value"] == 0.05
    assert sources[0]["adjusted_p_value"] == 0.1
    assert sources[1]["outcome"]["verdict"] != "derived"
    stranger = attributed(versions, tmp_path / "s", "--onnx", versions / "stranger.onnx", "--json")
    assert json.loads(stranger.stdout)["suspects"][0]["named"] == []
    told = attributed(versions, tmp_path / "k", "--onnx", versions / "copy.onnx").stdout
    assert "copy.onnx: It has learnt from the answers or weights of 'version 1'" in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--score", "line-up"], "are for one bundle"),
        (["--resume"], "are for one bundle"),
        (["--alpha", "0.3"], "expected a rate above 0|would name a source for an innocent"),
    ],
)
def test_what_is_about_one_bundle_is_refused(
    versions: Path, tmp_path: Path, options: list[str], told: str
) -> None:
    done = attributed(versions, tmp_path / "j", "--onnx", versions / "copy.onnx", *options)
    assert done.returncode == ExitCode.USAGE
    assert any(part in done.stderr for part in told.split("|")), done.stderr


def test_one_source_twice_is_refused(versions: Path, tmp_path: Path) -> None:
    done = run(
        "audit", "--attribute", versions / "a.kinprint", versions / "a.kinprint",
        "--trust", GOLDEN_PUBLIC_KEY, "--onnx", versions / "copy.onnx",
    )  # fmt: skip
    assert done.returncode == ExitCode.USAGE
    assert "are bundles of the same source; give each version once" in done.stderr


def test_several_bundles_need_to_be_told_why(versions: Path) -> None:
    done = run(
        "audit", versions / "a.kinprint", versions / "b.kinprint",
        "--trust", GOLDEN_PUBLIC_KEY, "--onnx", versions / "copy.onnx",
    )  # fmt: skip
    assert done.returncode == ExitCode.USAGE
    assert "expected one BUNDLE, got 2; --attribute compares several" in done.stderr
