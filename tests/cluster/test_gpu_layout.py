"""GPU layouts on a Ray cluster that only says it has four GPUs: where Ray puts whom.

tests/transfer/test_gpu_transfer.py runs them.
"""

import os

import pytest
import ray

from explore_rl.cluster import placement
from explore_rl.config.schema import Config
from explore_rl.rollout.settings import engine_environment

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(address="local", num_cpus=8, num_gpus=4, include_dashboard=False, log_to_driver=False)
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
