"""The kernel's means to shut a process in: namespaces, a root of its own, Landlock, seccomp, limits.

The far side of the sandbox loads it: the standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_NS = 0x20000
NEW_UTS = 0x4000000
NEW_IPC = 0x8000000
NEW_USER = 0x10000000
NEW_PID = 0x20000000
NEW_NET = 0x40000000
PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
SYS_CAPSET = {"x86_64": 126, "aarch64": 91, "riscv64": 91}
# the same everywhere
SYS_MOUNT_SETATTR = 442
SYS_LANDLOCK_CREATE = 444
SYS_LANDLOCK_ADD = 445
SYS_LANDLOCK_RESTRICT = 446


def must(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(what: str, number: int, *args: Any) -> int:
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return must(LIBC.syscall(ctypes.c_long(number), *wide), what)


def mount(source: str, target: str, *, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2). Raises OSError.

    source: a path, or a name for file systems without one.
    target: where it is mounted.
    kind: of file system; None where the flags need none.
    flags: MS_*, or-ed.
    options: the file system's own.
    """
    kind_bytes = kind.encode() if kind else None
    must(
        LIBC.mount(source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), options.encode() or None),
        f"mount {target}",
    )


def die_with_parent(parent: int) -> None:
    must(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl(PDEATHSIG)")
    if os.getppid() != parent:  # it went before we asked
        os._exit(1)


def enter_namespaces() -> None:
    """New user (unless we are root), mount, pid, network, IPC and host-name namespaces. The next fork is pid 1 in
    there."""
    user = os.geteuid()
    group = os.getegid()
    flags = NEW_NS | NEW_UTS | NEW_IPC | NEW_PID | NEW_NET
    must(LIBC.unshare(flags if user == 0 else flags | NEW_USER), "unshare")
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def private_root(readable: list[str], scratch_mb: int) -> None:
    """A root of our own: the Python installation and system libraries, read-only, a few devices, and /tmp of bounded
    size."""
    mount("none", "/", kind=None, flags=MS_REC | MS_PRIVATE)
    free = [
        d
        for d in ("/mnt", "/media", "/srv", "/opt", "/tmp")
        if os.path.isdir(d) and not any(p.startswith(d) for p in readable)
    ]
    if not free:
        raise OSError(
            "no folder to build the sandbox's root on: /mnt, /media, /srv, /opt and /tmp are missing or hold "
            "Python itself"
        )
    # an empty root, and what is readable bound into it, read-only
    root = free[0]
    mount("tmpfs", root, kind="tmpfs", flags=MS_NOSUID | MS_NODEV, options="size=1m,mode=755")
    for path in readable:
        os.makedirs(root + path, exist_ok=True)
        mount(path, root + path, kind=None, flags=MS_BIND | MS_REC)
        attributes = struct.pack("=QQQQ", MS_RDONLY | MS_NOSUID | MS_NODEV, 0, 0, 0)  # struct mount_attr
        syscall(
            "mount_setattr",
            SYS_MOUNT_SETATTR,
            -100,
            ctypes.c_char_p((root + path).encode()),
            0x8000,
            attributes,
            len(attributes),
        )
    # devices, and a /tmp of bounded size
    os.mkdir(root + "/dev")
    for device in ("null", "zero", "random", "urandom"):
        os.close(os.open(f"{root}/dev/{device}", os.O_CREAT | os.O_WRONLY))
        mount(f"/dev/{device}", f"{root}/dev/{device}", kind=None, flags=MS_BIND)
    os.mkdir(root + "/tmp")
    mount(
        "tmpfs",
        root + "/tmp",
        kind="tmpfs",
        flags=MS_NOSUID | MS_NODEV,
        options=f"size={scratch_mb}m,nr_inodes=1024,mode=1777",
    )
    # it becomes the root, and the old one is let go
    mount("none", root, kind=None, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir(root)
    here = ctypes.c_char_p(b".")
    syscall("pivot_root", SYS_PIVOT_ROOT[platform.machine()], here, here)
    must(LIBC.umount2(b".", 2), "umount of the old root")  # MNT_DETACH
    os.chdir("/tmp")


def give_up_rights(user: int | None) -> None:
    """Becomes that user (root only; one that nobody else is, so its processes are counted apart), without any
    capability."""
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header = struct.pack("=Ii", 0x20080522, 0)
    nothing = bytes(24)
    syscall("capset", SYS_CAPSET[platform.machine()], header, nothing)


def landlock(readable: list[str]) -> None:
    """Files: reading and running below these folders, nothing else anywhere. Also no TCP, no signals, where the kernel
    knows how."""
    version = syscall("landlock", SYS_LANDLOCK_CREATE, ctypes.c_void_p(None), 0, 1)
    files = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    fields = [files] + [3] * (version >= 4) + [3] * (version >= 6)  # TCP bind and connect; abstract sockets and signals
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = syscall("landlock_create_ruleset", SYS_LANDLOCK_CREATE, attributes, len(attributes), 0)
    execute = 1
    write = 2
    read = 4
    read_folder = 8
    allowed = dict.fromkeys(readable, execute | read | read_folder)
    allowed |= {"/dev/null": read | write, "/dev/zero": read, "/dev/urandom": read, "/dev/random": read}
    for path, access in allowed.items():
        fd = os.open(path, os.O_PATH)
        syscall("landlock_add_rule", SYS_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", access, fd), 0)
        os.close(fd)
    syscall("landlock_restrict_self", SYS_LANDLOCK_RESTRICT, rules, 0)
    os.close(rules)


def load_filter(bpf: bytes) -> None:
    """The seccomp filter (compiled by libseccomp on the other side) for this process and all it starts."""
    code = ctypes.create_string_buffer(bpf, len(bpf))
    program = struct.pack("@HP", len(bpf) // 8, ctypes.addressof(code))  # struct sock_fprog
    must(LIBC.prctl(PR_SET_SECCOMP, 2, program, 0, 0), "prctl(SECCOMP)")


def limit(kind: int, soft: int, *, hard: int | None = None) -> None:
    ceiling = resource.getrlimit(kind)[1]
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft = min(soft, ceiling)
        hard = min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def set_limits(setup: dict) -> None:
    limit(resource.RLIMIT_CPU, setup["cpu_s"], hard=setup["cpu_s"] + 1)
    limit(resource.RLIMIT_AS, setup["memory_mb"] << 20)
    limit(resource.RLIMIT_NOFILE, setup["files"])
    limit(resource.RLIMIT_FSIZE, setup["scratch_mb"] << 20 if setup["namespaces"] else 0)
    limit(resource.RLIMIT_NPROC, setup["threads"] + setup["processes"])
    limit(resource.RLIMIT_CORE, 0)
