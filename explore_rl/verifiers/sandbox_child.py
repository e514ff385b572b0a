"""The far side of the sandbox: shuts itself in, then runs a program that nobody trusts.

Started as a bare script by `explore_rl.verifiers.sandbox` (no site-packages, nothing of this project on the path), so
it imports the standard library alone. Three processes when the kernel gives namespaces:

    outer    enters the namespaces, waits, and passes the exit status on. Dies with the verifier.
    init     pid 1 of the new pid namespace: when it ends the kernel kills everything in there, daemons included. Dies
             with outer.
    program  sets the limits, gives up its rights, says "ready", and only then looks at the program's text.

Without namespaces there are two, and the program can start no process at all (seccomp).

No expected value ever comes here: the program gets inputs and gives back plain data, and the other side compares.
"""

from __future__ import annotations

import base64
import builtins
import ctypes
import io
import itertools
import json
import os
import platform
import resource
import select
import signal
import struct
import sys
import types
from typing import Any, cast

# --- plain data on the wire ------------------------------------------------------------------------------------------

MAX_DECIMAL_BITS = 10_000  # above this an int travels in hexadecimal: Python limits the digits of decimal conversion
TYPES = {
    kind.__name__: kind for kind in (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, range)
}
MAX_ITERATED = 100_000  # items of an iterator that is returned


class NotPlain(Exception):
    """The value is not made of None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, range,
    iterators and these types themselves."""


def pack(value: Any) -> Any:
    """The value as JSON can hold it, with its type. Subclasses (Counter, named tuples, enums of int) travel as the type
    they extend.

    >>> pack({1: (2, 3)})
    {'dict': [[1, {'tuple': [2, 3]}]]}
    """
    if value is None or isinstance(value, (bool, float)):
        return value if value is None or type(value) in (bool, float) else float(value)
    if isinstance(value, int):
        value = int(value)
        return value if value.bit_length() <= MAX_DECIMAL_BITS else {"hex": hex(value)}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return [pack(item) for item in list.__iter__(value)]
    if isinstance(value, dict):
        return {"dict": [[pack(key), pack(item)] for key, item in dict.items(value)]}
    kind: Any  # or a checker takes each one's __iter__ for the others' too
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [pack(item) for item in kind.__iter__(value)]}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, type) and TYPES.get(value.__name__) is value:
        return {"type": value.__name__}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():  # a numpy scalar
        return pack(value.item())
    if hasattr(type(value), "__next__"):  # a generator, map, filter, zip, ...: what it gives, still as an iterator
        items = list(itertools.islice(cast(Any, value), MAX_ITERATED + 1))
        if len(items) <= MAX_ITERATED:
            return {"iterator": [pack(item) for item in items]}
    raise NotPlain(f"{type(value).__module__}.{type(value).__qualname__}")


def unpack(data: Any) -> Any:
    """The value again, of exactly the built-in types. Raises ValueError for anything that `pack` does not write.

    >>> unpack({'dict': [[1, {'tuple': [2, 3]}]]})
    {1: (2, 3)}
    """
    if data is None or type(data) in (bool, int, float, str):
        return data
    if type(data) is list:
        return [unpack(item) for item in data]
    if type(data) is not dict or len(data) != 1:
        raise ValueError("not one tagged value")
    ((tag, body),) = data.items()
    if tag in ("hex", "bytes") and type(body) is str:
        return int(body, 16) if tag == "hex" else bytes.fromhex(body)
    if tag == "type" and type(body) is str and body in TYPES:
        return TYPES[body]
    if type(body) is list:
        if tag == "complex" and [type(part) for part in body] == [float, float]:
            return complex(*body)
        items = [unpack(item) for item in body]
        try:
            if tag == "dict" and all(type(pair) is list and len(pair) == 2 for pair in items):
                return dict(items)
            if tag in ("tuple", "set", "frozenset", "iterator"):
                return {"tuple": tuple, "set": set, "frozenset": frozenset, "iterator": iter}[tag](items)
            if tag == "range":
                return range(*items)
        except TypeError as error:  # unhashable, or not the arguments of a range
            raise ValueError(str(error)) from error
    raise ValueError(f"unknown tag {tag!r}")


def send(fd: int, message: dict) -> None:
    body = json.dumps(message).encode()
    data = memoryview(struct.pack(">I", len(body)) + body)
    while data:
        data = data[os.write(fd, data) :]


