"""vLLM's nccl and ipc backends, both halves of each, between real ranks and real engines on a machine without GPUs.

The protocols, the engines' bookkeeping of sleep and the loading are vLLM's own. Only what CUDA and NCCL would do is stood in for: a broadcast
goes over the TCP store of the rendezvous, and memory that two processes share is a file. That the GPUs' own part works, this cannot show.
"""

import contextlib
import glob
import os
import signal
import types
from itertools import count

import numpy as np
import pytest
import ray
import torch

from explore_rl import devices
from explore_rl.config import Config
from explore_rl.data_order import hashed_seed
from explore_rl.learner.group import LearnerGroup
from explore_rl.models import load_tokenizer
from explore_rl.rollout import group as rollout_group
from explore_rl.rollout.engine import RolloutActor
from explore_rl.types import Request
from explore_rl.weights import WeightSync

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(600)]
SHARED = "/dev/shm/explore-rl-test"


class Stream:
    def synchronize(self):
        pass


class Broadcasts:
    """In the place of vllm's PyNcclCommunicator."""

    def __init__(self, group, device):
        self.group = group

    def broadcast(self, tensor, src, stream=None):
        tensor.copy_(self.group.broadcast(tensor, src))

    def destroy(self):
        self.group = None


class TorchWithSharedBuffers:
    """torch, but a buffer "on the GPU" is a file that other processes can map."""

    files = count()

    def __getattr__(self, name):
        return getattr(torch, name)

    def empty(self, *size, device=None, **options):
        if str(device) != "cuda":
            return torch.empty(*size, device=device, **options)
        path = f"{SHARED}-{os.getpid()}-{next(self.files)}"
        tensor = _mapped(path, size[0], "w+")
        tensor.path = path
        return tensor


def _mapped(path, size, mode):
    return torch.from_numpy(np.memmap(path, np.uint8, mode, shape=(size,)))


def stand_in_for_cuda(gpu):
    """In this process from now on: the calls of vLLM's transfer engines to CUDA do nothing, and its GPU has the name `gpu`."""
    from torch.multiprocessing import reductions
    from vllm.distributed.device_communicators import pynccl
    from vllm.distributed.weight_transfer import packed_tensor

    torch.accelerator.current_device_index = lambda: 0
    torch.accelerator.synchronize = torch.cuda.synchronize = torch.cuda.ipc_collect = lambda *_: None
    torch.cuda.current_stream = lambda *_: Stream()
    torch.cuda.stream = lambda _: contextlib.nullcontext()
    torch.cuda.get_device_properties = lambda _: types.SimpleNamespace(uuid=gpu)
    packed_tensor._get_streams = lambda _, streams: [Stream()] * streams
    pynccl.PyNcclCommunicator = Broadcasts
    packed_tensor.torch = TorchWithSharedBuffers()
    # Of CUDA's handle vLLM looks at the device alone, its seventh part.
    packed_tensor.reduce_tensor = lambda buffer: (None, (buffer.path, len(buffer), "r+", 0, 0, 0, 0))
    reductions.rebuild_cuda_tensor = lambda path, size, mode, *_: _mapped(path, size, mode)


class Engine(RolloutActor.__ray_metadata__.modified_class):
    def load(self):
        stand_in_for_cuda(os.environ["STAND_IN_GPU"])
        return super().load()


def stand_in_on_rank(rank):
    stand_in_for_cuda(f"gpu {rank.index}")


def small_buffers(rank):
    """The parameters travel in several pieces, and the largest is larger than a piece is meant to be."""
    from explore_rl.rollout import vllm_compat

    vllm_compat.PACK_BYTES = 2**16
    assert max(p.nbytes for p in rank.model.parameters()) > vllm_compat.PACK_BYTES


class House:
    """Two ranks, two engines; rank i and engine i on one GPU if the backend is ipc."""

    def __init__(self, backend):
        self.config = Config()
        self.config.rollout.actors, self.config.learner.ranks, self.config.rollout.kv_cache_gib = 2, 2, 0.1
        self.layout = devices.start(self.config, base_engines=0)
        self.layout.transfer, self.layout.colocated = backend, backend == "ipc"
        for i, options in enumerate(self.layout.policy):
            options["runtime_env"]["env_vars"] = options["runtime_env"]["env_vars"] | {"STAND_IN_GPU": f"gpu {i}"}
        self.learner = LearnerGroup(self.config, self.layout)
        for function in (stand_in_on_rank, small_buffers):
            self.learner.apply(function)
        self.group = rollout_group.RolloutGroup(self.config, self.layout)
        self.sync = WeightSync(self.learner, self.group)
        prompt = tuple(load_tokenizer("lab:base").encode("3 5 7=22:"))
        self.requests = [Request("p", 0, prompt, hashed_seed("t", i), 16) for i in range(32)]

    def gap(self, rollouts):
        sequences = [(np.array(r.request.prompt_ids + r.tokens, dtype=np.int32), len(r.request.prompt_ids), 1.0) for r in rollouts]
        learner = np.concatenate([s.logprob for s in self.learner.score(sequences)])
        return float(np.abs(learner - np.concatenate([r.logprobs for r in rollouts])).mean())

    def close(self):
        for pid, _ in self.learner.processes:
            for file in glob.glob(f"{SHARED}-{pid}-*"):
                os.unlink(file)
        self.group.close()
        self.learner.close()
        self.layout.close()


@pytest.fixture(scope="module", params=["nccl", "ipc"])
def house(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollout_group, "RolloutActor", ray.remote(concurrency_groups={"watch": 1}, max_restarts=0)(Engine))
        house = House(request.param)
        yield house
        house.close()


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


def test_a_killed_engine_is_replaced_and_connected_anew(house, disturb):
    survivor, killed = (engine.pid for engine in house.group.engines)
    os.kill(killed, signal.SIGKILL)
    house.learner.apply(disturb, 7)
    house.sync.send(99)
    now = {engine.pid for engine in house.group.engines}
    assert killed not in now and survivor in now  # found before the send had begun
    rollouts = house.group.generate(house.requests)
    assert {r.weight_version for r in rollouts} == {99}
    assert house.gap(rollouts) < 1e-5
