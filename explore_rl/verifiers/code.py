"""Programs: judged by unit tests (HumanEval, MBPP and their + forms) or by what they print or return (LiveCodeBench,
APPS).

The program runs in a sandbox and never holds an expected value. The tests run here, on our side, with a stand-in for
each of the program's functions that sends the arguments over and brings plain data back:

    assert add(2, 3) == 5      # `add` is a stand-in; 5 stays here, and so does `==`

So leaving early, overriding equality, patching the checker or reading the caller's frames gains a program nothing.

    CORRECT     every test held.
    WRONG       a test did not hold, or the program raised, ended, or used up its time, memory or output. An endless
                loop is the program's own doing and evidence about the model; the reason then begins with "time limit".
    NO_ANSWER   no program in the completion (also: the completion was cut off).
    TIMEOUT     the machine was too busy to judge: the program waited for a processor, or all tests together took
                `total_time_s`.
    ERROR       the harness: the sandbox did not come up, or the tests themselves cannot run.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from analysis.errors import InputError
from explore_rl.types import Problem, Status, Verdict
from explore_rl.verifiers import code_prelude
from explore_rl.verifiers.base import Limits, correct, failed, no_answer, timed_out, wrong
from explore_rl.verifiers.code_asserts import run_asserts
from explore_rl.verifiers.code_compare import compare_output, compare_result
from explore_rl.verifiers.code_prelude import RECURSION_LIMIT, Interpreter
from explore_rl.verifiers.code_tests import Asserts, Cases, read_tests
from explore_rl.verifiers.extract import settled
from explore_rl.verifiers.sandbox import Isolation, Program, isolation
from explore_rl.verifiers.sandbox_limits import (
    NotPlainResult,
    ProgramEnded,
    ProgramRaised,
    SandboxFault,
    SandboxLimits,
    Starved,
)
from explore_rl.verifiers.sandbox_script import run_script


@dataclass(kw_only=True)
class CodeVerifier:
    """time_limit_s: processor seconds of one run (all unit tests of a completion; each case of input and output).
    wall_limit_s: wall-clock seconds of one run; None: 3 x time_limit_s + 10.
    total_time_s: wall-clock seconds for all cases of a completion.
    memory_mb, output_mb, scratch_mb, processes: see SandboxLimits.
    partial: the score of a wrong program is the share of its tests that held.
    float_tolerance: absolute, between printed or returned numbers of cases.
    isolation: "required" refuses to run programs on a machine that can hold them only weakly; "best_effort" runs them
    with what there is.
    prelude: what runs before a program: "auto" (LiveCodeBench's star imports for cases of input and output, nothing for
    unit tests), "none", or source of your own.
    recursion_limit: Python's; None: 50,000 for cases, Python's own for unit tests.
    """

    time_limit_s: float = 10.0
    wall_limit_s: float | None = None
    total_time_s: float = 120.0
    memory_mb: int = 1024
    output_mb: int = 16
    scratch_mb: int = 64
    processes: int = 0
    partial: bool = False
    float_tolerance: float = 0.0
    isolation: str = "required"
    prelude: str = "auto"
    recursion_limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("time_limit_s", "wall_limit_s", "total_time_s", "memory_mb", "output_mb", "scratch_mb"):
            value = getattr(self, name)
            if name == "wall_limit_s" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise InputError(f"verifier 'code': {name} must be a number above 0, got {value!r}")
        for name, least in (("processes", 0), ("memory_mb", 1), ("output_mb", 1), ("scratch_mb", 1)):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least:
                raise InputError(
                    f"verifier 'code': {name} must be a whole number from {least}, got {getattr(self, name)!r}"
                )
        if self.isolation not in ("required", "best_effort"):
            raise InputError(f"verifier 'code': isolation must be required or best_effort, got {self.isolation!r}")
        if not isinstance(self.prelude, str):
            raise InputError(f"verifier 'code': prelude must be auto, none or source, got {self.prelude!r}")
        least = 100
        if self.recursion_limit is not None and (
            not isinstance(self.recursion_limit, int) or self.recursion_limit < least
        ):
            raise InputError(
                f"verifier 'code': recursion_limit must be a whole number from {least}, got {self.recursion_limit!r}"
            )
        self.held_by = _held_by(self.isolation, self.processes)
        self.program_limits = SandboxLimits(
            self.time_limit_s,
            self.wall_limit_s,
            self.memory_mb,
            self.processes,
            output_mb=self.output_mb,
            scratch_mb=self.scratch_mb,
        )
        self.limits = Limits(
            time_s=self.total_time_s + self.program_limits.wall + 10
        )  # the pool's: a backstop for the tests' own code

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        if truncated:
            return no_answer("the completion was cut off")
        tests = read_tests(problem)
        code, fenced = extract_code(completion, tests.entry_point)
        if not code.strip():
            return no_answer("no program in the completion")
        try:
            verdict = self._asserts(code, tests) if isinstance(tests, Asserts) else self._cases(code, tests)
        except Starved as error:
            return timed_out(f"machine too busy: {error}")
        except SandboxFault as error:
            return failed(f"sandbox: {error}")
        if verdict.status is Status.WRONG and not fenced and verdict.reason.startswith("SyntaxError"):
            return no_answer("no code block, and the text is not a program")
        return verdict

    def check(self, problem: Problem) -> None:
        """Raises InputError if the problem has no tests."""
        read_tests(problem)

    def _interpreter(self, code: str, *, cases: bool) -> Interpreter:
        prelude = self.prelude
        if prelude in ("auto", "none"):
            prelude = code_prelude.needed(code) if prelude == "auto" and cases else ""
        limit = RECURSION_LIMIT if cases and self.recursion_limit is None else self.recursion_limit
        return Interpreter(prelude, limit)

    # --- unit tests ---

    def _asserts(self, code: str, tests: Asserts) -> Verdict:
        program_text = assemble(code, tests)
        interpreter = self._interpreter(program_text, cases=False)
        with Program(
            program_text, "calls", limits=self.program_limits, held_by=self.held_by, interpreter=interpreter
        ) as program:
            try:
                program.define()
            except (ProgramRaised, ProgramEnded) as error:
                return wrong(code, reason=str(error))
            run = run_asserts(tests, program.call, partial=self.partial)
        if run.fault:
            return failed(f"the tests cannot run: {run.fault}")
        if not run.failure:
            return correct(code)
        return wrong(code, score=run.share if self.partial else 0.0, reason=run.failure)

    # --- input and output ---

    def _cases(self, code: str, tests: Cases) -> Verdict:
        held = 0
        failure = ""
        end = time.monotonic() + self.total_time_s
        for number, (given, expected) in enumerate(tests.cases, start=1):
            if time.monotonic() > end:
                raise Starved(
                    f"{number - 1} of {len(tests.cases)} cases took more than {self.total_time_s:g} s together"
                )
            reason = self._one_case(code, tests, given=given, expected=expected)
            held += not reason
            failure = failure or (
                f"case {number} of {len(tests.cases)}: {reason}" if reason and len(tests.cases) > 1 else reason
            )
            # without partial credit the first failure decides; a program that needs all its time once is not tried on
            # every other case
            if reason and (not self.partial or reason.startswith("time limit")):
                break
        if not failure:
            return correct(code)
        return wrong(code, score=held / len(tests.cases) if self.partial else 0.0, reason=failure)

    def _one_case(self, code: str, tests: Cases, *, given: Any, expected: Any) -> str:
        """Why this case does not hold; empty if it does."""
        try:
            interpreter = self._interpreter(code, cases=True)
            if tests.function is None:
                done = run_script(
                    code, given, limits=self.program_limits, held_by=self.held_by, interpreter=interpreter
                )
                if done.exit_code:
                    return _last_line(done.stderr) or f"exit code {done.exit_code}"
                return compare_output(done.stdout, expected, tolerance=self.float_tolerance)
            with Program(
                code, "calls", limits=self.program_limits, held_by=self.held_by, interpreter=interpreter
            ) as program:
                program.define()
                return compare_result(
                    program.call(tests.function, tuple(given)), expected, tolerance=self.float_tolerance
                )
        except NotPlainResult as error:
            return f"returned a {error}, which is not plain data"
        except (ProgramRaised, ProgramEnded) as error:
            return str(error)


def _held_by(wanted: str, processes: int) -> Isolation:
    found = isolation()
    if wanted == "required" and not found.strong:
        raise InputError(
            f"verifier 'code': this machine cannot hold a program safely ({'; '.join(found.missing)}); allow user "
            f"namespaces, or "
            "Landlock and libseccomp, or set isolation=best_effort to run programs all the same"
        )
    if processes and not found.namespaces:
        raise InputError("verifier 'code': processes above 0 needs namespaces, which this machine does not give")
    return found


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


# --- the program in a completion -------------------------------------------------------------------------------------

OPENING = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([\w+#.-]*)")
PYTHON_TAGS = {"", "python", "py", "python3", "py3"}


def extract_code(completion: str, entry_point: str | None = None) -> tuple[str, bool]:
    """(program, whether it stood in a code block). Empty if the completion holds blocks of other languages alone.

    It is the last fenced Python block that defines the entry point, else the last fenced Python block, else the whole
    text. What comes before "</think>" does not count. A last block that is left open (a stop string ate its end)
    counts.

    >>> extract_code("Like this:\\n```python\\nx = 1\\n```\\nDone.")
    ('x = 1\\n', True)
    """
    text = _untagged(settled(completion, code=True))
    blocks = []
    fence = ""
    indent = ""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        bare = line.strip()
        if not fence:
            if opening := OPENING.match(line):
                indent, fence, tag = opening.groups()
                blocks.append((tag.lower(), []))
        elif (
            set(bare) == {fence[0]}
            and len(bare) >= 3
            and (len(bare) >= len(fence) or not _closes(lines[number + 1 :], fence))
        ):
            fence = ""
        else:
            blocks[-1][1].append(line.removeprefix(indent))
    if not blocks:
        return text, False
    programs = ["".join(lines) for tag, lines in blocks if tag in PYTHON_TAGS]
    programs = [program for program in programs if program.strip()]
    defining = [program for program in programs if entry_point and defines(program, entry_point)]
    return (defining or programs or [""])[-1], True


def _untagged(text: str) -> str:
    """What stands in the last answer tags, if they stand in the text and not in the program."""
    opening = None
    for match in re.finditer(r"^[ \t]*<answer>", text, re.MULTILINE | re.IGNORECASE):
        if len(re.findall(r"^[ \t]*(?:```|~~~)", text[: match.start()], re.MULTILINE)) % 2 == 0:
            opening = match
    if opening is None:
        return text
    inside = re.split(r"</answer>", text[opening.end() :], maxsplit=1, flags=re.IGNORECASE)[0]
    return inside if inside.strip() else text


def _closes(lines: list[str], fence: str) -> bool:
    """Whether a fence is closed properly further on; where it is not, a shorter one is taken for its end."""
    return any(set(line.strip()) == {fence[0]} and len(line.strip()) >= len(fence) for line in lines)


def defines(code: str, name: str) -> bool:
    """Whether the text seems to define the name at the top level or in a class. Not parsed: the text may be hostile."""
    name = re.escape(name)
    return (
        re.search(rf"^[ \t]*(?:(?:async[ \t]+)?def|class)[ \t]+{name}\b|^{name}[ \t]*=", code, re.MULTILINE) is not None
    )


def assemble(code: str, tests: Asserts) -> str:
    """The program to run: with the stub (imports, helpers) before a whole solution, or continuing the stub where the
    code is a body."""
    if not tests.stub:
        return code
    if tests.entry_point and defines(code, tests.entry_point):
        return f"{tests.stub_program}\n{code}" if tests.stub_program else code
    lines = code.splitlines(keepends=True)
    ends = (
        i for i, line in enumerate(lines) if i and line.strip() and not line[0].isspace()
    )  # the model went on to something else
    return tests.stub + "".join(lines[: next(ends, len(lines))])
