"""A hostile or broken file harms nobody: it ends its own process, with a clear error."""

import gc
import hashlib
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from worlds.onnx_builders import (
    brightest_channel,
    colors,
    endless_loop,
    memory_bomb,
    save,
    with_custom_operator,
    with_external_weights,
)

from adapters.onnx.opening import open_onnx
from adapters.onnx.process.limits import OnnxLimits
from adapters.onnx.suspect import OnnxSuspect
from adapters.suspect import SuspectConfigError, SuspectError

SWAP = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], np.float32).tobytes()
"""Class weights that exchange red and blue."""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def suspect(tmp_path: Path) -> OnnxSuspect:
    return open_onnx(save(brightest_channel(), tmp_path / "model.onnx"))


def private_folders(folder: Path) -> list[Path]:
    return list(folder.glob("kinprint-*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "onnx: expected an ONNX model, got the empty file"),
        (b"GIF89a, or so it says", "file: expected an ONNX model"),
        (b"\x08\x08", "file: expected an ONNX model with nodes and outputs"),
        (b"\xff" * 4096, "file: expected an ONNX model"),
    ],
)
def test_what_is_no_onnx_model_is_called_so(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(SuspectConfigError, match=message):
        open_onnx(path)


def test_a_directory_a_pipe_and_nothing_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(SuspectConfigError, match=r"onnx: (expected a file, got a dir|cannot read)"):
        open_onnx(tmp_path)
    with pytest.raises(SuspectConfigError, match="onnx: cannot read"):
        open_onnx(tmp_path / "missing.onnx")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(SuspectConfigError, match="onnx: expected a file, got a device or pipe"):
            open_onnx(tmp_path / "pipe")


def test_a_file_of_a_terabyte_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: nothing is on the disk
    started = time.monotonic()
    with pytest.raises(SuspectConfigError, match="onnx: expected at most 2,147,483,647 bytes"):
        open_onnx(path)
    assert time.monotonic() - started < 60  # to read it takes many minutes


def test_a_file_cut_short_is_an_error(tmp_path: Path) -> None:
    data = brightest_channel().SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SuspectError, match="onnx: "):
        open_onnx(path)


def test_a_memory_bomb_ends_in_an_error(tmp_path: Path) -> None:
    path = save(memory_bomb(), tmp_path / "model.onnx")
    with pytest.raises(SuspectError, match="more memory than it is allowed"):
        open_onnx(path)


def test_an_endless_loop_is_ended_in_time(tmp_path: Path) -> None:
    path = save(endless_loop(), tmp_path / "model.onnx")
    started = time.monotonic()
    with pytest.raises(SuspectError, match=r"did not answer within 1 s and was ended"):
        open_onnx(path, limits=OnnxLimits(predict_timeout_s=1.0))
    assert time.monotonic() - started < 60


def test_more_nodes_than_allowed_are_refused(tmp_path: Path) -> None:
    path = save(brightest_channel(), tmp_path / "model.onnx")
    with pytest.raises(SuspectError, match="nodes: expected at most 3, got more"):
        open_onnx(path, limits=OnnxLimits(max_nodes=3))


def test_custom_operators_are_refused(tmp_path: Path) -> None:
    path = save(with_custom_operator(), tmp_path / "model.onnx")
    with pytest.raises(SuspectError, match=r"'Surprise' of the domain 'com.example'; custom"):
        open_onnx(path)


def test_external_data_of_the_own_folder_is_used_and_hashed(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "weights.bin").write_bytes(SWAP)
    path = save(with_external_weights("parts/weights.bin"), tmp_path / "model.onnx")
    with open_onnx(path) as suspect:
        (tmp_path / "parts" / "weights.bin").write_bytes(b"x" * 36)
        assert suspect.predict(colors((255, 0, 0))).labels.tolist() == [2]
        details = suspect.identity.details
    assert details["external_data_sha256 parts/weights.bin"] == hashlib.sha256(SWAP).hexdigest()


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "a/../../outside.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "outside.bin").write_bytes(SWAP)
    (tmp_path / "models").mkdir()
    path = save(with_external_weights(location), tmp_path / "models" / "model.onnx")
    with pytest.raises(SuspectError, match="external data: expected a file in the model's own"):
        open_onnx(path)


