"""Landlock: a process gives up all files but some, and signals and sockets of others, for good.

Linux 5.13 and newer (Documentation/userspace-api/landlock.rst); what a kernel's version of it does
not know is left out, and covered by `adapters.onnx.process.seccomp`. A process that is confined can
neither trace others nor read what ``/proc`` tells about them.
"""

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_WRITE_FILE, _IOCTL_DEV = 1 << 1, 1 << 15
_NUM_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""Rights that a version knows; 16 from 5 on (``IOCTL_DEV``), of which later ones are no part."""
_ALL_OF_TCP, _ALL_SCOPES = 0b11, 0b11
"""``BIND`` and ``CONNECT`` from version 4 on; abstract sockets and signals from 6 on."""


def version() -> int:
    """Return which version of Landlock this kernel has; 0 for none."""
    if sys.platform != "linux":
        return 0
    return max(0, _system_call(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION))


def confine_files(*, readable: Iterable[Path], devices: Iterable[Path] = ()) -> bool:
    """Give up every file but these.

    Args:
        readable: Files and folders with all that is in them; what is not there is left out.
        devices: Files that may be written and controlled, too.

    Returns:
        False where the kernel has no Landlock; nothing is given up then.
    """
    known = version()
    if not known:
        return False
    rights = (1 << _NUM_FILE_RIGHTS.get(known, 16)) - 1
    # struct landlock_ruleset_attr, as far as this version knows it.
    fields = [rights, *[_ALL_OF_TCP] * (known >= 4), *[_ALL_SCOPES] * (known >= 6)]
    attributes = struct.pack(f"{len(fields)}Q", *fields)
    ruleset = _system_call(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        for path in readable:
            _allow(ruleset, path, (_READ_FILE | _READ_DIR) & rights)
        for path in devices:
            _allow(ruleset, path, (_READ_FILE | _READ_DIR | _WRITE_FILE | _IOCTL_DEV) & rights)
        return _system_call(_RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    with contextlib.suppress(OSError):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not path.is_dir():
                rights &= ~_READ_DIR  # a right of folders only
            # struct landlock_path_beneath_attr, which is packed.
            rule = struct.pack("=Qi", rights, opened)
            if _system_call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0) != 0:
                raise OSError(ctypes.get_errno(), "landlock_add_rule")
        finally:
            os.close(opened)


def _system_call(number: int, *arguments: bytes | int | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    typed = [one if isinstance(one, bytes | None) else ctypes.c_long(one) for one in arguments]
    return int(libc.syscall(ctypes.c_long(number), *typed))
