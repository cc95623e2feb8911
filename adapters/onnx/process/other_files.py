"""What a file is that is no ONNX model, by how it begins: said with what to do about it."""

_BEGINNINGS: tuple[tuple[int, bytes, str], ...] = (
    (
        0,
        b"version https://git-lfs",
        "a Git LFS pointer in the model's place; 'git lfs pull' in its repository fetches it",
    ),
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
    text = data[:256].lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page; the download led to one, perhaps because it wants a login"
    if text.startswith(b"{"):
        return "a JSON document"
    length = int.from_bytes(data[:8], "little")
    if 2 <= length < len(data) and data[8:9] == b"{":
        return "a safetensors file, which holds weights and no graph; export the model as ONNX"
    return None
