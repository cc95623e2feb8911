"""The folder of ``--work``, where what is finished is kept: one run at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generator.errors import GenerationError

_LOCK = ".lock"


def usual_work_folder(out: Path) -> Path:
    """Return where checkpoints go if nobody says so: beside the output."""
    return out.with_name(f"{out.stem}.work")


@contextmanager
def work_folder(path: Path, *, is_locked: bool = True) -> Iterator[Path]:
    """Have a folder for ourselves, made if it is not there.

    Args:
        path: The folder.
        is_locked: Whether this process is the one that keeps others off.

    Raises:
        GenerationError: It cannot be written to, or another run is at work in it.
    """
    descriptor = None
    try:
        path.mkdir(parents=True, exist_ok=True)
        if is_locked:
            descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise GenerationError(f"work: cannot write to {path}: {error.strerror}") from error
    try:
        if descriptor is not None:
            _lock(descriptor, path)
        yield path
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        import fcntl

        # By the system, which lets go of it however this process ends; the file itself stays.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows: two runs in one folder would do the same work twice
        pass
    except OSError as error:
        raise GenerationError(
            f"work: another run is at work in {path}; wait for it, or name another folder with "
            "--work"
        ) from error