def receive(fd: int) -> dict | None:
    """The next message, or None when the other side has gone."""

    def exactly(count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count and (part := os.read(fd, min(1 << 20, count - len(parts)))):
            parts += part
        return bytes(parts)

    head = exactly(4)
    if len(head) < 4:
        return None
    return json.loads(exactly(struct.unpack(">I", head)[0]))


# --- the kernel's means ----------------------------------------------------------------------------------------------

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_NS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
SYS_CAPSET = {"x86_64": 126, "aarch64": 91, "riscv64": 91}
SYS_MOUNT_SETATTR, SYS_LANDLOCK_CREATE, SYS_LANDLOCK_ADD, SYS_LANDLOCK_RESTRICT = (
    442,
    444,
    445,
    446,
)  # the same everywhere


def must(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(what: str, number: int, *args: Any) -> int:
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return must(LIBC.syscall(ctypes.c_long(number), *wide), what)


def mount(source: str, target: str, *, kind: str | None, flags: int, options: str = "") -> None:
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
    user, group = os.geteuid(), os.getegid()
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
    header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    syscall("capset", SYS_CAPSET[platform.machine()], header, nothing)


def landlock(readable: list[str]) -> None:
    """Files: reading and running below these folders, nothing else anywhere. Also no TCP, no signals, where the kernel
    knows how."""
    version = syscall("landlock", SYS_LANDLOCK_CREATE, ctypes.c_void_p(None), 0, 1)
    files = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    fields = [files] + [3] * (version >= 4) + [3] * (version >= 6)  # TCP bind and connect; abstract sockets and signals
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = syscall("landlock_create_ruleset", SYS_LANDLOCK_CREATE, attributes, len(attributes), 0)
    execute, write, read, read_folder = 1, 2, 4, 8
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
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def set_limits(setup: dict) -> None:
    limit(resource.RLIMIT_CPU, setup["cpu_s"], hard=setup["cpu_s"] + 1)
    limit(resource.RLIMIT_AS, setup["memory_mb"] << 20)
    limit(resource.RLIMIT_NOFILE, setup["files"])
    limit(resource.RLIMIT_FSIZE, setup["scratch_mb"] << 20 if setup["namespaces"] else 0)
    limit(resource.RLIMIT_NPROC, setup["threads"] + setup["processes"])
    limit(resource.RLIMIT_CORE, 0)


# --- the three processes ---------------------------------------------------------------------------------------------


def main(read_fd: int, write_fd: int) -> int:
    """The outer process. Its exit status is the program's (128 + signal number when a signal ended it)."""
    parent = os.getppid()
    die_with_parent(parent)
    setup = receive(read_fd)
    if setup is None or parent != setup["parent"]:
        return 1
    try:
        if setup["namespaces"]:
            enter_namespaces()
        else:
            must(LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(SUBREAPER)")
    except OSError as error:
        send(write_fd, {"failed": str(error)})
        return 1
    outer = os.getpid()
    alive, keep = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(keep)
        if not setup["namespaces"]:
            os.setsid()
            os.close(alive)
            return program(setup, outer, read_fd, write_fd)
        return init(setup, alive, read_fd, write_fd)
    os.close(alive)
    os.close(read_fd)
    os.close(write_fd)
    for fd in (0, 1, 2):
        os.close(fd)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    status = wait_for(child)
    if not setup["namespaces"]:
        end_orphans()
    os._exit(status)


def wait_for(child: int) -> int:
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def end_orphans() -> None:
    """Without a pid namespace: all that the program left behind has become our child."""
    me = str(os.getpid())
    while True:
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat") as file:
                    if file.read().rsplit(")", 1)[1].split()[1] == me:
                        os.kill(int(name), signal.SIGKILL)
            except OSError:  # it went by itself
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def init(setup: dict, alive: int, read_fd: int, write_fd: int) -> int:
    """Pid 1. Its parent is outside and looks like 0 from here, dead or alive; the pipe `alive` closes when it has
    gone."""
    os.setsid()
    try:
        die_with_parent(0)
        if select.select([alive], [], [], 0)[0]:
            os._exit(1)
        os.close(alive)
        private_root(setup["readable"], setup["scratch_mb"])
    except OSError as error:
        send(write_fd, {"failed": str(error)})
        os._exit(1)
    child = os.fork()
    if child == 0:
        os.setsid()
        return program(setup, 1, read_fd, write_fd)
    for fd in (read_fd, write_fd, 0, 1, 2):
        os.close(fd)
    os._exit(wait_for(child))


def program(setup: dict, parent: int, read_fd: int, write_fd: int) -> int:
    try:
        set_limits(setup)
        must(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(NO_NEW_PRIVS)")
        if setup["landlock"]:
            landlock(setup["readable"])
        give_up_rights(setup["user"])
        die_with_parent(parent)  # after the change of user, which clears it
        if setup["seccomp"]:
            load_filter(base64.b64decode(setup["seccomp"]))
    except OSError as error:
        send(write_fd, {"failed": str(error)})
        os._exit(1)
    send(write_fd, {"ready": True})
    sys.path.extend(setup["path"])
    furnish(setup["interpreter"])
    if setup["mode"] == "calls":
        return serve(setup["text"], setup["interpreter"]["prelude"], read_fd=read_fd, write_fd=write_fd)
    os.close(read_fd)
    os.close(write_fd)
    if setup["mode"] == "script":
        sys.argv = ["program"]
        run(setup["text"], setup["interpreter"]["prelude"], module("__main__").__dict__)
    return 0


def furnish(interpreter: dict) -> None:
    """What an ordinary interpreter has and this one, started without `site` and with an empty /dev, has not."""
    if interpreter["recursion_limit"] is not None:
        sys.setrecursionlimit(interpreter["recursion_limit"])
    sys.set_int_max_str_digits(interpreter["max_digits"])
    streams = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
    streams |= {f"{folder}/{fd}": fd for folder in ("/dev/fd", "/proc/self/fd") for fd in range(3)}
    plain_open = io.open

    def leave(code: Any = None) -> None:
        raise SystemExit(code)

    def open_stream(file: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, (str, bytes)) and (fd := streams.get(os.fsdecode(file))) is not None:
            return plain_open(os.dup(fd), *args, **kwargs)
        return plain_open(file, *args, **kwargs)

    def silent(*args: Any) -> None:
        """What help, copyright and the like would print is for a person at a terminal."""

    builtins.exit = builtins.quit = leave
    for name in ("help", "copyright", "credits", "license"):
        setattr(builtins, name, silent)
    builtins.open = io.open = open_stream


def run(text: str, prelude: str, names: dict) -> None:
    """The program, under the language rules of a file of its own (not this file's: `dont_inherit`)."""
    if prelude:
        exec(compile(prelude, "<prelude>", "exec", dont_inherit=True), names)
    exec(compile(text, "<program>", "exec", dont_inherit=True), names)


def module(name: str) -> types.ModuleType:
    made = types.ModuleType(name)
    sys.modules[name] = made
    return made


# --- answering calls -------------------------------------------------------------------------------------------------


def serve(text: str, prelude: str, *, read_fd: int, write_fd: int) -> int:
    """Defines the program, then answers calls of what it defines, one at a time, until nobody asks any more."""
    names = module("program").__dict__
    try:
        run(text, prelude, names)
        send(write_fd, {"defined": True})
        while (call := receive(read_fd)) is not None:
            send(write_fd, answer(names, call))
    except BaseException as error:  # noqa: BLE001 - whatever the program does, even SystemExit, is an answer about the program
        send(write_fd, {"raised": describe(error)})
    os._exit(0)  # at once: threads that the program left are not waited for


def answer(names: dict, call: dict) -> dict:
    args, kwargs = unpack(call["args"]), {name: unpack(value) for name, value in call["kwargs"].items()}
    before = call["args"]["tuple"]
    try:
        result = find(names, call["name"])(*args, **kwargs)
        changed = {}
        for i, arg in enumerate(args):
            if type(arg) in (list, dict, set):
                try:
                    if (now := pack(arg)) != before[i]:
                        changed[i] = now
                except (NotPlain, RecursionError):
                    continue
        try:
            return {"id": call["id"], "value": pack(result), "changed": changed}
        except (NotPlain, RecursionError) as error:
            return {"id": call["id"], "not_plain": str(error)}
    except Exception as error:  # noqa: BLE001 - the program's own exception is what the call gives
        return {"id": call["id"], "raised": describe(error)}


def find(names: dict, name: str) -> Any:
    """A function of that name, or a method of that name of the class Solution."""
    if name in names:
        return names[name]
    if "Solution" in names:
        return getattr(names["Solution"](), name)
    raise NameError(f"the program defines no {name!r}")


def describe(error: BaseException) -> list[str]:
    """[name of the nearest built-in exception type, own type's name, message]"""
    known = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
    try:
        message = str(error)[:300]
    except Exception:  # noqa: BLE001 - a __str__ of the program's own
        message = ""
    return [known.__name__, type(error).__name__, message]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
