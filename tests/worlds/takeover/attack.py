"""What code does that has taken over a suspect's process: everything that it should not.

Each attempt is a function that raises `OSError` where the system refuses it. Targets come from the
file, in its metadata.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx

REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS}

# x86_64, aarch64
CALLS = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "mount": (165, 40),
    "unshare": (272, 97), "bpf": (321, 280), "keyctl": (250, 219), "add_key": (248, 217),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "memfd_create": (319, 279),
    "execve": (59, 221), "chroot": (161, 51), "io_uring_setup": (425, 425),
    "pidfd_open": (434, 434), "openat2": (437, 437), "clone3": (435, 435), "shmget": (29, 194),
    "kill": (62, 129), "setns": (308, 268), "personality": (135, 92),
    "name_to_handle_at": (303, 264),
}  # fmt: skip


def raw(name: str, *arguments: int | bytes | None) -> int:
    """Make a system call, past every wrapper of Python's."""
    number = CALLS[name][os.uname().machine == "aarch64"]
    typed = [one if isinstance(one, bytes | None) else ctypes.c_long(one) for one in arguments]
    result = int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *typed))
    if result < 0 and ctypes.get_errno() in REFUSED:
        raise OSError(ctypes.get_errno(), name)
    return result  # any other error says that the call itself is open


