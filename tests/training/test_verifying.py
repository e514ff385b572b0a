"""Items are dealt out to the pools of several nodes, and a node that is lost costs no verdict."""

import pytest
from ray.exceptions import RayActorError

from explore_rl.training import verifying
from explore_rl.training.verifying import NodePool, Verifiers
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.base import correct, wrong
from explore_rl.verifiers.pool import Item, VerifierPool


def items(count):
    problem = Problem("p", "1=", 1, "text")
    return [Item(problem, str(i)) for i in range(count)]


def verdict_of(item) -> Verdict:
    return correct(item.completion) if int(item.completion) % 2 else wrong(item.completion)


class Node:
    """Another node's actor. Ray is not asked: what `remote` returns is the answer, made when it is fetched."""

    def __init__(self):
        self.verify, self.had, self.lost = self, [], False
        self.killed = 0

    def kill(self):
        self.killed += 1

    def remote(self, given):
        self.had.append(len(given))
        return self, given


@pytest.fixture
def pools(monkeypatch):
    """Two workers here, and nodes with four and two."""

    def get(ref, timeout):
        node, given = ref
        if node.lost:
            raise RayActorError
        return [verdict_of(item) for item in given]

    begun = []

    def begin(self, given):
        begun.append(len(given))
        return lambda: [verdict_of(item) for item in given]

    monkeypatch.setattr(verifying.ray, "get", get)
    monkeypatch.setattr(verifying.ray, "kill", lambda handle: handle.kill())
    monkeypatch.setattr(VerifierPool, "begin", begin)
    verifiers = Verifiers({}, 2, timeout_s=1.0)
    verifiers.others = [NodePool("a", Node(), 4), NodePool("b", Node(), 2)]
    yield verifiers, [pool.handle for pool in verifiers.others], begun
    verifiers.close()


def test_items_go_to_nodes_by_their_workers_and_verdicts_come_in_order(pools):
    verifiers, (a, b), here = pools
    given = items(80)
    assert verifiers.verify_all(given) == [verdict_of(item) for item in given]
    assert (here, a.had, b.had) == ([20], [40], [20])
    assert verifiers.busy == 0 and all(pool.busy == 0 for pool in verifiers.others)


def test_whoever_is_still_busy_gets_fewer(pools):
    """Texts are told in small lists: what is under way from earlier ones counts."""
    verifiers, (a, b), here = pools
    waits = [verifiers.begin(items(1)) for _ in range(16)]
    assert (sum(here), sum(a.had), sum(b.had)) == (4, 8, 4)
    assert [wait() for wait in waits] == [[verdict_of(items(1)[0])]] * 16


def test_a_lost_node_costs_no_verdict_and_gets_nothing_more(pools, caplog):
    verifiers, (a, b), here = pools
    given = items(40)
    wait = verifiers.begin(given)
    a.lost = True
    with caplog.at_level("WARNING"):
        assert wait() == [verdict_of(item) for item in given]
    assert "a is lost (RayActorError); its items are verified here" in caplog.text
    assert here == [10, 20] and a.had == [20]
    assert (a.killed, b.killed) == (1, 0)  # a node that only hangs would keep its processes
    verifiers.verify_all(given)
    assert here == [10, 20, 20] and (a.had, b.had) == ([20], [10, 20])
