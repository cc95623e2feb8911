"""What ``kinprint sweep`` prints, writes and ends with."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from worlds.in_process import run
from worlds.onnx_builders import brightest_channel, save
from worlds.record_builder import (
    AUDITOR_KEY,
    TRUST,
    copy_rule,
)
from worlds.sweep_world import World

from audit.journal.sweep_table import SweepTable
from audit.records.record import parse_record
from audit.sweep.page import render_page
from audit.sweep.run import JOURNAL


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_json_lines_come_pair_by_pair_and_end_with_a_summary(world: World) -> None:
    world.add_some()
    (world.suspects / "broken.onnx").write_bytes(b"no")
    done = run(*world.command("--json", "--jobs", 2))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 10
    assert [line["type"] for line in lines] == ["pair"] * 4 + ["summary"]
    assert {Path(line["suspect"]).name: line["verdict"] for line in lines[:4]} == {
        "copy.onnx": "derived",
        "stranger.onnx": "independent",
        "other.onnx": "independent",
        "broken.onnx": None,
    }
    assert lines[4]["by_result"] == {"independent": 2, "derived": 1, "failed": 1}
    assert lines[4]["exit_code"] == 10
    assert Path(lines[4]["page"]).is_file()
    # Nothing is new the second time, but the summary is of all; what is broken still counts.
    again = run(*world.command("--json", "--jobs", 2, "--fail-on", "never"))
    assert [json.loads(line)["type"] for line in again.stdout.splitlines()] == ["summary"]
    assert again.returncode == 2


def test_who_is_accused_is_told_whose_word_the_bundles_date_is(world: World) -> None:
    world.add("stranger.onnx")
    cleared = run(*world.command("--jobs", 1))
    assert "is the owner's word" not in cleared.stdout
    world.add("copy.onnx", copy_rule)
    told = " ".join(run(*world.command("--jobs", 1)).stdout.split())
    assert "chosen before the suspect was known is the owner's word" in told
    page = next(world.folder.rglob("sweep.html")).read_text()
    assert "chosen before the suspect was known is the owner" in page


def test_no_comparable_pair_says_why_for_each_task_and_ends_with_15(world: World) -> None:
    save(brightest_channel(), world.suspects / "three-classes.onnx")
    done = run(*world.command("--jobs", 1))
    assert done.returncode == 15
    assert "No suspect is about the task of any bundle" in done.stdout
    assert "8x8x3, 4 classes" in done.stdout
    assert "num_classes: expected 4" in done.stdout
    world.add("stranger.onnx")
    assert run(*world.command("--jobs", 1)).returncode == 0


def test_the_page_shows_everything_and_asks_for_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, num_bundles=2)
    world.add_some()
    world.add("<b>&amp;.onnx", copy_rule)
    (world.suspects / "broken.onnx").write_bytes(b"no")
    world.run(auditor_key=AUDITOR_KEY)
    table = SweepTable(world.results / "sweep.sqlite", is_read_only=True)
    page = render_page(table, fdr=0.2)
    table.close()
    for text in ("copy.onnx", "stranger.onnx", "model 1", "expected an ONNX model"):
        assert text in page
    assert "<b>&amp;.onnx" not in page
    assert "&lt;b&gt;&amp;amp;.onnx" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    links = [part.split('"')[0] for part in page.split('href="')[1:]]
    assert len(links) == 8
    assert all((world.results / link).is_file() for link in links)
    # Derived pairs stand before the others.
    places = [page.index(f">{name}</th>") for name in ("copy.onnx", "stranger.onnx")]
    assert all(first < second for first, second in pairwise(places))


def test_records_are_signed_for_every_pair_and_verify(world: World) -> None:
    world.add_some()
    _, _, rows = world.run(auditor_key=AUDITOR_KEY)
    for row in rows:
        record = parse_record((world.results / row["record"]).read_bytes(), TRUST)
        assert record.opening.audit == row["audit"]
        assert record.closing.outcome is not None
        assert record.closing.outcome.verdict == row["verdict"]
    done = run(
        *(
            "verify",
            world.results / rows[0]["record"],
            "--bundle",
            world.bundles / "first.kinprint",
        ),
        *("--trust", world.owner, "--trust", _auditor(world)),
    )
    assert done.returncode == 0, done.stderr


def _auditor(world: World) -> Path:
    path = world.folder / "auditor.pub"
    path.write_bytes(AUDITOR_KEY.public_key.pem)
    return path


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--jobs", "2", "--local-cluster", "2"], "exclude one another"),
        (["--alpha", "0.001"], "needs 999 innocent lineages"),
        (["--score", "none"], "expected one of"),
        (["--watch", "."], "give --suspects DIR"),
        (["--passphrase-env", "X"], "needs --auditor-key"),
    ],
)
def test_wrong_options_are_told_before_anything_is_asked(
    world: World, more: list[str], message: str
) -> None:
    world.add_some()
    done = run(*world.command(*more))
    assert done.returncode == 2
    assert message in done.stderr
    assert not (world.results / JOURNAL).exists()


def test_an_untrusted_bundle_asks_nothing(world: World) -> None:
    command = world.command()
    del command[command.index("--trust") : command.index("--trust") + 2]
    done = run(*command)
    assert done.returncode == 13
    assert "first.kinprint: signature: right, but its key" in done.stderr


def test_a_place_without_any_suspects_is_no_pass(world: World) -> None:
    (world.suspects / "weights.pt").write_bytes(b"not asked")
    done = run(*world.command())
    assert done.returncode == 2
    assert "expected ONNX, suspect or endpoint files" in done.stderr
    assert "got none" in done.stderr
