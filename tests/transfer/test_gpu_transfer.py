"""GPU layouts at work on a machine without GPUs.

Real ranks and real tensor-parallel engines run on a Ray cluster that says it has GPUs, with both halves of vLLM's nccl
and ipc backends between them. Placement, vLLM's Ray executor, its workers and their sharded loading, the protocols and
the engines' bookkeeping of sleep are the real ones. All compute on the CPU, and only what CUDA and NCCL would do is
stood in for (scripts/rehearse_gpu_layout.py). That the GPUs' own part works, this cannot show.
"""

import os
import signal
import threading
from dataclasses import replace

import numpy as np
import psutil
import pytest
import ray
from rehearse_gpu_layout import rehearsal

from explore_rl.cluster import connection, placement
from explore_rl.cluster.faults import ActorFault
from explore_rl.config.schema import Config
from explore_rl.models import load_tokenizer
from explore_rl.objectives.readouts import logprob
from explore_rl.rollout.engines import Engines
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.transfer.sync import WeightSync
from explore_rl.types import Request

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(600)]


def small_buffers(rank):
    """The parameters travel in several pieces, and the largest is larger than a piece is meant to be."""
    from explore_rl.rollout import vllm_compat

    vllm_compat.PACK_BYTES = 2**16
    assert max(p.nbytes for p in rank.model.parameters()) > vllm_compat.PACK_BYTES


class House:
    def __init__(self, ranks, actors, base_engines, colocate):
        from explore_rl.training.actors import Learner  # as the rehearsal has it

        self.config = Config()
        self.config.learner.ranks, self.config.devices.colocate = ranks, colocate
        self.config.rollout.actors, self.config.rollout.tensor_parallel, self.config.rollout.kv_cache_gib = (
            actors,
            2,
            0.1,
        )
        self.layout = placement.start(self.config, base_engines)
        self.learner = Learner(self.config, self.layout)
        self.learner.apply(small_buffers)
        self.group = Engines(self.config, self.layout, needs_base=base_engines > 0)
        self.sync = WeightSync(self.learner, self.group)
        prompt = tuple(load_tokenizer("lab:base").encode("3 5 7=22:"))
        self.requests = [Request("p", 0, prompt, seed=hashed_seed("t", i), max_tokens=16) for i in range(32)]

    def gap(self, rollouts):
        sequences = [(np.concatenate([r.request.prompt_ids, r.tokens]), len(r.request.prompt_ids)) for r in rollouts]
        learner = np.concatenate([values for (values,) in self.learner.read(sequences, (logprob(),))])
        return float(np.abs(learner - np.concatenate([r.logprobs for r in rollouts])).mean())

    def workers(self):
        """Processes of vLLM's Ray executor, of all engines."""
        return [p for p in psutil.process_iter(["cmdline"]) if "RayWorkerProc" in " ".join(p.info["cmdline"] or ())]

    def close(self):
        self.group.close()
        self.learner.close()
        self.layout.close()


LAYOUTS = {
    "ipc": {"ranks": 2, "actors": 1, "base_engines": 1, "colocate": True},
    "nccl": {"ranks": 2, "actors": 2, "base_engines": 0, "colocate": False},
}


@pytest.fixture(scope="module")
def gpus():
    """One cluster for both layouts, one after the other."""
    with rehearsal(gpus=6):
        connection.connect("local", None)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def house(request, gpus):
    house = House(**LAYOUTS[request.param])
    assert house.group.transfer == request.param
    yield house
    house.close()


@pytest.mark.parametrize("house", LAYOUTS, indirect=True)
@pytest.mark.parametrize("stage", [0, 3])
def test_new_weights_reach_every_engine(house, stage, disturb):
    house.config.learner.zero_stage = stage
    house.learner.reset(house.config)
    for version in range(2):
        house.learner.apply(disturb, version)
        house.sync.send(10 * stage + version)
        rollouts = house.group.generate(house.requests)
        assert {r.weight_version for r in rollouts} == {10 * stage + version}
        assert house.gap(rollouts) < 1e-5


@pytest.mark.parametrize("house", ["ipc"], indirect=True)
def test_a_base_engine_keeps_its_weights(house):
    house.learner.reset(house.config)  # back to the model that both started with
    assert house.gap(house.group.generate([replace(r, engine="base", source="base") for r in house.requests])) < 1e-5


@pytest.mark.parametrize("house", LAYOUTS, indirect=True)
def test_a_killed_engine_is_replaced_and_connected_anew(house, disturb):
    killed = house.group.families["policy"][-1].pid
    survivors = {engine.pid for engine in house.group.engines} - {killed}
    os.kill(killed, signal.SIGKILL)
    house.learner.apply(disturb, 7)
    house.sync.send(99)
    now = {engine.pid for engine in house.group.engines}
    assert killed not in now and now.issuperset(survivors)  # found before the send had begun
    rollouts = house.group.generate(house.requests)
    assert {r.weight_version for r in rollouts} == {99}
    assert house.gap(rollouts) < 1e-5


@pytest.mark.parametrize("house", ["nccl"], indirect=True)
def test_an_engine_whose_worker_is_lost_is_replaced(house):
    before = {engine.pid for engine in house.group.engines}
    lost = house.workers()[0]
    killer = threading.Timer(0.3, lost.kill)
    killer.start()
    with pytest.raises(ActorFault, match="^rollout engine ., asked to draw 2048 completions: died"):
        house.group.generate(house.requests * 64)
    killer.join()
    house.sync.send(100)
    assert len(before - {engine.pid for engine in house.group.engines}) == 1
    assert not lost.is_running()
    assert house.gap(house.group.generate(house.requests)) < 1e-5
