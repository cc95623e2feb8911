"""What the filter of system calls decides, computed as the kernel would, for both processors."""

import errno
import struct

import pytest

from adapters.onnx.process.seccomp import compiled, filter_for
from adapters.onnx.process.system_calls import COLUMNS, number_of

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
OWN = 4711
ALLOW, KILL = "allow", "kill"

# Linux, fcntl.h and sched.h
O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_CLOEXEC = 1, 2, 0o100, 0o1000, 0o2000000
A_THREAD = 0x3D0F00  # what the C library asks for
A_PROCESS = 0x01200011  # what it asks for in fork()


def run(program: bytes, architecture: int, number: int, arguments: tuple[int, ...]) -> str | int:
    """Interpret a classic BPF program over ``struct seccomp_data``."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *padded)
    at = accumulator = 0
    while True:
        code, if_so, if_not, value = struct.unpack_from("<HBBI", program, 8 * at)
        at += 1
        if code == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x54:  # BPF_ALU | BPF_AND | BPF_K
            accumulator &= value
        elif code == 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
            at += if_so if accumulator == value else if_not
        elif code == 0x35:  # BPF_JMP | BPF_JGE | BPF_K
            at += if_so if accumulator >= value else if_not
        else:
            assert code == 0x06, "BPF_RET | BPF_K"
            known = {0x7FFF0000: ALLOW, 0x80000000: KILL}
            return known[value] if value in known else int(value & 0xFFFF)


def decided(machine: str, name: str, *arguments: int, under_cuda: bool = False) -> str | int:
    program = compiled(filter_for(OWN, under_cuda=under_cuda), machine)
    number = number_of(name, machine)
    assert number is not None
    return run(program, ARCHITECTURES[machine], number, arguments)


machines = pytest.mark.parametrize("machine", sorted(COLUMNS))


@machines
def test_files_are_opened_to_read_only(machine: str) -> None:
    assert decided(machine, "openat", 3, 0, O_CLOEXEC) == ALLOW
    for flags in (O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_RDWR | O_CREAT | O_CLOEXEC):
        assert decided(machine, "openat", 3, 0, flags) == errno.EPERM
    assert decided(machine, "openat2", 3, 0, 0) == errno.ENOSYS


@machines
@pytest.mark.parametrize("under_cuda", [False, True])
def test_threads_are_started_and_processes_are_not(machine: str, *, under_cuda: bool) -> None:
    assert decided(machine, "clone", A_THREAD, under_cuda=under_cuda) == ALLOW
    assert decided(machine, "clone", A_PROCESS, under_cuda=under_cuda) == errno.EPERM
    new_user_namespace = A_THREAD | 0x10000000
    assert decided(machine, "clone", new_user_namespace, under_cuda=under_cuda) == errno.EPERM
    # Its arguments lie in memory, where no filter can look.
    assert decided(machine, "clone3", under_cuda=under_cuda) == errno.ENOSYS
    assert decided(machine, "execve", under_cuda=under_cuda) == errno.EPERM


@machines
@pytest.mark.parametrize("under_cuda", [False, True])
def test_signals_and_limits_reach_itself_only(machine: str, *, under_cuda: bool) -> None:
    assert decided(machine, "tgkill", OWN, 5, 6, under_cuda=under_cuda) == ALLOW
    assert decided(machine, "tgkill", 1, 1, 9, under_cuda=under_cuda) == errno.EPERM
    assert decided(machine, "kill", OWN, 9, under_cuda=under_cuda) == errno.EPERM
    assert decided(machine, "prlimit64", 0, 0, under_cuda=under_cuda) == ALLOW
    assert decided(machine, "prlimit64", 1, 0, under_cuda=under_cuda) == errno.EPERM


@machines
def test_no_socket_is_made_and_the_drivers_own_leads_nowhere(machine: str) -> None:
    af_unix, af_inet, stream, datagram, seqpacket, cloexec = 1, 2, 1, 2, 5, O_CLOEXEC
    assert decided(machine, "socket", af_unix, stream) == errno.EPERM
    assert decided(machine, "socket", af_unix, seqpacket | cloexec, under_cuda=True) == ALLOW
    assert decided(machine, "socket", af_unix, datagram, under_cuda=True) == errno.EPERM
    assert decided(machine, "socket", af_inet, stream, under_cuda=True) == errno.EPERM
    assert decided(machine, "connect", 3, under_cuda=True) == errno.EPERM


@machines
def test_unlisted_calls_fail_under_a_list_and_pass_a_driver(machine: str) -> None:
    assert decided(machine, "memfd_create") == errno.EPERM
    assert decided(machine, "memfd_create", under_cuda=True) == ALLOW
    program = compiled(filter_for(OWN, under_cuda=False), machine)
    # A call that no kernel has had so far.
    assert run(program, ARCHITECTURES[machine], 9000, ()) == errno.ENOSYS


@machines
@pytest.mark.parametrize("under_cuda", [False, True])
def test_numbers_of_another_convention_mean_nothing(machine: str, *, under_cuda: bool) -> None:
    program = compiled(filter_for(OWN, under_cuda=under_cuda), machine)
    read = number_of("read", machine)
    assert read is not None
    assert run(program, ARCHITECTURES[machine], read, ()) == ALLOW
    assert run(program, 0x40000003, read, ()) == KILL  # i386
    if machine == "x86_64":
        assert run(program, ARCHITECTURES[machine], 0x40000000 | read, ()) == errno.ENOSYS  # x32
