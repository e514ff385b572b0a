"""The system calls that a sandboxed program may not make, as a filter that libseccomp compiles."""

from __future__ import annotations

import errno
import functools
import tempfile
from typing import Any

# Rights that no solution to a programming problem needs. Default is to allow: Python itself calls some hundred others.
KERNEL = """ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp mount umount2 pivot_root
chroot move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick mount_setattr unshare
setns bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register keyctl add_key
request_key kexec_load kexec_file_load init_module finit_module delete_module open_by_handle_at
name_to_handle_at memfd_create memfd_secret shmget msgget semget mq_open quotactl swapon swapoff
reboot settimeofday clock_settime clock_adjtime adjtimex acct syslog personality fanotify_init
lookup_dcookie nfsservctl vhangup iopl ioperm sethostname setdomainname mknod mknodat""".split()
STARTING = "fork vfork execve execveat".split()
SIGNALS = (
    "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal pidfd_open setpriority sched_setaffinity"
).split()
METADATA = """chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat setxattr lsetxattr fsetxattr setxattrat
removexattr lremovexattr fremovexattr removexattrat utime utimes futimesat utimensat truncate
file_setattr""".split()
# newer than most copies of libseccomp
NUMBERS = {"fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "open_tree_attr": 467, "file_setattr": 469}
CLONE_THREAD = 0x10000
CLONE_NEW = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
F_OWNER = (8, 10, 15)  # fcntl's F_SETOWN, F_SETSIG, F_SETOWN_EX


@functools.cache
def seccomp_filter(processes: int, confined: bool) -> bytes:
    """The filter as kernel code, compiled by libseccomp. Refused calls fail with EPERM.

    processes: 0 forbids starting any. confined: a private root and process table are there; without them also signals
    to others, every kind of socket, and changes to files' owners, modes and times are refused. Raises ImportError or
    RuntimeError where libseccomp is not to be had.
    """
    import pyseccomp as libseccomp

    refuse = libseccomp.ERRNO(errno.EPERM)
    allow = libseccomp.ALLOW
    rules = libseccomp.SyscallFilter(allow)

    def add(action: int, name: str, *conditions: Any) -> None:
        number = libseccomp.resolve_syscall(libseccomp.Arch.NATIVE, name)
        if number == -1:
            number = NUMBERS.get(name, -1)
        if number != -1:  # else a call that neither this library nor this list knows
            rules.add_rule(action, number, *conditions)

    for name in KERNEL + (STARTING if processes == 0 else []) + ([] if confined else SIGNALS + METADATA + ["socket"]):
        add(refuse, name)
    add(
        libseccomp.ERRNO(errno.ENOSYS), "clone3"
    )  # its flags are out of a filter's sight; the C library falls back to clone
    for flag in CLONE_NEW:
        add(refuse, "clone", libseccomp.Arg(0, libseccomp.MASKED_EQ, flag, flag))
    if processes == 0:
        add(refuse, "clone", libseccomp.Arg(0, libseccomp.MASKED_EQ, CLONE_THREAD, 0))
    if not confined:
        add(refuse, "prlimit64", libseccomp.Arg(0, libseccomp.NE, 0))  # others' limits
        for command in F_OWNER:
            add(refuse, "fcntl", libseccomp.Arg(1, libseccomp.EQ, command))  # signals by way of files
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
