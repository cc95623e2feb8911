"""A run says what it will take before it begins, and can be made to take less."""

from dataclasses import replace
from pathlib import Path

import pytest
from worlds.in_process import run
from worlds.tiny_world import TinyWorld

from generator.commands import progress
from generator.errors import GenerationError
from generator.jobs.plan import Plan, Sizes, Stage, fit_budget, make_plan, parse_duration
from generator.settings import CraftSettings
from generator.training.speed import Speed

SPEED = Speed(forward=1.0, input_gradient=10.0, training=100.0, peak_bytes=1000)
SIZES = Sizes(
    num_training=7,
    num_tuning=4,
    num_candidates=5,
    num_given=0,
    num_trained=2,
    reference_epochs=10,
    image_bytes=3,
    model_bytes=11,
)


def test_work_is_counted_in_passes_over_images() -> None:
    settings = CraftSettings(
        num_triggers=10, num_probes=2, num_mimics=3, max_steps=4, num_queries=20
    )
    plan = make_plan(settings, SIZES, SPEED)
    seconds = {stage.name: stage.seconds for stage in plan.stages}
    # The first kind trains for all epochs, the second (weak) for 0.4 of them.
    assert seconds["references"] == pytest.approx((10 + 4) * 7 * 100)
    assert seconds["mimic pool"] == pytest.approx(3 * 7 * 100)
    # 1.3 triggers for each that is wanted, against 3 mimics, 4 steps each.
    assert seconds["triggers"] == pytest.approx(13 * 4 * 3 * 10)
    # 1.5 for each of 20 queries, but there are 5 images to make them of; 20 models select.
    assert seconds["contrast queries"] == pytest.approx(5 * 4 * 20 * 10)
    # 69 passes over half of the 4 images to tune on; 7 times 3 over half of the 7 training ones.
    assert seconds["derived models"] == pytest.approx((69 * 2 + 7 * 3 * 3.5) * 100)
    assert plan.seconds == pytest.approx(sum(seconds.values()))
    assert plan.disk_bytes == (2 + 3) * 11 + 3 * (7 + 4 + 5)


def test_every_error_rate_says_what_it_takes() -> None:
    plan = make_plan(CraftSettings(), SIZES, SPEED)
    # 0.1 needs 9 innocents that calibrate and as many that craft; 0.01 needs 99 of each.
    assert [(alpha, needed) for alpha, needed, _ in plan.by_alpha] == [
        *((0.2, 8), (0.1, 18)),
        *((0.05, 38), (0.01, 198)),
    ]
    seconds = [each for _, _, each in plan.by_alpha]
    assert seconds == sorted(seconds)
    given = make_plan(CraftSettings(), replace(SIZES, num_given=18, num_trained=0), SPEED)
    assert given.by_alpha[1][2] == pytest.approx(given.seconds)


def steps_plan(changes: dict[str, object]) -> Plan:
    """Return a plan that takes as many seconds as there are steps and triggers."""
    values = {"max_steps": 100, "num_triggers": 100, **changes}
    seconds = float(values["max_steps"]) + float(values["num_triggers"])  # type: ignore[arg-type]
    stage = Stage(name="x", what="", seconds=seconds)
    return Plan(stages=(stage,), memory_bytes=0, disk_bytes=0, by_alpha=())


def test_a_budget_gives_up_in_order_what_helps_and_what_the_owner_has_not_set() -> None:
    changes, lost = fit_budget(150, steps_plan, [])
    assert changes == {"num_triggers": 40}
    assert len(lost) == 1
    assert fit_budget(1000, steps_plan, []) == ({}, ())
    changes, _ = fit_budget(150, steps_plan, ["num_triggers"])
    assert changes == {"max_steps": 40}
    with pytest.raises(GenerationError, match=r"expected at least 40 s, .* got 39 s"):
        fit_budget(39, steps_plan, [])


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2h 3", "two hours"])
def test_a_budget_is_a_time(text: str) -> None:
    with pytest.raises(GenerationError, match="budget: expected a time such as 2h"):
        parse_duration(text)


def test_a_plan_is_the_result_and_nothing_is_made(tiny_world: TinyWorld, tmp_path: Path) -> None:
    out = tmp_path / "x.kinprint"
    done = run(*tiny_world.craft_arguments(out), "--plan")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("references")
    assert "19 innocents, 4 epochs of 300 images" in done.stdout
    assert "0.01: 198 innocents" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_plan_refuses_what_the_run_would(tiny_world: TinyWorld, tmp_path: Path) -> None:
    arguments = tiny_world.craft_arguments(tmp_path / "x", classes="red,blue,green")
    done = run(*arguments, "--plan")
    assert done.returncode == 2
    assert "--classes blue,green,red" in done.stderr


def test_a_log_gets_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 25))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    with progress.StageProgress() as shown:
        for step in range(6):
            shown.show("references", step, 10)
    lines = capsys.readouterr().err.splitlines()
    # Created at 0 s, the stage begins at 25 s; asked every 25 s from 50 s on, at least 60 s apart.
    assert lines == [
        "references: 10% after 0.8 min, about 7.5 min left",
        "references: 40% after 2.1 min, about 3.1 min left",
    ]
