"""Which system calls a suspect's process may make, and the filter that holds it to them.

On a CPU a short list of what Python, numpy and onnxruntime need once they are imported; every other
call is refused, also those of kernels to come. Under CUDA, whose driver makes calls that nobody has
listed, the other way round: what reaches beyond the process is refused. Either way no socket leads
anywhere, nothing is written, removed, renamed or run, and no other process is touched. Filters are
classic BPF programs over ``struct seccomp_data`` (Linux, Documentation/userspace-api/
seccomp_filter.rst); they cannot be taken off again.
"""

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from adapters.onnx.process.system_calls import COLUMNS, FIRST_COMMON_NUMBER, number_of

_AUDIT_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_FIRST_X32_NUMBER = 0x40000000
"""On x86_64 the same kernel code has a second set of numbers from here on."""

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2


@dataclass(frozen=True, kw_only=True)
class Condition:
    """``argument & mask`` is one of `values`; the kernel, too, looks at these 32 bits only."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class CallFilter:
    """What happens to each call of a process."""

    allowed: dict[str, tuple[Condition, ...]]
    """Calls that pass if all their conditions hold, most frequent ones first."""
    refused: tuple[str, ...] = ()
    """Calls that fail whatever `others_pass` says."""
    others_pass: bool = False


# CLONE_THREAD, CLONE_SIGHAND and CLONE_VM make a thread; the other bits are namespaces of its own
# and a tracer.
_THREAD = Condition(argument=0, mask=0x7E02_0000 | 0x2000 | 0x1_0900, values=(0x1_0900,))
# O_ACCMODE, O_CREAT, O_TRUNC and O_TMPFILE: to read, and only what is there.
_TO_READ = 0o3 | 0o100 | 0o1000 | 0o20000000
_SELF = Condition(argument=0, values=(0,))

_UNCONDITIONAL = (
    "futex", "read", "write", "madvise", "mmap", "munmap", "mprotect", "brk", "clock_gettime",
    "sched_yield", "getppid", "clock_nanosleep", "nanosleep", "getrusage", "mremap", "readv",
    "writev", "pread64", "preadv", "lseek", "close", "dup", "dup3", "fstat", "stat", "lstat",
    "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
    "getdents64", "getcwd", "fstatfs", "fadvise64", "poll", "ppoll", "select", "pselect6",
    "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "uname", "sysinfo",
    "getrandom", "gettimeofday", "time", "clock_getres", "getcpu", "sched_getaffinity",
    "getrlimit", "mincore", "membarrier", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "sigaltstack", "restart_syscall", "set_robust_list", "rseq", "exit", "exit_group",
)  # fmt: skip

_BEYOND_THE_PROCESS = (
    # sockets
    "connect",
    # names, contents and attributes of files
    "creat", "unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat",
    "symlink", "symlinkat", "truncate", "mkdir", "mkdirat", "mknod", "mknodat", "chmod",
    "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "fchownat", "lchown", "utime", "utimes",
    "futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr",
    "lremovexattr", "fremovexattr", "removexattrat", "file_setattr", "name_to_handle_at",
    "open_by_handle_at", "quotactl", "quotactl_fd", "fanotify_init", "openat2",
    # other programs and processes
    "execve", "execveat", "fork", "vfork", "clone3", "ptrace", "process_vm_readv",
    "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "kill", "tkill",
    "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_getfd", "pidfd_send_signal",
    "setpriority", "ioprio_set", "sched_setattr", "sched_setparam", "sched_setscheduler",
    "migrate_pages", "move_pages", "shmget", "msgget", "semget", "mq_open",
    # the system
    "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "fsopen", "fsconfig",
    "fsmount", "fspick", "move_mount", "open_tree", "open_tree_attr", "mount_setattr", "bpf",
    "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "add_key", "request_key", "keyctl", "init_module", "finit_module", "delete_module",
    "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct", "sethostname",
    "setdomainname", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "syslog",
    "vhangup", "iopl", "ioperm", "modify_ldt", "personality",
)  # fmt: skip


def filter_for(process_id: int, *, under_cuda: bool) -> CallFilter:
    """Return what a suspect's process may call once it has imported everything.

    Args:
        process_id: Its own, the only one that it may send a signal (``abort`` does).
        under_cuda: Whether the driver of CUDA has to work in it.
    """
    only_self = {
        "clone": (_THREAD,),
        "prlimit64": (_SELF,),
        "tgkill": (Condition(argument=0, values=(process_id,)),),
    }
    if under_cuda:
        # The driver shares a descriptor over a socket of its own, which nobody else can be asked
        # by; datagrams would reach any address without `connect`.
        unix_stream = (
            Condition(argument=0, values=(1,)),
            Condition(argument=1, mask=0xF, values=(1, 5)),
        )
        return CallFilter(
            allowed={**only_self, "socket": unix_stream, "sched_setaffinity": (_SELF,)},
            refused=_BEYOND_THE_PROCESS,
            others_pass=True,
        )
    return CallFilter(
        allowed={
            **dict.fromkeys(_UNCONDITIONAL, ()),
            **only_self,
            "openat": (Condition(argument=2, mask=_TO_READ, values=(0,)),),
            "open": (Condition(argument=1, mask=_TO_READ, values=(0,)),),
            # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GET_SEALS: no owner
            # for signals, no leases.
            "fcntl": (Condition(argument=1, values=(0, 1, 2, 3, 4, 1030, 1034)),),
            # TCGETS, FIOCLEX: Python asks of what it opens whether it is a terminal.
            "ioctl": (Condition(argument=1, values=(0x5401, 0x5451)),),
            # Names of threads and of memory.
            "prctl": (Condition(argument=0, values=(15, 16, 0x53564D41)),),
        }
    )


def install(call_filter: CallFilter) -> bool:
    """Hold the calling thread, and all that it starts, to a filter for good.

    Returns:
        False where the system or this processor has no such filters.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in COLUMNS or sys.byteorder != "little":
        return False
    if sys.maxsize < 1 << 32:  # a program of 32 bits on such a machine, which has other numbers
        return False
    code = compiled(call_filter, machine)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: number of instructions, their address.
    program = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    zeros = (ctypes.c_ulong(0),) * 3
    libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), *zeros)
    mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    return bool(libc.prctl(_PR_SET_SECCOMP, mode, ctypes.c_char_p(program), *zeros[:2]) == 0)


