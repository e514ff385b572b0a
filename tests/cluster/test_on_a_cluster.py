"""Layouts on a Ray cluster of 8 CPUs that says it has 4 GPUs: what is refused there, and where Ray puts whom.

tests/transfer/test_gpu_transfer.py runs the layouts of GPUs.
"""

import os

import pytest
import ray
from ray.util.placement_group import placement_group, remove_placement_group

from analysis.errors import InputError
from explore_rl.cluster import placement
from explore_rl.config.schema import Config
from explore_rl.learner.device import learner_environment
from explore_rl.rollout.settings import engine_environment

CPUS = 8
pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def cluster_with_gpus():
    ray.init(address="local", num_cpus=CPUS, num_gpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def start(monkeypatch):
    monkeypatch.setattr(placement, "resolve", lambda _: "cuda")
    layouts = []

    def started(base_engines=0, colocate=False, **counts):
        config = Config()
        config.devices.colocate = colocate
        for key, value in counts.items():
            setattr(config.learner if key == "ranks" else config.rollout, key, value)
        layouts.append(placement.start(config, base_engines))
        return layouts[-1]

    yield started
    for layout in layouts:
        layout.close()


@ray.remote
class Process:
    def gpus(self):
        return ray.get_gpu_ids()

    def float32_products(self):
        return os.environ.get("TRITON_F32_DEFAULT")


def place(layout):
    """Every process of the layout with an engine's environment, all alive at once."""
    environment = engine_environment(Config(), "cuda")
    options = {
        role: [placement.with_environment(o, environment) for o in getattr(layout, role)]
        for role in ("learner", "policy", "base")
    }
    return {role: [Process.options(**o).remote() for o in of_role] for role, of_role in options.items()}


def asked(processes, method="gpus"):
    return ray.get([getattr(p, method).remote() for p in processes], timeout=120)


def test_apart_every_process_has_a_gpu_of_its_own(start):
    found = place(start(ranks=2, actors=1, base_engines=1))
    gpus = asked(found["learner"] + found["policy"] + found["base"])
    assert all(len(g) == 1 for g in gpus) and len({g[0] for g in gpus}) == 4
    assert asked(found["policy"] + found["base"], "float32_products") == ["ieee", "ieee"]


def test_shared_a_rank_and_its_engine_see_the_same_gpu(start):
    found = place(start(ranks=3, actors=3, base_engines=1, colocate=True))
    assert asked(found["learner"]) == asked(found["policy"])
    assert len({g[0] for g in asked(found["learner"] + found["base"])}) == 4


# --- without GPUs -----------------------------------------------------------------------------------------------------


def cpu_config(**counts):
    config = Config()
    config.devices.device = "cpu"
    for key, value in counts.items():
        setattr(config.learner if key == "ranks" else config.rollout, key, value)
    return config


def test_a_cluster_that_is_too_small_is_named_at_once(monkeypatch):
    monkeypatch.setattr(placement, "MAX_PROCESSES_PER_CORE", 100)  # not what this machine has, but what the cluster has
    with pytest.raises(InputError, match=r"too few CPUs for the layout: asked 9 .*learner.ranks=7.* has 8 on 1 node"):
        placement.start(cpu_config(ranks=7), base_engines=1)
    with pytest.raises(InputError, match=r"too few GPUs .* asked 5 .* has 4 .*share GPUs with devices.colocate=true"):
        placement._check_room(Config(), [{"CPU": 1, "GPU": 1}] * 5)


def test_a_cluster_that_is_full_is_named_after_a_short_wait(monkeypatch):
    monkeypatch.setattr(placement, "PLACEMENT_TIMEOUT_S", 1.0)
    others = placement_group([{"CPU": CPUS - 1}])
    assert others.wait(30)
    with pytest.raises(InputError, match=r"no free place .*asked 2 CPUs and 0 GPUs, free 1 CPUs"):
        placement.start(cpu_config(), 0)
    remove_placement_group(others)
    monkeypatch.setattr(placement, "PLACEMENT_TIMEOUT_S", 25.0)
    layout = placement.start(cpu_config(), 0)  # what the refused layout had reserved is free again
    assert (len(layout.learner), len(layout.policy), len(layout.base)) == (1, 1, 0)
    layout.close()
    assert ray.is_initialized()  # the cluster was not this layout's


def test_actors_get_the_environment_of_their_role():
    asked_for = cpu_config(threads=2)
    layout = placement.start(asked_for, 0)
    of_engine, of_rank = engine_environment(asked_for, "cpu"), learner_environment(asked_for, "cpu")
    places = [
        placement.with_environment(layout.policy[0], of_engine),
        placement.with_environment(layout.learner[0], of_rank),
    ]

    @ray.remote
    def environment():
        import os

        return dict(os.environ)

    asked = [environment.options(**options).remote() for options in places]
    engine, rank = ray.get(asked, timeout=60)
    layout.close()
    assert engine["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0" and engine["OMP_NUM_THREADS"] == "2"
    assert rank["DS_ACCELERATOR"] == "cpu" and rank["OMP_NUM_THREADS"] == "1"
