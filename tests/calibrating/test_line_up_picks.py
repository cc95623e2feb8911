"""Whom innocents of a judge pick from a line-up, and how seldom that is in a fair one."""

import json
from collections import Counter
from itertools import product
from pathlib import Path

import onnx
import pytest
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.fingerprint_builder import line_up_bundle
from worlds.in_process import run
from worlds.record_builder import copy_rule, innocent_rule
from worlds.screens.ui_desk import answering_model

from audit.calibrating.line_up_picks import largest_count_p_value, line_up_picks
from audit.verdict.line_up_outcome import LineUpOutcome


@pytest.mark.parametrize(("num_picks", "num_members"), [(1, 3), (4, 2), (5, 3), (6, 3)])
def test_the_largest_count_has_the_chance_that_counting_all_ways_gives(
    num_picks: int, num_members: int
) -> None:
    ways = list(product(range(num_members), repeat=num_picks))
    for largest in range(1, num_picks + 1):
        reached = sum(max(Counter(way).values()) >= largest for way in ways)
        found = largest_count_p_value(largest, num_picks, num_members)
        assert found == pytest.approx(reached / len(ways))


def test_hundreds_of_innocents_can_be_counted() -> None:
    # 300 picks of 20 members: 15 each on average; the most picked one has 24 or so
    assert largest_count_p_value(15, 300, 20) == pytest.approx(1)
    assert 0.1 < largest_count_p_value(24, 300, 20) < 0.9
    assert largest_count_p_value(60, 300, 20) < 1e-12


def outcome(*leads: float) -> LineUpOutcome:
    return LineUpOutcome(
        source=0,
        leads=leads,
        rank=1,
        led_after=None,
        lead_bound=1,
        is_led_by_source=False,
        basis="line-up",
        unfair=None,
        rank_p_value=1,
        smallest_p_value=1 / len(leads),
        innocents_p_value=1,
        num_lineages=2,
        num_lineages_as_far=0,
        derived_p_value=1,
        power={},
    )


def test_picks_are_counted_by_member_and_ties_against_the_source() -> None:
    picks = line_up_picks([outcome(2, 2, -4), outcome(-1, 3, -2), outcome(-1, 3, -2)])
    assert picks is not None
    assert picks.counts == (1, 2, 0)
    # the source and one sibling of three are picked at least once
    assert picks.p_source == pytest.approx(2 / 3)
    assert line_up_picks([]) is None


def test_innocents_that_lean_together_refute_a_fair_line_up_no_more_often_than_said() -> None:
    """All innocents pick the member that the draw made the popular one; any of four may be that."""
    p_values = []
    for popular in range(4):
        leads = [1.0 if member == popular else -1.0 for member in range(4)]
        picks = line_up_picks([outcome(*leads)] * 20)
        assert picks is not None
        p_values.append(picks.p_source)
    for level in (0.01, 0.05, 0.25, 0.5):
        assert sum(value <= level for value in p_values) / 4 <= level


def test_who_is_picked_is_told_and_refutes_nothing(tmp_path: Path) -> None:
    bundle = tmp_path / "b.kinprint"
    line_up_bundle(bundle)
    models = tmp_path / "models"
    models.mkdir()
    onnx.save(answering_model(innocent_rule), models / "stranger.onnx")
    asked = ("challenge", bundle, "--trust", GOLDEN_PUBLIC_KEY, "--onnx", models, "--as-they-are")
    fair = json.loads(run(*asked, "--json").stdout)
    assert sum(fair["line_up"]["counts"]) == 1
    assert fair["line_up"]["counts"][0] == 0

    def nearly(kind: str, index: int, label: int) -> int:
        return (label + 1) % 4 if index == 5 and kind == "query" else label

    for name, rule in (("one", copy_rule), ("two", nearly)):
        onnx.save(answering_model(rule), models / f"{name}.onnx")
    done = run(*asked, "--json")
    found = json.loads(done.stdout)
    assert found["line_up"]["p_source"] == pytest.approx(1 / 20)
    assert not any("line-up" in fault for fault in found["faults"])
    told = " ".join(run(*asked).stdout.split())
    assert "Line-up: 2 of 3 resemble the source most" in told
    assert "p = 0.05." in told
