"""Forms of programming problems. Their answers are what the code verifier reads
(`explore_rl.verifiers.code_tests.read_tests`)."""

from __future__ import annotations

from explore_rl.problems.fields import Options, benchmark_of, checked_answer, identity_of, parsed, rest_of, texts_of
from explore_rl.problems.rows import Row, describe
from explore_rl.types import Problem, Trace


def humaneval(row: Row, options: Options) -> Problem:
    """HumanEval and HumanEval+ (Chen et al., 2021; Liu et al., 2023): task_id, prompt (a stub), entry_point,
    canonical_solution, test."""
    entry_point = row.text("entry_point")
    test = row.text("test")
    stub = row.text("prompt")
    benchmark = options.benchmark or benchmark_of(row, "humaneval")
    canonical = row.optional_text("canonical_solution")
    return Problem(
        id=row.text("task_id"),
        prompt=stub,
        answer={"test": test, "entry_point": entry_point, "prompt": stub},
        verifier=options.verifier or "code",
        traces=() if canonical is None else (Trace(f"```python\n{stub}{canonical}\n```", f"{benchmark} solution"),),
        benchmark=benchmark,
        metadata=rest_of(row, "prompt", "canonical_solution", "test"),
    )


def mbpp(row: Row, options: Options) -> Problem:
    """MBPP and MBPP+ (Austin et al., 2021; Liu et al., 2023): task_id, text (or prompt), code, test_list, imports or
    set-up code.

    The prompt shows the first test, which alone says what the function is called; the answer holds them all.
    """
    tests = texts_of(row, "test_list")
    setup = row.values.get("test_imports") or row.values.get("test_setup_code") or []
    setup = "\n".join(setup) if isinstance(setup, list) and all(isinstance(line, str) for line in setup) else setup
    if not isinstance(setup, str):
        raise row.error("test_imports", f"expected text or a list of texts, got {describe(setup)}")
    benchmark = options.benchmark or benchmark_of(row, "mbpp")
    code = row.optional_text("code")
    return Problem(
        id=identity_of(row, "task_id", prefix=benchmark),
        prompt=f"{row.text('text', 'prompt')}\nYour code should pass this test:\n{tests[0]}",
        answer={"test_list": tests, "setup": setup},
        verifier=options.verifier or "code",
        traces=() if code is None else (Trace(f"```python\n{code}\n```", f"{benchmark} solution"),),
        benchmark=benchmark,
        metadata=rest_of(row, "text", "prompt", "code", "test_list"),
    )


def livecodebench(row: Row, options: Options) -> Problem:
    """LiveCodeBench (Jain et al., 2024): question_content, starter_code, public_test_cases (JSON), private_test_cases
    (packed; may be absent)."""
    prompt = row.text("question_content")
    starter = row.values.get("starter_code")
    if isinstance(starter, str) and starter.strip():
        prompt = f"{prompt}\n\nBegin with:\n```python\n{starter}\n```"
    metadata = rest_of(row, "question_content", "public_test_cases", "private_test_cases", "metadata")
    metadata |= parsed(row, "metadata", kind=dict, what="an object") or {}
    # the benchmark judges by both columns together
    public, private = (row.values.get(key) or None for key in ("public_test_cases", "private_test_cases"))
    key = "private_test_cases" if private else "public_test_cases"
    tests = {"public": public, "private": private} if public and private else private or public
    return Problem(
        id=identity_of(row, "question_id", "id", prefix="livecodebench"),
        prompt=prompt,
        answer=checked_answer(row, key, answer=tests, verifier="code"),
        verifier=options.verifier or "code",
        benchmark=options.benchmark or benchmark_of(row, "livecodebench"),
        metadata=metadata,
    )