def test_memory_of_the_process_is_no_external_data(tmp_path: Path) -> None:
    path = save(with_external_weights("*/_ORT_MEM_ADDR_/*"), tmp_path / "model.onnx")
    with pytest.raises(SuspectError, match="external data: expected a file in the model's own"):
        open_onnx(path)


def test_links_to_external_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "outside.bin").write_bytes(SWAP)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "soft.bin").symlink_to(tmp_path / "outside.bin")
    os.link(tmp_path / "outside.bin", folder / "hard.bin")
    with pytest.raises(SuspectError, match="in the model's own folder, got a link"):
        open_onnx(save(with_external_weights("soft.bin"), folder / "soft.onnx"))
    with pytest.raises(SuspectError, match="expected a file with one name, got a hard link"):
        open_onnx(save(with_external_weights("hard.bin"), folder / "hard.onnx"))


def test_external_data_cannot_replace_our_modules(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_bytes(b"raise SystemExit('taken over')")
    path = save(with_external_weights("numpy.py"), tmp_path / "model.onnx")
    with pytest.raises(SuspectError, match="onnxruntime cannot use this file"):
        open_onnx(path)


def test_a_process_that_dies_between_two_batches_is_reported(suspect: OnnxSuspect) -> None:
    with suspect:
        suspect.predict(colors((1, 2, 3)))
        os.kill(suspect.process_id, signal.SIGSEGV)
        with pytest.raises(
            SuspectError, match=r"process was ended by SIGSEGV.* crashes the runtime"
        ):
            suspect.predict(colors((1, 2, 3)))
        with pytest.raises(SuspectError, match="has been ended; open the file again"):
            suspect.predict(colors((1, 2, 3)))


def test_a_temporary_folder_that_cannot_be_used_is_a_suspect_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(brightest_channel(), tmp_path / "model.onnx")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(SuspectError, match="onnx: cannot make a private folder"):
        open_onnx(path)


def test_closing_leaves_no_process_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = save(brightest_channel(), tmp_path / "model.onnx")
    suspect = open_onnx(path)
    assert len(private_folders(tmp_path)) == 1
    suspect.close()
    suspect.close()
    with pytest.raises(ProcessLookupError):
        os.kill(suspect.process_id, 0)
    with pytest.raises(SuspectError, match="more memory"):
        open_onnx(save(memory_bomb(), tmp_path / "bomb.onnx"))
    assert private_folders(tmp_path) == []


@linux_only
def test_the_process_has_no_credentials_and_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDOR_API_KEY", "sesame")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:sesame@proxy")
    with open_onnx(save(brightest_channel(), tmp_path / "model.onnx")) as suspect:
        proc = Path("/proc", str(suspect.process_id))
        assert b"sesame" not in (proc / "environ").read_bytes()
        limits = (proc / "limits").read_text().splitlines()
        values = {line[:25].strip(): line[26:46].strip() for line in limits}
        assert values["Max file size"] == "0"
        assert values["Max core file size"] == "0"
        assert values["Max address space"] != "unlimited"


@linux_only
def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    path = save(brightest_channel(), tmp_path / "model.onnx")
    script = (
        "import os, sys; from pathlib import Path; from adapters.onnx.opening import open_onnx\n"
        "print(open_onnx(Path(sys.argv[1])).process_id, flush=True); os._exit(0)"
    )
    started = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    proc = Path("/proc", started.stdout.strip(), "status")
    with suppress(FileNotFoundError, ProcessLookupError):
        while "zombie" not in proc.read_text():
            time.sleep(0.02)


def test_opening_a_file_imports_no_onnx_library_here(tmp_path: Path) -> None:
    path = save(brightest_channel(), tmp_path / "model.onnx")
    script = (
        "import sys; from pathlib import Path; from adapters.onnx.opening import open_onnx\n"
        "open_onnx(Path(sys.argv[1])).close()\n"
        "print([name for name in ('onnx', 'onnxruntime', 'torch') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_a_suspect_that_nobody_closed_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    suspect = open_onnx(save(brightest_channel(), tmp_path / "model.onnx"))
    process_id = suspect.process_id
    del suspect
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)
    assert private_folders(tmp_path) == []
