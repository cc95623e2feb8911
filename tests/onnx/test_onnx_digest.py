"""Equal models have equal keys, whatever lies beside the file; nothing is parsed."""

import os
from pathlib import Path

import pytest
from worlds.onnx_builders import brightest_channel, save, with_external_weights

from adapters.onnx import digest as onnx_digest
from adapters.onnx.digest import digest_onnx
from adapters.suspect import SuspectConfigError


def external(folder: Path, weights: bytes, *, location: str = "weights.bin") -> Path:
    folder.mkdir()
    (folder / location).parent.mkdir(exist_ok=True)
    (folder / location).write_bytes(weights)
    return save(with_external_weights(location), folder / "model.onnx")


def test_a_copy_has_the_same_key_and_another_model_has_not(tmp_path: Path) -> None:
    first = save(brightest_channel(), tmp_path / "a.onnx")
    second = save(brightest_channel(), tmp_path / "b.onnx")
    third = save(brightest_channel(tail="probabilities"), tmp_path / "c.onnx")
    assert digest_onnx(first) == digest_onnx(second)
    assert digest_onnx(first).key == digest_onnx(first).sha256
    assert digest_onnx(third).key != digest_onnx(first).key


@pytest.mark.parametrize("location", ["weights.bin", "parts/weights.bin", "w" * 200])
def test_equal_files_with_other_weights_beside_them_are_two_models(
    tmp_path: Path, location: str
) -> None:
    paths = [
        external(tmp_path / str(number), bytes([number // 2]) * 36, location=location)
        for number in range(4)
    ]
    digests = [digest_onnx(path) for path in paths]
    assert len({digest.sha256 for digest in digests}) == 1
    keys = [digest.key for digest in digests]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert digests[0].beside == (location,)


@pytest.mark.parametrize("chunk", [1 << 20, 4200, 5000])
def test_names_are_found_wherever_a_chunk_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(onnx_digest, "_CHUNK_BYTES", chunk)
    (tmp_path / "w.bin").write_bytes(b"1")
    entry = b"\n\x08location\x12\x05w.bin"
    for before in range(4090, 4230):
        path = tmp_path / "model.onnx"
        path.write_bytes(b"x" * before + entry + b"y" * 9000 + entry)
        assert digest_onnx(path).beside == ("w.bin",), before


@pytest.mark.parametrize(
    "written",
    [
        b"\x12\x05w.bin\n\x08location",  # the name before its key
        b"\n\x08location\x12\x85\x80\x80\x80\x00w.bin",  # a length in more bytes than it needs
        b"\n\x08location\x12\x07missing",
        b"\n\x08location\x12\x0b../else.bin",
        b"\n\x08location\x12\x7f",
        b"location",
    ],
)
def test_what_cannot_be_made_out_is_a_model_of_its_own(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "else.bin").write_bytes(b"2")
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w.bin").write_bytes(b"1")
        paths.append(tmp_path / name / "model.onnx")
        paths[-1].write_bytes(b"x" * 100 + written)
    first, second = map(digest_onnx, paths)
    assert first.sha256 == second.sha256
    assert first.key != second.key
    assert first.key == digest_onnx(paths[0]).key


def test_one_name_that_cannot_be_made_out_is_enough(tmp_path: Path) -> None:
    good, odd = b"\n\x08location\x12\x05w.bin", b"\x12\x05v.bin\n\x08location"
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w.bin").write_bytes(b"1")
        (tmp_path / name / "v.bin").write_bytes(name.encode())
        paths.append(tmp_path / name / "model.onnx")
        paths[-1].write_bytes(good + odd)
    assert digest_onnx(paths[0]).key != digest_onnx(paths[1]).key


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SuspectConfigError, match="cannot read"):
        digest_onnx(tmp_path / "none.onnx")
    with pytest.raises(SuspectConfigError, match=r"cannot read|device or pipe"):
        digest_onnx(tmp_path)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(SuspectConfigError, match="device or pipe"):
        digest_onnx(tmp_path / "pipe.onnx")
