"""How a suspect's process shuts itself in, and what it then says about that.

Called by `adapters.onnx.process.worker` when everything is imported and before a byte of the file
is read, so that what it says cannot be the file's word. docs/adr/0017 weighs the means.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adapters.onnx.process import landlock, privileges, seccomp
from adapters.onnx.process.limits import limit_resources


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """What is in force; the process says it before it reads the file."""

    files: Literal["landlock", "mounts", "open"]
    """What keeps it to its own folder (and the libraries); ``open``: it can read what the user
    can."""
    calls: Literal["listed", "restricted", "any"]
    """``listed``: it can make the system calls that it needs; ``restricted`` (CUDA): all but those
    that reach beyond the process."""
    privileges: Literal["none", "kept"]
    """``none``: no capability, and no way to one."""
    network: Literal["none", "shared"]
    memory: Literal["limited", "free"]
    landlock: int = 0
    """Version of Landlock that the kernel has; 0 for none."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What of a full confinement is not in force, in words."""
        found = {
            "files can be read": self.files == "open" and self.calls == "listed",
            "files are open": self.files == "open" and self.calls != "listed",
            "system calls are not limited": self.calls == "any",
            "a driver's system calls are open": self.calls == "restricted",
            "privileges are kept": self.privileges == "kept",
            "the network is shared": self.network == "shared",
            "memory has no limit": self.memory == "free",
        }
        return tuple(words for words, is_so in found.items() if is_so)

    @property
    def text(self) -> str:
        """What the record says: ``full``, ``partial`` or ``none``, and of what it consists."""
        means = [f"landlock {self.landlock}"] * (self.files == "landlock")
        means += ["own mounts"] * (self.files == "mounts") + ["seccomp"] * (self.calls != "any")
        if not self.missing:
            return f"full ({', '.join(means)})"
        if not means:
            return "none"
        return f"partial ({', '.join(means)}; {', '.join(self.missing)})"


def confine(
    *,
    folder: Path,
    memory_bytes: int | None,
    max_memory_bytes: int | None,
    under_cuda: bool,
) -> Confinement:
    """Shut the calling process in for the rest of its life, as far as the system can.

    Call it while the process has one thread: others would stay free.

    Args:
        folder: All that it may read beside the libraries; no file in it can be written.
        memory_bytes: Address space, bytes; None leaves it free.
        max_memory_bytes: What `limit_memory` may raise it to, bytes.
        under_cuda: Whether it needs CUDA's devices, libraries and system calls.
    """
    # What follows holds for one thread; of a process with more, nothing is claimed.
    is_alone = privileges.has_one_thread()
    is_limited = limit_resources(memory_bytes, max_memory_bytes)
    known = landlock.version()
    # CUDA's driver needs devices and libraries, and asks the system about them.
    has_left = not under_cuda and privileges.enter_namespaces(own_mounts=not known)
    # Landlock leaves the libraries, which may want to load something late.
    is_in_folder = has_left and not known and privileges.enter_folder(folder)
    has_none = privileges.drop_capabilities()
    is_kept = landlock.confine_files(
        readable=readable_places(folder, under_cuda=under_cuda),
        devices=cuda_devices() if under_cuda else (Path(os.devnull),),
    )
    # Last: it refuses what the steps before need.
    call_filter = seccomp.filter_for(os.getpid(), under_cuda=under_cuda)
    is_filtered = seccomp.install(call_filter) and is_alone
    files: Literal["landlock", "mounts", "open"] = "open"
    if is_kept and is_alone:
        files = "landlock"
    elif is_in_folder and is_filtered:
        files = "mounts"
    calls: Literal["listed", "restricted", "any"] = "any"
    if is_filtered:
        calls = "restricted" if under_cuda else "listed"
    return Confinement(
        files=files,
        calls=calls,
        privileges="none" if has_none and is_alone else "kept",
        network="none" if has_left or is_filtered else "shared",
        memory="limited" if is_limited and memory_bytes is not None else "free",
        landlock=known,
    )


def readable_places(folder: Path, *, under_cuda: bool) -> Iterator[Path]:
    """Yield what a suspect's process may read: its folder, libraries, what the machine is.

    Everything is imported by then; libraries are for what they load late themselves.
    """
    yield folder
    for prefix in {sys.prefix, sys.base_prefix, "/usr", "/"}:
        yield from (Path(prefix, name) for name in ("lib", "lib64"))
    yield from _package_folders()
    yield from map(Path, ("/etc/ld.so.cache", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo"))
    yield Path("/sys/devices/system")
    if not under_cuda:
        return
    # cuDNN and cuBLAS lie in packages beside onnxruntime, or where the system's loader looks.
    yield from (package.parent / "nvidia" for package in _package_folders())
    for name in ("LD_LIBRARY_PATH", "CUDA_PATH"):
        yield from (Path(one) for one in os.environ.get(name, "").split(os.pathsep) if one)
    yield from map(Path, ("/usr/local/lib", "/usr/local/cuda", "/opt/cuda", "/run/opengl-driver"))
    yield from map(Path, ("/sys", "/proc/self", "/proc/driver", "/proc/devices", "/proc/stat"))


def cuda_devices() -> Iterator[Path]:
    """Yield the device files of CUDA's driver; under WSL and on a Jetson they have other names."""
    yield Path(os.devnull)
    for pattern in ("nvidia*", "dxg", "nvmap", "nvhost*"):
        yield from Path("/dev").glob(pattern)


def _package_folders() -> Iterator[Path]:
    for name in ("numpy", "onnx", "onnxruntime", "PIL", "google.protobuf"):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path is not None:
            yield Path(path).parent
            # The libraries that a wheel brings lie beside it.
            yield Path(path).parent.with_name(f"{name}.libs")
