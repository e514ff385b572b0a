"""The control plane of a weight transfer, with recorders in place of engines.

Real engines: tests/rollout/test_engines.py.
"""

import pytest
import ray

from explore_rl.cluster.faults import ActorFault
from explore_rl.transfer.endpoints import Endpoints
from explore_rl.transfer.sender import EngineClient

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("cluster")]


@ray.remote
class Recorder:
    """Writes down what an engine would be told; fails to prepare if asked to die, to load if asked to fail."""

    def __init__(self, dies=False, fails=False):
        self.calls, self.dies, self.fails = [], dies, fails

    def init_weight_transfer_engine(self, info):
        self.calls.append(("init", info))

    def start_weight_update(self):
        if self.dies:
            ray.actor.exit_actor()
        self.calls.append(("start",))

    def update_weights(self, info):
        if self.fails:
            raise MemoryError("no room for the weights")
        self.calls.append(("update", info))

    def finish_weight_update(self, version):
        self.calls.append(("finish", version))

    def progress(self):
        return len(self.calls)

    def said(self):
        return self.calls


def client_of(recorders, workers, sender=True):
    engines = [(f"rollout engine {i}", r) for i, r in enumerate(recorders)]
    endpoints = Endpoints(
        backend="nccl",
        engines=engines,
        membership=0,
        workers=workers,
        load_threads=1,
        start_timeout_s=60.0,
        step_timeout_s=60.0,
        stall_timeout_s=30.0,
    )
    return EngineClient(endpoints, is_sender=sender)


def said(recorders):
    return ray.get([r.said.remote() for r in recorders], timeout=60)


def test_every_engine_worker_gets_an_nccl_rank_of_its_own():
    recorders = [Recorder.options(num_cpus=0).remote() for _ in range(3)]
    client_of(recorders, workers=6).init_weight_transfer_engine({"rank_offset": 1, "world_size": 7, "master_port": 5})
    # two workers an engine: ranks 1-2, 3-4, 5-6 beside the trainer's 0
    assert [calls[0][1]["rank_offset"] for calls in said(recorders)] == [1, 3, 5]
    assert all(calls[0][1]["world_size"] == 7 for calls in said(recorders))


def test_only_rank_0_speaks_and_the_version_arrives():
    recorders = [Recorder.options(num_cpus=0).remote() for _ in range(2)]
    for sender in (False, True):
        client = client_of(recorders, workers=2, sender=sender)
        client.version = 7
        client.init_weight_transfer_engine({})
        client.start_weight_update()
        client.update_weights({"names": ["a"]})
        client.finish_weight_update()
    assert said(recorders) == [[("init", {}), ("start",), ("update", {"names": ["a"]}), ("finish", 7)]] * 2


def test_a_lost_engine_silences_the_rest_of_the_send():
    """Raised at once, the fault would take rank 0 out of the gathering of ZeRO-3 shards that the other ranks are in."""
    well, lost = Recorder.options(num_cpus=0).remote(), Recorder.options(num_cpus=0).remote(dies=True)
    client = client_of([well, lost], workers=2)
    client.start_weight_update()
    client.update_weights({"names": ["a"]})
    client.finish_weight_update()
    assert isinstance(client.fault, ActorFault) and client.fault.who == "rollout engine 1"
    assert said([well]) == [[("start",)]]


def test_an_engine_that_cannot_load_is_a_fault_of_the_engine_and_not_of_the_rank():
    """Rank 0 would otherwise stand in NCCL's broadcast, looking well, and never get to the error."""
    well, failing = Recorder.options(num_cpus=0).remote(), Recorder.options(num_cpus=0).remote(fails=True)
    client = client_of([well, failing], workers=2)
    client.start_weight_update()
    client.update_weights({"names": ["a"]})
    assert isinstance(client.fault, ActorFault) and "no room for the weights" in str(client.fault)
