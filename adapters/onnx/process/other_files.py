"""What a file is that is no ONNX model, by how it begins: said with what to do about it."""

_POINTER = (
    b"version https://git-lfs",
    "a Git LFS pointer in its place; 'git lfs pull' in its repository fetches it",
)
_PAGE = "a web page; the download led to one, perhaps because it wants a login"

_BEGINNINGS: tuple[tuple[int, bytes, str], ...] = (
    (0, *_POINTER),
    (4, b"ORTM", "a model in ORT format; take the ONNX file that it was made from"),
    (4, b"TFL3", "a TensorFlow Lite model; convert it (tf2onnx --tflite)"),
    (0, b"PK\x03\x04", "a ZIP archive, perhaps a PyTorch or Keras file; export it as ONNX"),
    (0, b"\x89HDF", "an HDF5 file, perhaps of Keras; export it as ONNX"),
    (0, b"\x1f\x8b", "a gzip file; unpack it"),
    (0, b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (0, b"GGUF", "a GGUF file, which holds a language model"),
    (0, b"\x80\x02", "a pickle, perhaps of PyTorch; export it as ONNX"),
    (0, b"GIF8", "a picture"),
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
)


def what_it_is(data: bytes) -> str | None:
    """Say what a file is, in words that fit after ``got``; None where nobody knows.

    Example:
        >>> what_it_is(b"<!DOCTYPE html><html>...")
        'a web page; the download led to one, perhaps because it wants a login'
    """
    for place, beginning, said in _BEGINNINGS:
        if data[place : place + len(beginning)] == beginning:
            return said
    if _is_page(data):
        return _PAGE
    if data[:256].lstrip().startswith(b"{"):
        return "a JSON document"
    length = int.from_bytes(data[:8], "little")
    if 2 <= length < len(data) and data[8:9] == b"{":
        return "a safetensors file, which holds weights and no graph; export the model as ONNX"
    return None


def stand_in(beginning: bytes) -> str | None:
    r"""Say what a download left in the place of weights, in words that fit after ``got``.

    Weights may begin with any bytes, so that only texts of some length are looked for.

    Example:
        >>> stand_in(b"\x80\x02PK") is None
        True
    """
    begins, said = _POINTER
    if beginning.startswith(begins):
        return said
    return _PAGE if _is_page(beginning) else None


def _is_page(data: bytes) -> bool:
    return data[:256].lstrip().lower().startswith((b"<!doctype html", b"<html"))
