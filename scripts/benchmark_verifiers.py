"""How fast the verifier pool is, beside the same verifier called bare in one process, and what stuck items cost.

    python scripts/benchmark_verifiers.py                         # answers of its own
    python scripts/benchmark_verifiers.py --file math500.jsonl    # a file of problems with reference answers
    python scripts/benchmark_verifiers.py --hangs 3 --items 1000

Rates: every problem is answered in three ways: with its reference, with the reference in other writing, and with
another problem's answer (a wrong answer has to be compared to the end, so it costs most). The pool is asked for at
least 0.8 x processes x the bare rate on a machine that is otherwise idle; on a busy one compare the processor seconds,
which count what the pool adds to the work itself.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

from explore_rl.problems import load_problems
from explore_rl.types import Problem, Status
from explore_rl.verifiers import Item, VerifierPool, make_verifier

OWN = [
    r"\frac{%d}{7}",
    r"%d\sqrt{3}",
    r"x^2+%dx-1",
    r"(%d, \frac{\pi}{2})",
    r"%d",
    r"[-%d, 5)",
    r"%d^\circ",
    r"\begin{pmatrix} %d \\ 2 \end{pmatrix}",
    r"%d, -2",
    r"2^{%d}",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", help="problems, as `explore-rl problems` reads them (default: 500 made-up answers)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=2, help="how often each answer is verified")
    parser.add_argument(
        "--hangs", type=int, default=3, help="stuck items among --items good ones (0: leave that part out)"
    )
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--time-limit", type=float, default=3.0, help="seconds, for the stuck items")
    args = parser.parse_args()
    problems = (
        load_problems(args.file)
        if args.file
        else [Problem(str(i), "", OWN[i % len(OWN)] % (i + 1), "math") for i in range(500)]
    )
    print(f"{len(problems)} problems, {args.workers} workers, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    rates(problems, args)
    cheap(args)
    if args.hangs:
        hangs(args)


def answers(problems: list[Problem], shifts: range) -> list[Item]:
    items = []
    for shift in shifts:
        for i, problem in enumerate(problems):
            text = (
                problem.answer
                if isinstance(problem.answer, str)
                else ", ".join(map(str, problem.answer))
                if isinstance(problem.answer, list)
                else str(problem.answer)
            )
            other = problems[(i + shift) % len(problems)].answer
            items += [
                Item(problem, f"So the answer is $\\boxed{{{given}}}$.")
                for given in (text, f"{shift} - {shift} + {text}", other)
            ]
    return items


def rates(problems: list[Problem], args: argparse.Namespace) -> None:
    # A fresh parser is slow until it has met most of its grammar: everybody verifies everything once before the clock
    # runs.
    warm, items = answers(problems, range(1, 2)), answers(problems, range(2, 2 + args.rounds))
    with VerifierPool(workers=args.workers, time_limit_s=30.0) as pool:
        pool.verify_all(warm * (4 * args.workers))
        before = workers_cpu(pool)
        in_pool, pool_cpu, verdicts = measured(lambda: pool.verify_all(items))
        pool_cpu += workers_cpu(pool) - before
    verifier = make_verifier("math")
    for item in warm:
        verifier(item.completion, item.problem)
    bare, bare_cpu, expected = measured(lambda: [verifier(item.completion, item.problem) for item in items])
    for item, one, other in zip(items, verdicts, expected, strict=False):
        if one.status is not other.status:
            raise SystemExit(
                f"the pool and the bare verifier do not agree on {item.problem.id}, {item.completion!r}: {one} {other}"
            )
    share = sum(v.status is Status.CORRECT for v in verdicts) / len(verdicts)
    print(
        f"math: {len(items)} answers, {share:.0%} correct; bare {len(items) / bare:.0f} a second, pool "
        f"{len(items) / in_pool:.0f} a second:"
    )
    print(f"  {bare / in_pool / args.workers:.2f} x workers x the bare rate, by the clock")
    print(
        f"  {bare_cpu / pool_cpu:.2f} by processor time: {bare_cpu:.2f} s bare, {pool_cpu:.2f} s for the pool and "
        f"its workers"
    )


def workers_cpu(pool: VerifierPool) -> float:
    """Processor seconds of the pool's workers so far (Linux)."""
    ticks = 0
    for worker in pool._crew:
        fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def cheap(args: argparse.Namespace) -> None:
    items = [Item(Problem("p", "", {"numbers": [1, 2, 3], "target": 6}, "countdown"), "1+2+3")] * 20_000
    with VerifierPool(workers=args.workers) as pool:
        pool.verify_all(items[:2000])
        elapsed, cpu, _ = measured(lambda: pool.verify_all(items))
    print(
        f"countdown: {len(items) / elapsed:.0f} a second through the pool ({cpu / len(items) * 1e6:.0f} "
        f"microseconds of this process each)"
    )


def hangs(args: argparse.Namespace) -> None:
    stuck = Path(__file__).parent.parent / "tests" / "verifiers" / "pool_cases.py"
    problem = Problem("p", "", "right", f"{stuck}:misbehave")
    completions = ["good"] * (args.items + args.hangs)
    for i in range(args.hangs):
        completions[(i + 1) * len(completions) // (args.hangs + 1)] = "hang"
    with VerifierPool(workers=args.workers, time_limit_s=args.time_limit) as pool:
        pool.verify_all([Item(problem, "good")] * 10 * args.workers)
        elapsed, _, verdicts = measured(lambda: pool.verify_all([Item(problem, text) for text in completions]))
    good = sum(v.status is Status.CORRECT for v in verdicts)
    timeouts = sum(v.status is Status.TIMEOUT for v in verdicts)
    print(
        f"hangs: {args.items} good items and {args.hangs} stuck ones, limit {args.time_limit:g} s: {elapsed:.2f} "
        f"s, {good} correct, {timeouts} timeouts"
    )


def measured(work):
    """Seconds, processor seconds of this process, and the result."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    result = work()
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, result


if __name__ == "__main__":
    main()
