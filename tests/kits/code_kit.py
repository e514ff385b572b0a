"""A programming problem and a verdict on a program, for tests of several files."""

from explore_rl.types import Problem
from explore_rl.verifiers.code import CodeVerifier


def problem(answer, **metadata) -> Problem:
    return Problem("p", "Solve it.", answer, "code", metadata=metadata)


def verify(
    program: str, tests, *, fenced: bool = True, truncated: bool = False, metadata: dict | None = None, **options
):
    completion = f"Here it is.\n```python\n{program}\n```\n" if fenced else program
    return CodeVerifier(time_limit_s=1.0, wall_limit_s=120, **options)(
        completion, problem(tests, **(metadata or {})), truncated=truncated
    )
