"""The pool under the faults that users of verifiers meet: hangs, kills, memory bombs, threads, slow readers, Ray
actors."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from analysis.errors import InputError
from explore_rl.types import Problem, Status
from explore_rl.verifiers import Item, VerifierPool

CASES = f"{Path(__file__).parent / 'pool_cases.py'}:misbehave"
WORKERS = 2
C, W, T, E = Status.CORRECT, Status.WRONG, Status.TIMEOUT, Status.ERROR


def items(*completions: str) -> list[Item]:
    return [Item(Problem(f"p{i}", "", "right", CASES), text) for i, text in enumerate(completions)]


def pool(**options) -> VerifierPool:
    return VerifierPool(workers=WORKERS, **{"time_limit_s": 1.0, **options})


def statuses(verdicts) -> list[Status]:
    return [verdict.status for verdict in verdicts]


@pytest.fixture(scope="module")
def shared():
    with pool() as shared:
        yield shared


GOOD_HANGS_GOOD = ["good", *["hang"] * (WORKERS + 1), "good", "good", "good"]
EXPECTED = [C, *[T] * (WORKERS + 1), C, C, C]


def test_stuck_items_cost_themselves_only(shared):
    verdicts = shared.verify_all(items(*GOOD_HANGS_GOOD))
    assert statuses(verdicts) == EXPECTED
    assert verdicts[1].score is None and "1 s" in verdicts[1].reason


def test_items_are_verified_beside_the_caller(shared):
    first, second = shared.begin(items("good", "no")), shared.begin(items("good"))
    assert statuses(second()) == [C]
    assert statuses(first()) == statuses(first()) == statuses(shared.verify_all(items("good", "no")))


def test_the_same_from_two_threads_at_once(shared):
    found = {}

    def run(name, *completions):
        found[name] = statuses(shared.verify_all(items(*completions)))

    threads = [
        threading.Thread(target=run, args=("hangs", *GOOD_HANGS_GOOD)),
        threading.Thread(target=run, args=("plain", "good", "no", "good")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == {"hangs": EXPECTED, "plain": [C, W, C]}


def test_killed_workers_cost_one_item_each(shared):
    verdicts = shared.verify_all(items("good", "kill", "no", "exit", "good", "systemexit", "good", "raise", "good"))
    assert statuses(verdicts) == [C, E, W, E, C, E, C, E, C]
    assert (
        "SIGKILL" in verdicts[1].reason
        and "code 3" in verdicts[3].reason
        and verdicts[7].reason.endswith("ZeroDivisionError: on purpose")
    )
    assert all(verdict.score is None for verdict in verdicts if verdict.status is E)


def test_a_kill_within_a_chunk_loses_no_neighbour(shared, tmp_path):
    shared.verify_all(items(*["good"] * 200))  # so that the pool has learnt to send large chunks
    completions = ["good"] * 500
    completions[137] = f"once {tmp_path / 'mark'}"
    assert statuses(shared.verify_all(items(*completions))) == [E if i == 137 else C for i in range(500)]


def test_a_thousand_and_three_hangs(shared):
    completions = ["good" if i % 2 else "no" for i in range(1003)]
    for i in (10, 500, 1000):
        completions[i] = "hang"
    expected = [T if text == "hang" else C if text == "good" else W for text in completions]
    assert statuses(shared.verify_all(items(*completions))) == expected


def test_memory_bombs_are_errors():
    with pool(time_limit_s=20.0, memory_limit_mb=150) as small:
        verdicts = small.verify_all(items("good", "eat", "good", "gulp", "good"))
    assert statuses(verdicts) == [C, E, C, E, C]
    assert "memory" in verdicts[1].reason and "memory" in verdicts[3].reason.lower()


def test_processor_time_is_limited():
    with pool(time_limit_s=30.0, cpu_limit_s=1.0) as small:
        verdicts = small.verify_all(items("spin", "good"))
    assert statuses(verdicts) == [T, C]
    assert "processor" in verdicts[0].reason


def test_what_a_verifier_started_dies_with_it(shared, tmp_path):
    assert statuses(shared.verify_all(items(f"child {tmp_path / 'pid'}"))) == [T]
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_do_not_import_torch(shared):
    import sys

    sys.modules.setdefault("torch", sys)  # a parent that has it
    assert statuses(shared.verify_all(items("torch"))) == [W]


def test_printing_verifiers_leave_our_output_alone(capfd):
    with pool() as fresh:
        assert statuses(fresh.verify_all(items("print"))) == [C]
    assert capfd.readouterr().out == ""


def test_results_come_in_order_and_the_source_is_not_read_far_ahead(shared):
    read = 0

    def source():
        nonlocal read
        for item in items(*["good"] * 3000):
            read += 1
            yield item

    verdicts = shared.verify(source())
    assert next(verdicts).status is C
    assert read < 3000
    assert statuses(verdicts) == [C] * 2999


def test_a_caller_that_leaves_early_does_no_harm(shared):
    verdicts = shared.verify(items(*["good"] * 50, *["hang"] * 50))
    next(verdicts)
    verdicts.close()
    assert statuses(shared.verify_all(items("good", "no"))) == [C, W]


def test_an_item_that_cannot_be_sent_is_the_callers_error(shared):
    problem = Problem("p", "", "right", CASES, metadata={"lock": threading.Lock()})
    with pytest.raises(TypeError):
        shared.verify_all([Item(problem, "good")])
    assert statuses(shared.verify_all(items("good"))) == [C]


def test_one_pool_for_many_verifiers():
    problems = [
        Problem("a", "", "12", "math"),
        Problem("b", "", "B", "choice"),
        Problem("c", "", "Paris", "text"),
        Problem("d", "", "7", "gsm8k"),
    ]
    with VerifierPool(
        {"gsm8k": {"kind": "math", "limits": {"time_s": 3}}, "text": {"extract": "whole"}}, workers=1
    ) as mixed:
        verdicts = mixed.verify_all(
            [Item(p, t) for p, t in zip(problems, ["\\boxed{12}", "Answer: C", "paris.", "#### 7"], strict=False)]
        )
    assert statuses(verdicts) == [C, W, C, C]


def test_math_that_explodes_is_a_timeout():
    problem = Problem("p", "", "12", "math")
    bombs = ["\\boxed{\\dfrac{5^{(5^{(5^{(5^5)})}-4)}-5}{16}}", "\\boxed{2^{3^{20}}}"]
    with VerifierPool({"math": {}}, workers=1, time_limit_s=1.0) as timed:
        verdicts = timed.verify_all([Item(problem, text) for text in ["\\boxed{12}", *bombs, "\\boxed{12}"]])
    assert verdicts[0].status is verdicts[-1].status is C
    assert all(status in (T, W) for status in statuses(verdicts[1:-1]))
    assert T in statuses(verdicts)


def test_bad_options_are_refused_at_once():
    for options, message in [
        ({"maht": {}}, "did you mean 'math'"),
        ({"math": {"strict": True}}, "unknown option 'strict'"),
        ({"math": {"limits": {"time": 3}}}, "did you mean 'time_s'"),
        ({"nowhere.py:f": {}}, "nowhere.py"),
    ]:
        with pytest.raises(InputError, match=message):
            VerifierPool(options)
    with pool() as fresh, pytest.raises(InputError, match="unknown verifier 'chioce', did you mean 'choice'"):
        fresh.verify_all([Item(Problem("p", "", "B", "chioce"), "B")])


def test_a_closed_pool_says_so_and_leaves_no_process():
    fresh = pool()
    fresh.verify_all(items("good", "good"))
    workers = [worker.process.pid for worker in fresh._crew]
    assert workers
    fresh.close()
    assert not any(_alive(pid) for pid in workers)
    with pytest.raises(RuntimeError, match="closed"):
        fresh.verify_all(items("good"))


@pytest.mark.engine
@pytest.mark.slow
def test_the_same_inside_a_ray_actor():
    import ray

    @ray.remote(num_cpus=0)
    class Grader:
        def grade(self):
            with pool() as inside:
                return [status.value for status in statuses(inside.verify_all(items(*GOOD_HANGS_GOOD)))]

    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(map(str, [Path(__file__).parents[2]]))}},
    )
    try:
        import cloudpickle

        cloudpickle.register_pickle_by_value(__import__("sys").modules[__name__])
        assert ray.get(Grader.remote().grade.remote(), timeout=120) == [status.value for status in EXPECTED]
    finally:
        ray.shutdown()


def test_the_mark_is_never_seen_half_written():
    """A start that is read as 0 would be taken for an item that has run for ever, and a good answer for a timeout."""
    import subprocess
    import sys

    from explore_rl.verifiers.worker import Mark

    with open(os.memfd_create("mark"), "wb+") as shared:
        shared.truncate(Mark.SIZE)
        mark = Mark(shared.fileno())
        write = "import sys\nfrom explore_rl.verifiers.worker import Mark\nmark = Mark(int(sys.argv[1]))\n"
        write += "for _ in range(150_000): mark.begin()"
        writer = subprocess.Popen(
            [sys.executable, "-c", write, str(shared.fileno())],
            pass_fds=[shared.fileno()],
            cwd=Path(__file__).parents[2],
        )
        seen = [mark.read()]
        while writer.poll() is None:
            seen += [mark.read() for _ in range(200)]
    began = [(begun, started) for begun, started in seen if begun]
    assert seen[-1][0] or mark.read()[0] == 150_000
    assert [begun for begun, _ in began] == sorted(begun for begun, _ in began)
    assert [started for _, started in began] == sorted(started for _, started in began)
