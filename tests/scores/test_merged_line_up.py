"""A line-up for a suspect that takes several classes for one: merged for every member alike."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.line_up_world import LineUpWorld, line_up_answers

from audit.answer import Answer
from audit.bundle.line_up import MAX_CODE, LineUp
from audit.bundle.manifest import BundleContents
from audit.scores.merged_classes import merge_classes
from audit.verdict.judge import judge
from audit.verdict.outcome import ScoreOutcome, Verdict
from audit.verdict.rule import DecisionRule

GROUPS = ((1, 2),)
EARLY = DecisionRule(alpha=0.05, beta=0.1, stopping_error=0.005)
WHOLE = DecisionRule(alpha=0.05, beta=0.1)


@pytest.fixture(scope="module")
def world() -> LineUpWorld:
    return LineUpWorld(num_questions=400)


def merged_answers(log_probabilities: NDArray[np.float64]) -> dict[str, Answer]:
    """What a vendor says that calls classes 1 and 2 by one name."""
    both = np.exp(log_probabilities)
    both = np.stack([both[:, 0], both[:, 1] + both[:, 2]], axis=1)
    answers = line_up_answers(np.log(np.hstack([both, np.full((len(both), 1), 1e-30)])))
    controls = {name: one for name, one in answers.items() if name.startswith("control/")}
    controls = {name: replace(one, label=min(one.label, 1)) for name, one in controls.items()}
    return {**answers, **controls}


def judged(bundle: BundleContents, answers: dict[str, Answer], rule: DecisionRule) -> ScoreOutcome:
    return judge(merge_classes(bundle, GROUPS), answers, ("line-up",), rule).scores[0]


def with_codes(world: LineUpWorld, codes: object) -> BundleContents:
    arrays = replace(
        world.line_up.arrays, member_codes=np.array(codes, dtype=np.uint8).reshape(1, -1, 3)
    )
    line_up = LineUp(record=world.line_up.record, arrays=arrays)
    return replace(world.bundle, line_up=line_up)


def test_a_groups_code_is_that_of_its_probabilities_together(world: LineUpWorld) -> None:
    found = merge_classes(with_codes(world, [[8, 16, 16], [3, 40, 255]]), GROUPS).line_up
    assert found is not None
    # 2 e^-1 is e^-0.307, 4.9 sixteenths of a nat; e^-2.5 with nothing beside it stays what it is.
    assert found.arrays.member_codes.tolist() == [[[8, 5, MAX_CODE], [3, 40, MAX_CODE]]]


@pytest.mark.parametrize("rule", [EARLY, WHOLE])
def test_a_student_is_found_and_an_innocent_is_not(world: LineUpWorld, rule: DecisionRule) -> None:
    student = judged(world.bundle, merged_answers(world.derived(0, noise=0.2)), rule)
    assert student.verdict is Verdict.DERIVED
    assert student.line_up is not None
    assert student.line_up.rank == 1
    assert judged(world.bundle, merged_answers(world.innocent()), rule).verdict is not (
        Verdict.DERIVED
    )


def test_a_student_of_a_sibling_picks_that_sibling(world: LineUpWorld) -> None:
    found = judged(world.bundle, merged_answers(world.derived(4, noise=0.2)), WHOLE)
    assert found.line_up is not None
    assert int(np.argmax(found.line_up.leads)) == 4


def test_members_are_merged_alike_whoever_stands_where(world: LineUpWorld) -> None:
    order = np.random.default_rng(0).permutation(20)
    arrays = world.line_up.arrays
    moved = LineUp(
        record=world.line_up.record,
        arrays=replace(
            arrays,
            member_codes=arrays.member_codes[order],
            member_control_codes=arrays.member_control_codes[order],
        ),
    )
    as_made = merge_classes(world.bundle, GROUPS).line_up
    other = merge_classes(replace(world.bundle, line_up=moved), GROUPS).line_up
    assert as_made is not None
    assert other is not None
    assert (other.arrays.member_codes == as_made.arrays.member_codes[order]).all()
    controls = as_made.arrays.member_control_codes[order]
    assert (other.arrays.member_control_codes == controls).all()
    assert (other.arrays.model_labels == as_made.arrays.model_labels).all()


def test_that_two_classes_are_weak_is_said(world: LineUpWorld) -> None:
    weak = "With two classes an answer says little"
    assert weak in judged(world.bundle, merged_answers(world.innocent()), EARLY).reason
    whole = judge(world.bundle, line_up_answers(world.innocent()), ("line-up",), EARLY)
    assert weak not in whole.text
