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
import importlib.util
import io
import os
import select
import signal
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explore_rl.verifiers import sandbox_kernel as kernel
    from explore_rl.verifiers import sandbox_wire as wire
else:

    def beside(name: str) -> types.ModuleType:
        """The file of that name in this folder. Nothing of it is on the path: its names hide those of the library."""
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
        spec = importlib.util.spec_from_file_location(name, path)
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    kernel = beside("sandbox_kernel")
    wire = beside("sandbox_wire")


# --- the three processes ---------------------------------------------------------------------------------------------


def main(read_fd: int, write_fd: int) -> int:
    """The outer process. Its exit status is the program's (128 + signal number when a signal ended it)."""
    parent = os.getppid()
    kernel.die_with_parent(parent)
    setup = wire.receive(read_fd)
    if setup is None or parent != setup["parent"]:
        return 1
    try:
        if setup["namespaces"]:
            kernel.enter_namespaces()
        else:
            kernel.must(kernel.LIBC.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(SUBREAPER)")
    except OSError as error:
        wire.send(write_fd, {"failed": str(error)})
        return 1
    # The inner process runs the program. In namespaces it learns from the pipe that this one has gone.
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
    # What is open here would keep the parent waiting for an end that never comes.
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
    """Pid 1 of the sandbox: sets the mounts up, starts the program, and waits for whatever it leaves behind.

    setup: what the parent sent.
    alive: a pipe's end that closes when the parent has gone. From here the parent looks like 0, dead or alive.
    read_fd, write_fd: the pipes to and from the parent.
    Returns in the program's own process alone, as `program` does.
    """
    os.setsid()
    try:
        kernel.die_with_parent(0)
        if select.select([alive], [], [], 0)[0]:
            os._exit(1)
        os.close(alive)
        kernel.private_root(setup["readable"], setup["scratch_mb"])
    except OSError as error:
        wire.send(write_fd, {"failed": str(error)})
        os._exit(1)
    child = os.fork()
    if child == 0:
        os.setsid()
        return program(setup, 1, read_fd, write_fd)
    for fd in (read_fd, write_fd, 0, 1, 2):
        os.close(fd)
    os._exit(wait_for(child))


def program(setup: dict, parent: int, read_fd: int, write_fd: int) -> int:
    """The process of the program: gives its rights up, then runs it or answers calls. Returns its exit status.

    setup: what the parent sent.
    parent: pid of the process that it dies with.
    read_fd, write_fd: the pipes to and from the parent.
    """
    try:
        kernel.set_limits(setup)
        kernel.must(kernel.LIBC.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(NO_NEW_PRIVS)")
        if setup["landlock"]:
            kernel.landlock(setup["readable"])
        kernel.give_up_rights(setup["user"])
        kernel.die_with_parent(parent)  # after the change of user, which clears it
        if setup["seccomp"]:
            kernel.load_filter(base64.b64decode(setup["seccomp"]))
    except OSError as error:
        wire.send(write_fd, {"failed": str(error)})
        os._exit(1)
    wire.send(write_fd, {"ready": True})
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
    """Defines the program, then answers calls of what it defines, one at a time, until nobody asks any more.

    text: the program.
    prelude: code that runs before it.
    read_fd, write_fd: calls come in, answers go out.
    """
    names = module("program").__dict__
    try:
        run(text, prelude, names)
        wire.send(write_fd, {"defined": True})
        while (call := wire.receive(read_fd)) is not None:
            wire.send(write_fd, answer(names, call))
    except BaseException as error:  # noqa: BLE001 - whatever the program does, even SystemExit, is an answer about the program
        wire.send(write_fd, {"raised": describe(error)})
    os._exit(0)  # at once: threads that the program left are not waited for


def answer(names: dict, call: dict) -> dict:
    args = wire.unpack(call["args"])
    kwargs = {name: wire.unpack(value) for name, value in call["kwargs"].items()}
    before = call["args"]["tuple"]
    try:
        result = find(names, call["name"])(*args, **kwargs)
        changed = {}
        for i, arg in enumerate(args):
            if type(arg) in (list, dict, set):
                try:
                    if (now := wire.pack(arg)) != before[i]:
                        changed[i] = now
                except (wire.NotPlain, RecursionError):
                    continue
        try:
            return {"id": call["id"], "value": wire.pack(result), "changed": changed}
        except (wire.NotPlain, RecursionError) as error:
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
