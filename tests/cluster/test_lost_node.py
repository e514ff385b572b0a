"""A node of the cluster goes, and another comes."""

import time

import pytest
import ray
from ray.cluster_utils import Cluster

from explore_rl.cluster import placement
from explore_rl.config.schema import Config


@pytest.fixture
def nodes():
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield started
    ray.shutdown()
    started.shutdown()


@pytest.mark.engine
def test_a_layout_knows_whether_every_actor_has_a_place(nodes, monkeypatch):
    other = nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False)
    config = Config()
    config.devices.device = "cpu"
    layout = placement.start(config, 0)  # a rank and an engine, on a node each
    assert layout.whole()
    nodes.remove_node(other)
    deadline = time.monotonic() + 60
    while sum(node["Alive"] for node in ray.nodes()) > 1:
        assert time.monotonic() < deadline, "Ray has not noticed"
        time.sleep(0.5)
    monkeypatch.setattr(placement, "PLACEMENT_TIMEOUT_S", 1.0)
    assert not layout.whole()
    nodes.add_node(num_cpus=1)
    monkeypatch.setattr(placement, "PLACEMENT_TIMEOUT_S", 60.0)
    assert layout.whole()  # Ray has moved the place to the new node
    layout.close()
