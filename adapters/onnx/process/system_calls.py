"""Numbers of Linux's system calls on the two processors that a filter is written for.

From the kernel's tables: ``arch/x86/entry/syscalls/syscall_64.tbl`` and, for aarch64, the generic
``include/uapi/asm-generic/unistd.h``. Never holds a judgement; `adapters.onnx.process.seccomp`
says what a suspect's process may call.
"""

import platform

FIRST_COMMON_NUMBER = 424
"""From here on all processors share one number for a call; 424 came with Linux 5.1."""

COLUMNS = {"x86_64": 0, "aarch64": 1}

_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "access": (21, None), "accept4": (288, 242), "acct": (163, 89), "add_key": (248, 217),
    "adjtimex": (159, 171), "bind": (49, 200), "bpf": (321, 280), "brk": (12, 214),
    "chmod": (90, None), "chown": (92, None), "chroot": (161, 51), "clock_adjtime": (305, 266),
    "clock_getres": (229, 114), "clock_gettime": (228, 113), "clock_nanosleep": (230, 115),
    "clock_settime": (227, 112), "clone": (56, 220), "close": (3, 57), "connect": (42, 203),
    "creat": (85, None), "delete_module": (176, 106), "dup": (32, 23), "dup3": (292, 24),
    "eventfd2": (290, 19), "execve": (59, 221), "execveat": (322, 281), "exit": (60, 93),
    "exit_group": (231, 94), "faccessat": (269, 48), "fadvise64": (221, 223),
    "fanotify_init": (300, 262), "fchmod": (91, 52), "fchmodat": (268, 53), "fchown": (93, 55),
    "fchownat": (260, 54), "fcntl": (72, 25), "finit_module": (313, 273), "fork": (57, None),
    "fremovexattr": (199, 16), "fsetxattr": (190, 7), "fstat": (5, 80), "fstatfs": (138, 44),
    "ftruncate": (77, 46), "futex": (202, 98), "futimesat": (261, None), "getcpu": (309, 168),
    "getcwd": (79, 17), "getdents64": (217, 61), "getegid": (108, 177), "geteuid": (107, 175),
    "getgid": (104, 176), "getpid": (39, 172), "getppid": (110, 173), "getrandom": (318, 278),
    "getrlimit": (97, 163), "getrusage": (98, 165), "gettid": (186, 178),
    "gettimeofday": (96, 169), "getuid": (102, 174), "init_module": (175, 105),
    "ioctl": (16, 29), "ioperm": (173, None), "iopl": (172, None), "kcmp": (312, 272),
    "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219),
    "kill": (62, 129), "lchown": (94, None), "link": (86, None), "linkat": (265, 37),
    "lremovexattr": (198, 15), "lseek": (8, 62), "lsetxattr": (189, 6), "lstat": (6, None),
    "madvise": (28, 233), "membarrier": (324, 283), "memfd_create": (319, 279),
    "migrate_pages": (256, 238), "mincore": (27, 232), "mkdir": (83, None),
    "mkdirat": (258, 34), "mknod": (133, None), "mknodat": (259, 33), "mmap": (9, 222),
    "modify_ldt": (154, None), "mount": (165, 40), "move_pages": (279, 239),
    "mprotect": (10, 226), "mq_open": (240, 180), "mremap": (25, 216), "msgget": (68, 186),
    "munmap": (11, 215), "name_to_handle_at": (303, 264), "nanosleep": (35, 101),
    "newfstatat": (262, 79), "open": (2, None), "open_by_handle_at": (304, 265),
    "openat": (257, 56), "perf_event_open": (298, 241), "personality": (135, 92),
    "pivot_root": (155, 41), "poll": (7, None), "ppoll": (271, 73), "prctl": (157, 167),
    "pread64": (17, 67), "preadv": (295, 69), "prlimit64": (302, 261),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117),
    "quotactl": (179, 60), "read": (0, 63), "readlink": (89, None), "readlinkat": (267, 78),
    "readv": (19, 65), "reboot": (169, 142), "removexattr": (197, 14), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "request_key": (249, 218),
    "restart_syscall": (219, 128), "rmdir": (84, None), "rseq": (334, 293),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigqueueinfo": (129, 138),
    "rt_sigreturn": (15, 139), "rt_tgsigqueueinfo": (297, 240), "sched_getaffinity": (204, 123),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119),
    "setpriority": (141, 140), "ioprio_set": (251, 30),
    "sched_yield": (24, 124), "select": (23, None), "pselect6": (270, 72), "semget": (64, 190),
    "set_robust_list": (273, 99), "sethostname": (170, 161), "setdomainname": (171, 162),
    "setns": (308, 268), "setrlimit": (160, 164), "settimeofday": (164, 170),
    "setxattr": (188, 5), "shmget": (29, 194), "sigaltstack": (131, 132), "socket": (41, 198),
    "socketpair": (53, 199), "stat": (4, None), "statx": (332, 291), "swapoff": (168, 225),
    "swapon": (167, 224), "symlink": (88, None), "symlinkat": (266, 36), "sysinfo": (99, 179),
    "syslog": (103, 116), "tgkill": (234, 131), "time": (201, None), "tkill": (200, 130),
    "truncate": (76, 45), "umount2": (166, 39), "uname": (63, 160), "unlink": (87, None),
    "unlinkat": (263, 35), "unshare": (272, 97), "userfaultfd": (323, 282), "utime": (132, None),
    "utimensat": (280, 88), "utimes": (235, None), "vfork": (58, None), "vhangup": (153, 58),
    "write": (1, 64), "writev": (20, 66),
}  # fmt: skip

_COMMON_NUMBERS = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426,
    "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_open": 434, "clone3": 435,
    "openat2": 437, "pidfd_getfd": 438, "faccessat2": 439, "process_madvise": 440,
    "mount_setattr": 442, "quotactl_fd": 443, "landlock_create_ruleset": 444,
    "landlock_add_rule": 445, "landlock_restrict_self": 446, "process_mrelease": 448,
    "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "open_tree_attr": 467,
    "file_setattr": 469,
}  # fmt: skip


def number_of(name: str, machine: str | None = None) -> int | None:
    """Return a call's number; None where this processor has no such call.

    Args:
        name: As in the kernel's tables.
        machine: ``x86_64`` or ``aarch64``; this one if None.

    Raises:
        KeyError: Neither the call nor the processor may be missing from the tables.
    """
    if name in _COMMON_NUMBERS:
        return _COMMON_NUMBERS[name]
    return _NUMBERS[name][COLUMNS[machine or platform.machine()]]
