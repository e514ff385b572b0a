"""Runs a program that nobody trusts as a main program: standard input in, standard output back."""

from __future__ import annotations

import os
import selectors
import time
from dataclasses import dataclass

from explore_rl.verifiers.code_prelude import DEFAULT, Interpreter
from explore_rl.verifiers.sandbox import EXIT_S, Isolation, Program
from explore_rl.verifiers.sandbox_limits import (
    ProgramEnded,
    SandboxFault,
    SandboxLimits,
)


@dataclass(frozen=True)
class Finished:
    """How a script ended: exit code (128 + signal number), what it printed, and the end of its error output."""

    exit_code: int
    stdout: str
    stderr: str


def run_script(
    text: str, stdin: str, *, limits: SandboxLimits, held_by: Isolation, interpreter: Interpreter = DEFAULT
) -> Finished:
    """Runs the program as a main program on this standard input.

    Raises ProgramEnded (a limit), Starved or SandboxFault.

    text: the program.
    stdin: what it reads, UTF-8.
    limits: what it may use.
    held_by: what holds it in.
    interpreter: which Python runs it.
    """
    with Program(text, "script", limits=limits, held_by=held_by, interpreter=interpreter) as program:
        streams = program.process
        assert streams.stdin and streams.stdout and streams.stderr  # all three are pipes
        feed = memoryview(stdin.encode(errors="replace"))
        written = {"stdout": bytearray(), "stderr": bytearray()}
        for stream in (streams.stdin, streams.stdout, streams.stderr):
            os.set_blocking(stream.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(streams.stdin, selectors.EVENT_WRITE, "stdin")
            selector.register(streams.stdout, selectors.EVENT_READ, "stdout")
            selector.register(streams.stderr, selectors.EVENT_READ, "stderr")
            while len(selector.get_map()) > ("stdin" in {key.data for key in selector.get_map().values()}):
                events = selector.select(max(0.0, program.deadline - time.monotonic()))
                if not events:
                    raise program.out_of_time()
                for key, _ in events:
                    if key.data == "stdin":
                        try:
                            feed = feed[os.write(key.fd, feed[:65536]) :] if feed else feed
                        except BrokenPipeError:  # it has read all it wanted
                            feed = memoryview(b"")
                        if not feed:
                            selector.unregister(key.fileobj)
                            streams.stdin.close()
                    elif part := os.read(key.fd, 1 << 16):
                        written[key.data] += part
                        if sum(map(len, written.values())) > limits.output_mb << 20:
                            raise ProgramEnded(f"output limit: more than {limits.output_mb} MiB printed")
                    else:
                        selector.unregister(key.fileobj)
        # both streams are closed: it has ended or is about to
        if not program.exited(max(EXIT_S, program.deadline - time.monotonic())):
            raise program.out_of_time()
        reason = program.ended()
        if isinstance(reason, SandboxFault) or str(reason).startswith("time limit"):
            raise reason
    stdout, stderr = (bytes(written[name]).decode(errors="replace") for name in ("stdout", "stderr"))
    return Finished(program.process.returncode, stdout, stderr[-2000:])
