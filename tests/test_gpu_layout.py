"""GPU layouts on a Ray cluster that only says it has four GPUs: where Ray and vLLM put whom. Nothing here computes on one."""

import os
import types

import pytest
import ray
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from explore_rl import devices
from explore_rl.config import Config

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(address="local", num_cpus=8, num_gpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def start(monkeypatch):
    monkeypatch.setattr(devices, "resolve", lambda _: "cuda")
    layouts = []

    def started(base_engines=0, colocate=False, **counts):
        config = Config()
        config.devices.colocate = colocate
        for key, value in counts.items():
            setattr(config.learner if key == "ranks" else config.rollout, key, value)
        layouts.append(devices.start(config, base_engines))
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

    def worker_gpus(self):
        """As vLLM's Ray executor places the workers of an engine."""
        import vllm.platforms
        from vllm.v1.executor import ray_utils

        places = [int(b) for b in os.environ["VLLM_RAY_BUNDLE_INDICES"].split(",")]
        width = len(places)
        settings = types.SimpleNamespace(world_size=width, tensor_parallel_size=width, placement_group=None, ray_runtime_env=None)
        vllm.platforms.current_platform = types.SimpleNamespace(
            ray_device_key="GPU", device_name="cuda", is_cuda=lambda: False, is_rocm=lambda: False, is_xpu=lambda: False
        )
        ray_utils.initialize_ray_cluster(settings, require_gpu_on_driver=False)  # vLLM's own check of the placement group
        assert settings.placement_group == get_current_placement_group()
        workers = []
        for bundle, _, _ in ray_utils.get_bundles_for_indices(settings.placement_group, places, width):
            where = PlacementGroupSchedulingStrategy(settings.placement_group, placement_group_bundle_index=bundle)
            share = float(os.environ["VLLM_RAY_PER_WORKER_GPUS"])
            own = {"env_vars": {"OF": "vLLM"}}
            workers.append(Process.options(num_cpus=0, num_gpus=share, scheduling_strategy=where, runtime_env=own).remote())
        self.workers = workers  # they keep their GPUs
        assert set(ray.get([w.float32_products.remote() for w in workers], timeout=60)) == {"ieee"}  # what an engine is told reaches them
        return sum(ray.get([w.gpus.remote() for w in workers], timeout=60), [])


def place(layout):
    """Every process of the layout, all alive at once."""
    return {role: [Process.options(**options).remote() for options in getattr(layout, role)] for role in ("learner", "policy", "base")}


def asked(processes, method="gpus"):
    return ray.get([getattr(p, method).remote() for p in processes], timeout=120)


def test_apart_every_process_has_a_gpu_of_its_own(start):
    found = place(start(ranks=2, actors=1, base_engines=1))
    gpus = asked(found["learner"] + found["policy"] + found["base"])
    assert all(len(g) == 1 for g in gpus) and len({g[0] for g in gpus}) == 4


def test_shared_a_rank_and_its_engine_see_the_same_gpu(start):
    found = place(start(ranks=3, actors=3, base_engines=1, colocate=True))
    assert asked(found["learner"]) == asked(found["policy"])
    assert len({g[0] for g in asked(found["learner"] + found["base"])}) == 4


def test_tensor_parallel_workers_apart(start):
    found = place(start(ranks=2, actors=1, tensor_parallel=2))
    assert asked(found["policy"]) == [[]]  # the process that drives an engine holds none
    (workers,) = asked(found["policy"], "worker_gpus")
    assert len(set(workers) | {g[0] for g in asked(found["learner"])}) == 4


def test_tensor_parallel_workers_beside_ranks_and_a_base_engine(start):
    found = place(start(ranks=2, actors=1, tensor_parallel=2, base_engines=1, colocate=True))
    (workers,), (base,) = asked(found["policy"], "worker_gpus"), asked(found["base"], "worker_gpus")
    assert workers == [g[0] for g in asked(found["learner"])]
    assert len(set(workers + base)) == 4