def attempts(at: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """Return all attempts by name.

    Args:
        at: ``home``, ``unix``, ``abstract``, ``port`` and ``parent``.
    """
    home = Path(at["home"])
    diary, key, parent = home / "diary.txt", home / "owner.key", int(at["parent"])
    own = next(Path().resolve().glob("*.onnx"), Path("nothing"))
    in_home: dict[str, Callable[[], object]] = {
        "overwrite": lambda: os.pwrite(os.open(diary, os.O_WRONLY), b"gone", 0),
        "open to truncate": lambda: os.open(diary, os.O_RDONLY | os.O_TRUNC),
        "truncate": lambda: os.truncate(diary, 0),
        "create": lambda: os.open(home / "new", os.O_CREAT | os.O_WRONLY),
        "unnamed file": lambda: os.open(home, os.O_TMPFILE | os.O_WRONLY),
        "change mode": lambda: diary.chmod(0o666),
        "change owner": lambda: os.chown(diary, -1, -1),
        "change times": lambda: os.utime(diary, (0, 0)),
        "set attribute": lambda: os.setxattr(diary, "user.x", b"1"),
        "hard link": lambda: os.link(diary, home / "second"),
        "symbolic link": lambda: os.symlink(diary, home / "soft"),
        "make folder": lambda: os.mkdir(home / "folder"),
        "make pipe": lambda: os.mkfifo(home / "pipe"),
        "rename": lambda: os.rename(diary, home / "stolen.txt"),
        "unlink": lambda: os.unlink(home / "stolen.txt" if not diary.exists() else diary),
        "overwrite its own copy": lambda: os.open(own, os.O_WRONLY),
        "overwrite the null device": lambda: os.open("/dev/full", os.O_WRONLY),
    }
    reading: dict[str, Callable[[], object]] = {
        "read a key": key.read_bytes,
        "list home": lambda: os.listdir(home),
        "read passwords": lambda: Path("/etc/passwd").read_bytes(),
        "list processes": list_processes,
        "read a command line": lambda: Path(f"/proc/{parent}/cmdline").read_bytes(),
    }
    beyond: dict[str, Callable[[], object]] = {
        "environment of the parent": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
        "memory of the parent": lambda: os.open(f"/proc/{parent}/mem", os.O_RDONLY),
        "descriptors of the parent": lambda: os.listdir(f"/proc/{parent}/fd"),
    }
    vector = ctypes.create_string_buffer(8)
    iovec = struct.pack("QQ", ctypes.addressof(vector), 8)
    processes: dict[str, Callable[[], object]] = {
        "signal": lambda: os.kill(parent, 0),
        "signal itself by its group": lambda: os.killpg(0, signal.SIGCONT),
        "trace": lambda: raw("ptrace", 0x4206, parent, 0, 0),  # PTRACE_SEIZE
        "read memory": lambda: raw("process_vm_readv", parent, iovec, 1, iovec, 1, 0),
        "name a process": lambda: raw("pidfd_open", parent, 0),
        "limit the parent": lambda: resource.prlimit(parent, resource.RLIMIT_CPU),
        "slow the parent": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
        "move the parent": lambda: os.sched_setaffinity(parent, {0}),
        "fork": fork,
        "run a shell": lambda: os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {}),
        "replace itself": lambda: raw("execve", b"/nothing/here", None, None),
    }
    system: dict[str, Callable[[], object]] = {
        "mount": lambda: raw("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "user namespace": lambda: raw("unshare", 0x10000000),
        "other namespace": lambda: raw("setns", -1, 0),
        "bpf": lambda: raw("bpf", 0, None, 0),
        "keyring": lambda: raw("keyctl", 0, -3, 1),
        "add a key": lambda: raw("add_key", b"user", b"x", b"y", 1, -3),
        "perf events": lambda: raw("perf_event_open", None, 0, -1, -1, 0),
        "userfaultfd": lambda: raw("userfaultfd", 1),
        "io_uring": lambda: raw("io_uring_setup", 1, None),
        "openat2": lambda: raw("openat2", -100, b"/etc/passwd", None, 0),
        "file handles": lambda: raw("name_to_handle_at", -100, b"/", None, None, 0),
        "clone3": lambda: raw("clone3", None, 0),
        "anonymous file": lambda: raw("memfd_create", b"x", 0),
        "shared memory": lambda: raw("shmget", 0, 4096, 0o1600),
        "personality": lambda: raw("personality", 0x0040000),
        "more file size": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
        "capabilities": holds_capabilities,
        "new privileges": may_gain_privileges,
    }
    families = ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_ALG", "AF_VSOCK")
    sockets: dict[str, Callable[[], object]] = {
        "connect to a socket file": lambda: connect(socket.AF_UNIX, at["unix"]),
        "connect to an abstract socket": lambda: connect(socket.AF_UNIX, "\0" + at["abstract"]),
        "connect to loopback": lambda: connect(socket.AF_INET, ("127.0.0.1", at["port"])),
        "datagram": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        "pair of sockets": socket.socketpair,
        **{
            f"socket {name}": partial(
                socket.socket,
                getattr(socket, name),
                socket.SOCK_SEQPACKET if name == "AF_ALG" else socket.SOCK_DGRAM,
            )
            for name in families
        },
    }
    # The last one would hide other people's files if it worked.
    last = {"change root": lambda: raw("chroot", b"/tmp")}
    return {**reading, **beyond, **processes, **system, **sockets, **in_home, **last}


GROUPS = {
    "reading": {"read a key", "list home", "read passwords", "list processes",
                "read a command line"},
    "parent": {"environment of the parent", "memory of the parent", "descriptors of the parent"},
}  # fmt: skip
"""Attempts that files decide about: the rest is refused without Landlock, too."""


def describe(data: bytes, *, max_nodes: int) -> Any:
    """Stand where the parser stood, and report as a file's metadata what was possible."""
    from adapters.onnx.process import graph

    model = onnx.ModelProto()
    model.ParseFromString(data)
    at = json.loads(next(one.value for one in model.metadata_props if one.key == "attack"))
    done = [name for name, attempt in attempts(at).items() if _works(attempt)]
    del model.metadata_props[:]
    model.metadata_props.add(key="done", value=json.dumps(done))
    return graph.unspoiled_describe(  # type: ignore[attr-defined]
        model.SerializeToString(), max_nodes=max_nodes
    )


def take_over() -> None:
    """Put this code where an exploit of the parser would be."""
    from adapters.onnx.process import graph

    graph.unspoiled_describe = graph.describe  # type: ignore[attr-defined]
    graph.describe = describe


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError as error:
        # In a folder that is all there is, other people's files are not there. Any other error
        # says that the way itself is open.
        return error.errno not in REFUSED | {errno.ENOENT, errno.ENOTDIR}
    except ValueError:  # Python's word for a limit that may not be raised
        return False
    return True


def connect(family: int, address: Any) -> None:
    """Connect a stream."""
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.connect(address)


def list_processes() -> None:
    """Raise where there is none to see."""
    if not any(name.isdigit() for name in os.listdir("/proc")):
        raise FileNotFoundError(errno.ENOENT, "processes")


def fork() -> None:
    """Leave a child behind for a moment."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def holds_capabilities() -> None:
    """Raise where no set holds any."""
    libc = ctypes.CDLL(None, use_errno=True)
    data = ctypes.create_string_buffer(24)
    libc.capget(struct.pack("Ii", 0x20080522, 0), data)
    if not any(data.raw):
        raise PermissionError(errno.EPERM, "capabilities")


def may_gain_privileges() -> None:
    """Raise where a program with a set-user-id bit would gain nothing: status says so."""
    status = Path("/proc/thread-self/status").read_text()  # refused once files are
    if "NoNewPrivs:\t1" in status:
        raise PermissionError(errno.EPERM, "new privileges")
