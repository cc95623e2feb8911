"""What a suspect's process gives up of its rights: the network, capabilities, the file system.

Linux only; everywhere else, and where the system refuses, a function says that nothing happened.
"""

import ctypes
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CLONE_NEWIPC, _CLONE_NEWNS = 0x08000000, 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 47, 4
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_MAX_CAPABILITIES = 64


def has_one_thread() -> bool:
    """Return whether this is the process's only thread; False where nobody can tell."""
    with suppress(OSError):
        return len(os.listdir("/proc/self/task")) == 1
    return False


def enter_namespaces(*, own_mounts: bool) -> bool:
    """Leave the network and shared memory of others, and their mounts if wanted; one thread only.

    Returns:
        False where the system does not let this user.
    """
    if sys.platform != "linux":
        return False
    # An ordinary user may leave the network only as the root of a user namespace of its own.
    flags = _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC | own_mounts * _CLONE_NEWNS
    return bool(_libc().unshare(flags) == 0)


def enter_folder(folder: Path) -> bool:
    """Make a folder all that there is of the file system; needs mounts of one's own.

    It holds once capabilities are gone, and nothing that is open lies outside.
    """
    libc, own = _libc(), folder / "proc" / "self"
    if libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None) != 0:
        return False
    try:
        own.mkdir(parents=True)
        # onnxruntime asks here under which name it has opened external data.
        libc.mount(b"/proc/self", os.fsencode(own), None, ctypes.c_ulong(_MS_BIND), None)
        os.chdir(folder)
        os.chroot(folder)
        os.chdir("/")
    except OSError:
        return False
    return True


def drop_capabilities() -> bool:
    """Give up every capability, and by `PR_SET_NO_NEW_PRIVS` every way to one.

    Returns:
        Whether this process has none, and can get none from a program that it runs.
    """
    if sys.platform != "linux":
        return False
    libc, zero = _libc(), ctypes.c_ulong(0)
    for capability in range(_MAX_CAPABILITIES):
        # Refused to who has none to begin with, and then there is nothing to drop.
        libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), zero, zero, zero)
    libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), zero, zero, zero)
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    # Two times effective, permitted, inheritable.
    none_left = libc.capset(header, struct.pack("6I", *[0] * 6)) == 0
    return bool(
        libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) == 0 and none_left
    )


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
