"""What a sweep is about: the suspects of a folder or of a list, streamed, and the bundles.

A folder may hold a million entries. None of them is kept in memory: each is handed on as it is
found. Only names are looked at here; what cannot be read is an entry with its reason.

An endpoint file says where images go, and may want secrets for that. So one that merely lies in a
folder is told apart from one that somebody named, and only the latter is ever asked.
"""

import os
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from adapters.strict_model import FrozenModel
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.signing.keys import Trust
from audit.suspects.found_files import SuspectKind, describe_suspect

MAX_DEPTH = 32
"""Folders below one another; more are a loop of mounts, or a mistake."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A name under which a suspect is known."""

    path: Path
    """Absolute."""
    kind: SuspectKind
    stamp: str
    """Changes when the file changes: size, time of the change and of the status, place on disk."""
    problem: str = ""
    """Why it cannot be asked, or empty."""
    is_named: bool = False
    """Whether somebody named it, and not only a folder in which it lies."""

    @property
    def may_be_asked(self) -> bool:
        """Whether nothing more than finding it is needed."""
        return self.is_named or self.kind is not SuspectKind.ENDPOINT


class SweepList(FrozenModel):
    """The list of a sweep: ``suspects = ["models/a.onnx", "vendor.toml", "hub"]``."""

    format: Literal["kinprint-sweep"] = "kinprint-sweep"
    format_version: Literal[1] = 1
    suspects: Annotated[list[str], Field(min_length=1)]
    """Files and folders, relative to the list's folder."""


