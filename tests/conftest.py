"""What tests of several files share: one set of actors for the session, and the budget that keeps the suite small.

tests/budget.json says what the suite may cost:

    cpu_seconds     processor time of a test without actors: of this process and of the children that it waited for
    over_a_second   tests that may take more, each with its own limit, under the reason why they cannot take less
    tolerance       a test above its limit by this factor is run again, alone in a new process, and fails if it is above
                    there too: a busy machine makes the same work cost more CPU time, now and then several times as much
    tolerance_alone the factor there: imports and caches are cold
    starts          Ray clusters, engines and ranks that a whole run of the suite starts, in whatever process
    suite_cpu_seconds   of a whole run, all processes together: scripts/measure_suite.py counts, and fails above it
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "scripts"))  # what a script and a test share
sys.path.insert(0, str(REPOSITORY / "tests" / "kits"))  # what tests of several files share: tests are not packages
from small_runs import SMALL  # isort: skip

BUDGET = json.loads((REPOSITORY / "tests" / "budget.json").read_text())
CLUSTER_CPUS = 8


@pytest.fixture(scope="session")
def small_settings():
    """Overrides that make a laboratory recipe a few seconds long."""
    return SMALL


# --- actors -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cluster():
    """A Ray cluster for all tests that do not need one of a certain size, or lose a node of it."""
    import ray

    from explore_rl.cluster import connection

    connection.connect("local", CLUSTER_CPUS)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def actors(cluster):
    """A DeepSpeed rank with the frozen base beside it, two policy engines and a base engine: one set for all."""
    from engine_kit import ENGINE

    from explore_rl.config.loading import load_config
    from explore_rl.learner.messages import LearnerNeeds
    from explore_rl.training.actors import Actors

    # Nothing of it acts unless a request asks for it, and the expert starts with the first that does (engine_kit).
    own = ["rollout.actors=2", f"rollout.engine={json.dumps(ENGINE)}"]
    config = load_config(REPOSITORY / "configs" / "lab" / "grpo.yaml", [*SMALL, *own])
    with Actors(config, base_engine=True, models=LearnerNeeds(base=True)) as started:
        yield started


@pytest.fixture(scope="session")
def beside(cluster):
    """beside(ranks=, engines=): a Layout for a test's own actors in the shared cluster; they reserve no room there."""
    from explore_rl.cluster.placement import Layout

    def layout(ranks=0, engines=0):
        options = {"num_cpus": 0, "num_gpus": 0, "runtime_env": {"env_vars": {}}}
        return Layout("cpu", [options] * ranks, [options] * engines, [])

    return layout


class TwoRanks:
    """Two ranks, started when they are first asked for, and again after a test has killed them."""

    def __init__(self, layout):
        self.layout, self.learner = layout, None

    def reset(self, config):
        """The two ranks with the model of `config` and a new optimizer."""
        from explore_rl.learner.learner import Learner

        if self.learner is None or not self.learner.actors:
            self.learner = Learner(config, self.layout)
        else:
            self.learner.reset(config)
        return self.learner


@pytest.fixture(scope="session")
def pair(beside):
    """Two ranks beside the one of `actors`: pair.reset(config) gives the Learner."""
    started = TwoRanks(beside(ranks=2))
    yield started
    if started.learner is not None:
        started.learner.close()


@pytest.fixture(scope="session")
def disturb():
    import engine_kit
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(engine_kit)  # ranks, which run it, do not find it by name
    return engine_kit.disturb


def pytest_collection_modifyitems(items):
    """Tests in the shared cluster go last: a process has one at a time, and other tests start their own."""
    items.sort(key=lambda item: "cluster" in getattr(item, "fixturenames", ()))


# --- processor time of a test -----------------------------------------------------------------------------------------

HEAVY = (
    "numpy", "pandas", "pyarrow.parquet", "scipy.stats", "torch", "torch._dynamo", "transformers",
    "transformers.models", "ray",
)  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def imported(request):
    """What takes seconds to import is there before a test is measured; `analysis` alone needs none of it."""
    if any("analysis" not in item.path.parts for item in request.session.items):
        for name in HEAVY:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # millions of objects that stay: a full collection takes a second, of whichever test it happens in


