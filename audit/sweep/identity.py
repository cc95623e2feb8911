"""Which suspect a name stands for: equal keys are asked once."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.http.endpoint_file import read_endpoint_file
from adapters.onnx.digest import digest_onnx
from adapters.onnx.suspect_file import read_suspect_file
from adapters.suspect import SuspectConfigError
from audit.suspects.found_files import SuspectKind, split_output
from audit.sweep.listing import Entry


@dataclass(frozen=True, kw_only=True)
class Identified:
    """A suspect as the sweep knows it."""

    key: str
    """Hex; equal for equal suspects."""
    sha256: str | None
    """Of the ONNX file; None for an endpoint."""
    beside: tuple[str, ...] = ()
    """Files that the suspect also consists of: when one changes, the key is another."""


def identify(
    entry: Entry, *, allow_plain_http: bool = False, named_folder: Path | None = None
) -> Identified:
    """Read what a suspect consists of.

    Args:
        entry: One of its names.
        allow_plain_http: As for `adapters.http.endpoint_file.read_endpoint_file`.
        named_folder: Folder that is swept.

    Raises:
        SuspectError: It cannot be read, or its description is wrong.
    """
    path = entry.path
    if entry.kind is SuspectKind.OUTPUT:
        file, output = split_output(path)
        kind = SuspectKind.DESCRIBED if file.suffix == ".toml" else SuspectKind.ONNX
        whole = identify(replace(entry, path=file, kind=kind), named_folder=named_folder)
        # The file itself may be replaced, too.
        parts = (*_stamped(path.parent, (file.name,)), *whole.beside)
        return replace(
            whole, key=hashlib.sha256(f"{whole.key}\n{output}".encode()).hexdigest(), beside=parts
        )
    if entry.kind is SuspectKind.ENDPOINT:
        description = read_endpoint_file(path, allow_plain_http=allow_plain_http)
        return Identified(key=description.digest(), sha256=None)
    if entry.kind is SuspectKind.ONNX:
        digest = digest_onnx(path, named_folder)
        return Identified(
            key=digest.key, sha256=digest.sha256, beside=_stamped(path.parent, digest.beside)
        )
    described = read_suspect_file(path)
    model = path.parent / described.model.file
    digest = digest_onnx(model, named_folder)
    if described.model.sha256 not in (None, digest.sha256):
        raise SuspectConfigError(
            f"{path}: model.sha256: expected {described.model.sha256}, got {digest.sha256}: the "
            "ONNX file is another one; probe it anew"
        )
    beside = (str(Path(described.model.file).parent / name) for name in digest.beside)
    # How it is asked makes it another suspect, where it lies does not; what it is says the digest.
    told = described.model_dump_json(exclude={"model": {"file", "sha256"}})
    return Identified(
        key=hashlib.sha256(f"{digest.key}\n{told}".encode()).hexdigest(),
        sha256=digest.sha256,
        beside=_stamped(path.parent, (described.model.file, *beside)),
    )


def is_unchanged(folder: Path, beside: tuple[str, ...]) -> bool:
    """Return whether files of a suspect are as they were when it was identified."""
    names = tuple(one.partition("\n")[0] for one in beside)
    return _stamped(folder, names) == beside


def _stamped(folder: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}\n{_stamp(folder / name)}" for name in names)


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    # A program may set a file's time of change, but not that of its status.
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