def read_list(path: Path) -> list[Path]:
    """Return the files and folders that a list names, absolute.

    Raises:
        AuditError: It cannot be read, is no TOML, or has a wrong field.
    """
    try:
        listed = SweepList.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise AuditError(f"suspects: cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise AuditError(f"{path}: {where}: {first['msg']}") from error
    except ValueError as error:
        raise AuditError(f"{path}: expected TOML, got {error}") from error
    return [(path.parent / name).absolute() for name in listed.suspects]


def list_suspects(place: Path | None, endpoints: Sequence[Path] = ()) -> Iterator[Entry]:
    """Yield the endpoints that were named, and the suspects of a folder or of a list.

    Args:
        place: A folder, which is searched with all folders below it, or a TOML list.
        endpoints: Endpoint files that are named besides.

    Raises:
        AuditError: The list is wrong, or there is no such folder.
    """
    for path in endpoints:
        yield _endpoint(path.absolute())
    named = {os.path.realpath(path) for path in _named(place, endpoints)}
    for entry in () if place is None else _in_place(place):
        # One that a folder holds as well is not a second one.
        if entry.may_be_asked or os.path.realpath(entry.path) not in named:
            yield entry


def named_endpoints(place: Path | None, endpoints: Sequence[Path]) -> list[Path]:
    """Return the endpoint files that somebody named: by themselves, or one by one in a list.

    Raises:
        AuditError: One is no endpoint file, the list is wrong, or there is no such folder.
    """
    for path in endpoints:
        if not _is_endpoint(path):
            raise AuditError(_endpoint(path).problem)
    return _named(place, endpoints)


def _named(place: Path | None, endpoints: Sequence[Path]) -> list[Path]:
    listed = [] if place is None or place.is_dir() else _listed(place)
    return [*endpoints, *(path for path in listed if _is_endpoint(path))]


def _in_place(place: Path) -> Iterator[Entry]:
    if place.is_dir():
        yield from _in_folder(place.absolute(), 0)
        return
    for named in _listed(place):
        if named.is_dir():
            yield from _in_folder(named, 0)
        else:
            entry = _entry(named) or Entry(
                path=named, kind=SuspectKind.ONNX, stamp="", problem=_why_none(named)
            )
            yield replace(entry, is_named=True)


def _listed(place: Path) -> list[Path]:
    if not place.exists():
        raise AuditError(f"suspects: expected a folder or a list, got nothing at {place}")
    return read_list(place)


def _endpoint(path: Path) -> Entry:
    entry = _entry(path) if _is_endpoint(path) else None
    return replace(
        entry
        or Entry(
            path=path,
            kind=SuspectKind.ENDPOINT,
            stamp="",
            problem=f"endpoint: expected an endpoint file, got another kind at {path}",
        ),
        is_named=True,
    )


def _is_endpoint(path: Path) -> bool:
    described = describe_suspect(path)
    return described is not None and described.kind is SuspectKind.ENDPOINT


def read_bundles(place: Path, trust: Trust) -> list[tuple[Path, bytes, BundleContents]]:
    """Read the bundles of a folder, or one bundle.

    Args:
        place: A folder, searched with those below it, or a file.
        trust: Keys that count.

    Returns:
        Path, bytes and contents, one each however many copies there are, in the order of the paths.

    Raises:
        BundleError: One of them is no bundle.
        SignatureInvalidError: One of them is not what its owner signed.
        UntrustedKeyError: Nobody trusts the key that signed one of them.
        AuditError: There is none.
    """
    from audit.bundle.bundle_file import parse_bundle

    paths = sorted(place.rglob("*.kinprint")) if place.is_dir() else [place]
    found: dict[str, tuple[Path, bytes, BundleContents]] = {}
    for path in paths:
        try:
            data = path.read_bytes()
            contents = parse_bundle(data, trust)
        except OSError as error:
            raise AuditError(f"bundle: cannot read {path}: {error.strerror}") from error
        except AuditError as error:
            raise type(error)(f"{path.name}: {error}") from error
        # A copy under another name would only ask everybody a second time.
        found.setdefault(contents.manifest_sha256, (path, data, contents))
    if not found:
        raise AuditError(f"bundles: expected *.kinprint files in {place}, found none")
    return list(found.values())


def _in_folder(folder: Path, depth: int) -> Iterator[Entry]:
    folders: list[str] = []
    try:
        with os.scandir(folder) as found:
            for one in found:
                if one.name.startswith("."):
                    continue
                try:
                    # A link to a folder may lead into a circle; what it shows has a name of its
                    # own.
                    if one.is_dir(follow_symlinks=False):
                        folders.append(one.name)
                    elif one.name.endswith((".onnx", ".toml")):
                        entry = _entry(folder / one.name)
                        if entry is not None and not _is_described(entry):
                            yield entry
                except OSError as error:
                    yield Entry(
                        path=folder / one.name,
                        kind=SuspectKind.ONNX,
                        stamp="",
                        problem=f"file: cannot be read: {error.strerror}",
                    )
    except OSError as error:
        yield Entry(
            path=folder,
            kind=SuspectKind.ONNX,
            stamp="",
            problem=f"folder: cannot be read: {error.strerror}",
        )
    if depth < MAX_DEPTH:
        # Only now, with this folder closed: a deep tree holds one descriptor at a time.
        for name in folders:
            yield from _in_folder(folder / name, depth + 1)


def _entry(path: Path) -> Entry | None:
    """Return a suspect's entry, None for a file that has nothing to do with one."""
    try:
        # Tables, pages and records are UTF-8.
        str(path).encode()
    except UnicodeEncodeError:
        shown = Path(str(path).encode(errors="backslashreplace").decode())
        return Entry(
            path=shown,
            kind=SuspectKind.ONNX,
            stamp="",
            problem="name: expected UTF-8, got other bytes; rename the file",
        )
    described = describe_suspect(path)
    if described is None:
        return None
    status = path.stat()
    return Entry(
        path=path,
        kind=described.kind,
        stamp=f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}",
        problem=described.problem,
    )


def _is_described(entry: Entry) -> bool:
    """Return whether another file says how this one is to be asked."""
    if entry.kind is not SuspectKind.ONNX or not entry.path.with_suffix(".toml").is_file():
        return False
    beside = describe_suspect(entry.path.with_suffix(".toml"))
    return (
        beside is not None
        and beside.kind is SuspectKind.DESCRIBED
        and not beside.problem
        and beside.target == entry.path.name
    )


def _why_none(path: Path) -> str:
    if not path.exists():
        return f"file: expected one, got nothing at {path}"
    return "file: expected an ONNX, suspect or endpoint file, got another kind"
