"""A sweep asks each output of a file whose outputs disagree."""

import os
from pathlib import Path

import pytest
from worlds.in_process import run
from worlds.onnx_builders import merged_heads, save
from worlds.record_builder import copy_rule, innocent_rule
from worlds.screens.ui_desk import answering_model, wrong_rule
from worlds.sweep_world import World, names


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    save(
        merged_heads(answering_model(wrong_rule), answering_model(copy_rule)),
        world.suspects / "two.onnx",
    )
    world.add("stranger.onnx")
    return world


EARLY, FINAL = "two.onnx#early_probabilities", "two.onnx#final_probabilities"


def test_each_output_is_a_suspect_of_its_own(world: World) -> None:
    _, asked, rows = world.run()
    assert names(rows) == {
        "two.onnx": None,
        EARLY: "not comparable",
        FINAL: "derived",
        "stranger.onnx": "independent",
    }
    assert "each of them is asked as a suspect of its own" in names(rows, "reason")["two.onnx"]
    assert names(rows, "status")["two.onnx"] == "by output"
    assert len(asked) == 4


def test_such_a_file_is_not_said_to_be_of_another_task(world: World) -> None:
    done = run(*world.command("--jobs", 1))
    assert done.returncode == 10, done.stderr
    assert "asked by output 1" in done.stdout
    assert "another task" not in done.stdout
    page = (world.results / "sweep.html").read_text(encoding="utf-8")
    assert "asked by output" in page


def test_the_next_run_asks_none_of_them_again(world: World) -> None:
    first = world.run()[2]
    _, asked, rows = world.run()
    assert asked == []
    assert names(rows) == names(first)


def test_outputs_of_a_file_that_changed_are_new(world: World) -> None:
    world.run()
    path = world.suspects / "two.onnx"
    save(merged_heads(answering_model(innocent_rule), answering_model(wrong_rule)), path)
    os.utime(path, (1, 1))
    _, asked, rows = world.run()
    assert len(asked) == 3
    assert names(rows)[EARLY] == "independent"
    assert names(rows)[FINAL] == "not comparable"


def test_a_file_with_one_head_leaves_no_outputs_behind(world: World) -> None:
    world.run()
    world.add("two.onnx", innocent_rule)
    _, _, rows = world.run()
    assert names(rows) == {"two.onnx": "independent", "stranger.onnx": "independent"}
