"""One sweep at a time works in a folder of results."""

import os
from pathlib import Path

from audit.errors import AuditError

LOCK = ".lock"


def lock_folder(folder: Path) -> int:
    """Take a folder for ourselves until this process ends, however it does.

    Returns:
        A descriptor to close.

    Raises:
        AuditError: The folder cannot be used, or another sweep is at work in it.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise AuditError(f"results: cannot write to {folder}: {error.strerror}") from error
    try:
        import fcntl

        # By the system, which lets go of it however this process ends; the file itself stays.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows: two sweeps of one folder would get in each other's way
        pass
    except OSError as error:
        os.close(descriptor)
        raise AuditError(
            f"results: another sweep is at work in {folder}; wait for it, or name another folder"
        ) from error
    return descriptor
