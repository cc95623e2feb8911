"""Which files a sweep takes for suspects."""

import subprocess
import sys
from pathlib import Path

import pytest
from worlds.sweep_world import World, names

from audit.errors import AuditError
from audit.sweep.listing import list_suspects


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_list_names_files_and_folders(world: World) -> None:
    world.add_some()
    listed = world.folder / "list.toml"
    listed.write_text('suspects = ["suspects/copy.onnx", "suspects/deep", "suspects/none.onnx"]\n')
    _, asked, rows = world.run(place=listed)
    assert len(asked) == 2
    assert names(rows, "status") == {
        "copy.onnx": "asked",
        "other.onnx": "asked",
        "none.onnx": "failed",
    }
    listed.write_text('suspect = ["x"]\n')
    with pytest.raises(AuditError, match="suspects: Field required"):
        list(list_suspects(listed))


def test_a_folder_is_streamed_and_not_listed_into_memory(tmp_path: Path) -> None:
    (tmp_path / "one.onnx").write_bytes(b"x")
    for number in range(4000):
        (tmp_path / f"{number}.onnx").hardlink_to(tmp_path / "one.onnx")

    # In a process of its own: other tests' threads take memory, too.
    measure = """
import sys, tracemalloc
from pathlib import Path
from audit.sweep.listing import list_suspects

def peak(num):
    tracemalloc.start()
    for _, _entry in zip(range(num), list_suspects(Path(sys.argv[1])), strict=False):
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most

peak(10)
print(peak(100), peak(4001))
"""
    done = subprocess.run(
        [sys.executable, "-c", measure, tmp_path], capture_output=True, text=True, check=True
    )
    few, many = map(int, done.stdout.split())
    # Names of 3,900 more files would take 500 KB.
    assert many < few + 100_000


def test_a_name_that_is_no_text_is_a_row(world: World) -> None:
    try:
        (Path(world.suspects) / "caf\udce9.onnx").write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    _, asked, rows = world.run()
    assert asked == []
    assert "expected UTF-8" in rows[0]["reason"]
