"""What lies in a folder that an audit could use: bundles, and files that describe suspects.

A listing promises nothing: a bundle is read as far as its signature allows, a model file is not
opened. What cannot be used is listed too, with the reason, so that nobody looks for it in vain.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, unquote

from adapters.http.endpoint_file import known_formats, read_endpoint_file
from adapters.onnx.suspect_file import read_suspect_file
from adapters.suspect import SuspectError
from audit.bundle.inspection import SignatureState, inspect_bundle
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.signing.keys import Trust

MAX_DEPTH = 2
"""Folders below the one that is searched."""
MAX_FILES = 2000
"""Most files that are looked at."""
MAX_TOML_BYTES = 1 << 20
SUSPECT_FORMAT = "kinprint-suspect"


class SuspectKind(StrEnum):
    """How a suspect is opened."""

    ONNX = "onnx"
    """A model file."""
    DESCRIBED = "suspect file"
    """A TOML file that names a model file and how it wants its images."""
    ENDPOINT = "endpoint"
    OUTPUT = "output"
    """One output of a model or suspect file whose outputs disagree (`output_path`)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundBundle:
    """A bundle file; two readings of one are two values, since tensors have no single truth."""

    path: Path
    state: SignatureState | None
    """None if it cannot be read as a bundle."""
    reason: str
    """Why it is not trusted, or empty."""
    contents: BundleContents | None
    """None where nothing in the file means anything."""


@dataclass(frozen=True, kw_only=True)
class FoundSuspect:
    """A file that describes a suspect."""

    path: Path
    kind: SuspectKind
    target: str
    """What is asked: the endpoint's address or the model's file name."""
    num_bytes: int
    modified: float
    """Unix time, seconds."""
    problem: str
    """Why it cannot be used, or empty."""


def read_found_bundle(path: Path, trust: Trust) -> FoundBundle:
    """Read one bundle as far as its signature allows; never fails."""
    try:
        inspection = inspect_bundle(path, trust)
    except AuditError as error:
        return FoundBundle(path=path, state=None, reason=str(error), contents=None)
    return FoundBundle(
        path=path,
        state=inspection.state,
        reason=inspection.reason or "",
        contents=inspection.contents,
    )


def find_bundles(folder: Path, trust: Trust) -> tuple[FoundBundle, ...]:
    """Return the bundles in a folder and up to `MAX_DEPTH` below it, by path."""
    return tuple(read_found_bundle(path, trust) for path in bundle_files(folder))


def bundle_files(folder: Path) -> tuple[Path, ...]:
    """Return the files in a folder that are called bundles."""
    return tuple(path for path in _files(folder) if path.suffix == ".kinprint")


def find_suspects(folder: Path) -> tuple[FoundSuspect, ...]:
    """Return the ONNX, suspect and endpoint files in a folder and below it, by path."""
    described = (describe_suspect(path) for path in _files(folder))
    return tuple(one for one in described if one is not None)


def describe_suspect(path: Path) -> FoundSuspect | None:
    """Say what a file describes; None if it has nothing to do with a suspect."""
    try:
        status = path.stat()
        if path.suffix == ".onnx":
            kind, target, problem = SuspectKind.ONNX, path.name, ""
        elif path.suffix == ".toml":
            table = _toml(path)
            if table is None:
                return None
            kind, target, problem = table
        else:
            return None
    except OSError:
        return None
    return FoundSuspect(
        path=path,
        kind=kind,
        target=target,
        num_bytes=status.st_size,
        modified=status.st_mtime,
        problem=problem,
    )


def output_path(file: Path, output: str) -> Path:
    """Return the name under which one output of a file is a suspect of its own.

    Example:
        >>> split_output(output_path(Path("models/a.onnx"), "/head/logits"))
        (PosixPath('models/a.onnx'), '/head/logits')
    """
    return file.with_name(f"{file.name}#{quote(output, safe='')}")


def split_output(path: Path) -> tuple[Path, str]:
    """Return the file and the output that `output_path` joined."""
    name, _, output = path.name.rpartition("#")
    return path.with_name(name), unquote(output)


def _toml(path: Path) -> tuple[SuspectKind, str, str] | None:
    """Return kind, target and problem of a TOML file that is about a suspect."""
    if path.stat().st_size > MAX_TOML_BYTES:
        return None
    try:
        name = tomllib.loads(path.read_text("utf-8")).get("format")
    except ValueError:
        return None
    try:
        if name == SUSPECT_FORMAT:
            return SuspectKind.DESCRIBED, read_suspect_file(path).model.file, ""
        if name in known_formats():
            return SuspectKind.ENDPOINT, read_endpoint_file(path).public_url, ""
    except SuspectError as error:
        kind = SuspectKind.DESCRIBED if name == SUSPECT_FORMAT else SuspectKind.ENDPOINT
        return kind, path.name, str(error)
    return None


def _files(folder: Path) -> Iterator[Path]:
    found = _walk(folder, 0)
    yield from sorted(path for _, path in zip(range(MAX_FILES), found, strict=False))


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    folders = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            folders.append(entry)
        elif entry.is_file():
            yield entry
    if depth < MAX_DEPTH:
        for inner in folders:
            yield from _walk(inner, depth + 1)