def cpu_seconds():
    """Of this process and of the children that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


LIMITS = {test: limit for tests in BUDGET["over_a_second"].values() for test, limit in tests.items()}
ALONE = "EXPLORE_RL_TEST_ALONE"  # set in the process that repeats a test
ALONE_S = 200.0  # the repetition's time limit
DEAR_ONCE = pytest.StashKey[list]()


def cpu_limit(item):
    """What the test may use; None: it has actors."""
    return None if item.get_closest_marker("engine") else LIMITS.get(item.nodeid, BUDGET["cpu_seconds"])


def pytest_collection_finish(session):
    """A test that was renamed leaves no allowance behind."""
    gone = LIMITS.keys() - {item.nodeid for item in session.items}
    if gone and is_whole_suite(session):
        raise pytest.UsageError(f"tests/budget.json names tests that are not there: {', '.join(sorted(gone))}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    begin = cpu_seconds()
    result = yield
    used = cpu_seconds() - begin
    limit = cpu_limit(item)
    tolerance = BUDGET["tolerance_alone" if ALONE in os.environ else "tolerance"]
    if limit is None or used <= limit * tolerance:
        return result
    if ALONE in os.environ or (again := told_alone(item)) is not None:
        told = f"took {used:.2f} CPU seconds; tests/budget.json allows {limit:g} without actors"
        pytest.fail(told if ALONE in os.environ else f"{told}\nalone in a new process:\n{again}", pytrace=False)
    item.config.stash.setdefault(DEAR_ONCE, []).append(f"{item.nodeid} ({used:.2f} s)")
    return result


def told_alone(item):
    """None if the test, repeated alone in a new process, keeps its limit; else the end of what that process said."""
    command = [sys.executable, "-m", "pytest", "-q", item.nodeid]
    environment = {name: value for name, value in os.environ.items() if name != STARTS} | {ALONE: "1"}
    try:
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=ALONE_S)
    except subprocess.TimeoutExpired:
        return f"not done within {ALONE_S:g} s"
    return None if done.returncode == 0 else done.stdout[-2000:]


# --- what was started -------------------------------------------------------------------------------------------------

STARTS = "EXPLORE_RL_COUNT_STARTS"  # explore_rl.cluster.starts; the processes that tests start inherit it


def pytest_configure(config):
    import tempfile

    if STARTS not in os.environ:
        handle, os.environ[STARTS] = tempfile.mkstemp(prefix="starts-", suffix=".txt")
        os.close(handle)
        config.add_cleanup(lambda: os.unlink(os.environ.pop(STARTS)))


@pytest.fixture(scope="session", autouse=True)
def clusters_of_tests_are_counted(imported):
    """Tests that call ray.init themselves start a cluster too. explore_rl's own call is counted where it is made."""
    ray = sys.modules.get("ray")
    if ray is None:
        yield
        return
    from explore_rl.cluster.starts import count

    real = ray.init

    def counted(*args, **options):
        if sys._getframe(1).f_globals.get("__name__") != "explore_rl.cluster.connection":
            count("ray")
        return real(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "init", counted)
        yield


def is_whole_suite(session):
    """Nothing was selected, and nothing stopped it early."""
    option = session.config.option
    selected = any(getattr(option, name, None) for name in ("keyword", "markexpr", "deselect", "lf", "collectonly"))
    whole = session.config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return whole and not selected and not session.shouldstop and not session.shouldfail


STARTED = pytest.StashKey[Counter]()


def pytest_sessionfinish(session):
    """Too many starts fail a run of the whole suite."""
    counted = Counter(Path(os.environ[STARTS]).read_text().split())
    session.config.stash[STARTED] = counted
    if is_whole_suite(session) and above_budget(counted):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def above_budget(counted):
    return [kind for kind, most in BUDGET["starts"].items() if counted[kind] > most]


def pytest_terminal_summary(terminalreporter, config):
    for told in config.stash.get(DEAR_ONCE, []):
        terminalreporter.write_line(f"above its CPU limit here, not alone: {told}")
    counted = config.stash.get(STARTED, Counter())
    if counted:
        counts = ", ".join(f"{counted[kind]} {kind} (at most {most})" for kind, most in BUDGET["starts"].items())
        terminalreporter.write_line(f"started, whole suite's budget in brackets: {counts}")
    for kind in above_budget(counted):
        terminalreporter.write_line(f"too many starts of a {kind}: see tests/budget.json", red=True)