def compiled(call_filter: CallFilter, machine: str) -> bytes:
    """Return the BPF program, 8 bytes an instruction.

    Args:
        call_filter: What it decides.
        machine: ``x86_64`` or ``aarch64``.
    """
    code = [
        _op(_LOAD, 4),
        # Numbers mean other calls under another processor's conventions (32 bits on x86_64).
        _op(_EQUAL, _AUDIT_ARCHITECTURES[machine], jump_if_so=1),
        _op(_RETURN, _KILL),
        _op(_LOAD, 0),
    ]
    if machine == "x86_64":
        code += _when(_AT_LEAST, _FIRST_X32_NUMBER, [_op(_RETURN, _ERRNO | errno.ENOSYS)])
    for name, conditions in call_filter.allowed.items():
        number = number_of(name, machine)
        if number is not None:
            code += _when(_EQUAL, number, _checked(conditions))
    for name in call_filter.refused:
        number = number_of(name, machine)
        if number is not None:
            code += _when(_EQUAL, number, [_refusal(number)])
    if call_filter.others_pass:
        code.append(_op(_RETURN, _ALLOW))
    else:
        newer = [_op(_RETURN, _ERRNO | errno.ENOSYS)]
        code += [*_when(_AT_LEAST, FIRST_COMMON_NUMBER, newer), _op(_RETURN, _ERRNO | errno.EPERM)]
    return b"".join(code)


def _checked(conditions: Iterable[Condition]) -> list[bytes]:
    """Return what allows a call if its arguments are right, and refuses it otherwise."""
    code: list[bytes] = []
    for condition in conditions:
        # After the number (4), the architecture (4) and the address (8): six arguments of 8 bytes,
        # low half first.
        code += [_op(_LOAD, 16 + 8 * condition.argument), _op(_AND, condition.mask)]
        after = len(condition.values)
        code += [
            _op(_EQUAL, value, jump_if_so=after - place)
            for place, value in enumerate(condition.values)
        ]
        code.append(_op(_RETURN, _ERRNO | errno.EPERM))
    return [*code, _op(_RETURN, _ALLOW)]


def _refusal(number: int) -> bytes:
    # Of a newer call a library takes "not there" for an answer, and does with older ones.
    code = errno.ENOSYS if number >= FIRST_COMMON_NUMBER else errno.EPERM
    return _op(_RETURN, _ERRNO | code)


def _when(test: int, value: int, code: list[bytes]) -> list[bytes]:
    return [_op(test, value, jump_if_not=len(code)), *code]


def _op(code: int, value: int, *, jump_if_so: int = 0, jump_if_not: int = 0) -> bytes:
    return struct.pack("<HBBI", code, jump_if_so, jump_if_not, value)
