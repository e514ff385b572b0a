"""Layouts: what fits is placed, what does not is refused with numbers and the key to change."""

import os
import socket

import psutil
import pytest
import ray

from analysis.errors import InputError
from explore_rl.cluster import placement
from explore_rl.config.schema import Config
from explore_rl.learner import device
from explore_rl.rollout import settings


def config(**keys):
    c = Config()
    for key, value in keys.items():
        section, _, name = key.partition("__")
        setattr(getattr(c, section), name, value)
    return c


# --- refused before anything starts -----------------------------------------------------------------------------------


def test_more_processes_than_cores_can_carry(monkeypatch):
    monkeypatch.setattr(placement.os, "sched_getaffinity", lambda _: {0, 1})
    with pytest.raises(InputError, match=r"too few CPUs.* 9 processes .*learner.ranks=7.* 2 cores here, at most 8"):
        placement.start(config(devices__device="cpu", learner__ranks=7, rollout__actors=2), 0)
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"rollout__tensor_parallel": 2}, "rollout.tensor_parallel=2: needs GPUs"),
        ({"devices__colocate": True}, "devices.colocate=true.*no effect on a CPU"),
    ],
)
def test_what_has_no_meaning_on_a_cpu(keys, message):
    with pytest.raises(InputError, match=message):
        placement.start(config(devices__device="cpu", **keys), 0)


def test_cuda_without_a_gpu(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no GPU that torch can use"):
        placement.resolve(config(devices__device="cuda"))
    assert placement.resolve(config(devices__device="auto")) == "cpu"
    assert (
        placement.resolve(config(devices__device="cuda", devices__ray_address="auto")) == "cuda"
    )  # the head node may have none


def test_shared_gpus_need_one_rank_for_every_engine_worker():
    with pytest.raises(
        InputError, match=r"learner.ranks=2 must equal rollout.actors x rollout.tensor_parallel = 2 x 2"
    ):
        placement._check(
            config(devices__colocate=True, learner__ranks=2, rollout__actors=2, rollout__tensor_parallel=2), "cuda"
        )


def test_no_cluster_at_the_address():
    with pytest.raises(
        InputError, match=r"devices.ray_address=127.0.0.1:9: no Ray cluster answers there.*launch_ray_cluster.sh"
    ):
        placement.start(config(devices__device="cpu", devices__ray_address="127.0.0.1:9"), 0)


# --- bundles on GPUs (arithmetic only) --------------------------------------------------------------------------------


def gpus(bundles):
    return [b["GPU"] for b in bundles]


def test_gpus_apart():
    c = config(learner__ranks=4, rollout__actors=2, rollout__tensor_parallel=2)
    bundles, place = placement._bundles(c, "cuda", base_engines=1)
    assert gpus(bundles) == [1] * 10  # vLLM refuses to put the workers of an engine on a bundle of several GPUs
    assert [(s.bundle, s.gpus) for s in place["learner"]] == [(i, 1) for i in range(4)]
    engines = place["policy"] + place["base"]
    assert [(s.bundle, s.gpus, s.worker_bundles, s.worker_gpus) for s in engines] == [
        (i, 0, (i, i + 1), 1) for i in (4, 6, 8)
    ]
    assert settings.engine_settings(c, "cuda")["distributed_executor_backend"] == "ray"
    c.rollout.tensor_parallel = 1
    _, place = placement._bundles(c, "cuda", base_engines=1)
    assert [(s.bundle, s.gpus, s.worker_bundles) for s in place["policy"] + place["base"]] == [
        (i, 1, ()) for i in (4, 5, 6)
    ]
    assert "distributed_executor_backend" not in settings.engine_settings(c, "cuda")


def test_shared_gpus_put_every_engine_worker_beside_a_rank():
    c = config(devices__colocate=True, learner__ranks=4, rollout__actors=2, rollout__tensor_parallel=2)
    bundles, place = placement._bundles(c, "cuda", base_engines=0)
    assert gpus(bundles) == [1, 1, 1, 1]
    assert [s.bundle for s in place["learner"]] == [0, 1, 2, 3]
    assert [s.worker_bundles for s in place["policy"]] == [(0, 1), (2, 3)]
    assert all(s.gpus + place["learner"][0].gpus + s.worker_gpus <= 1 for s in place["policy"])
    assert gpus(placement._bundles(c, "cuda", base_engines=1)[0]) == [1] * 6  # base engines are not shared
    assert settings.transfer_backend(c, "cuda") == "ipc"
    c.rollout.actors, c.rollout.tensor_parallel = 4, 1
    bundles, place = placement._bundles(c, "cuda", base_engines=0)
    for bundle in range(4):
        there = [s for role in place.values() for s in role if s.bundle == bundle]
        assert (
            sum(s.gpus for s in there) <= bundles[bundle]["GPU"]
            and sum(s.cpus for s in there) <= bundles[bundle]["CPU"]
        )


def test_what_an_optimizer_on_the_cpu_takes():
    apart = config(learner__ranks=2, learner__threads=6)
    assert "OMP_NUM_THREADS" not in device.learner_environment(apart, "cuda")
    apart.learner.offload_optimizer = True
    assert device.learner_environment(apart, "cuda")["OMP_NUM_THREADS"] == "6"


# --- how ranks on CPUs reach each other -------------------------------------------------------------------------------


def test_gloo_takes_the_interface_of_the_address_and_not_of_the_hosts_name(monkeypatch):
    own = {
        a.address: name for name, found in psutil.net_if_addrs().items() for a in found if a.family == socket.AF_INET
    }
    assert "127.0.0.1" in own
    for address, name in own.items():
        with monkeypatch.context() as patch:
            patch.setenv("GLOO_SOCKET_IFNAME", "")  # put back at the end
            del os.environ["GLOO_SOCKET_IFNAME"]
            device.name_interface(address)
            assert os.environ["GLOO_SOCKET_IFNAME"] == name


def test_gloos_interface_can_be_chosen(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "chosen")
    device.name_interface("127.0.0.1")
    assert os.environ["GLOO_SOCKET_IFNAME"] == "chosen"
