"""Verifiers of a run: a pool of processes on the driver's node, and one on every other node that the run has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from explore_rl.cluster.faults import ActorFault, gather
from explore_rl.config.schema import Config
from explore_rl.types import Verdict
from explore_rl.verifiers.pool import Item, VerifierPool

log = logging.getLogger(__name__)

CALLS = 64  # of `verify` that a node's actor serves at a time; its pool shares its workers out among them


@dataclass(eq=False)
class NodePool:
    """The pool of another node.

    name: as errors and metrics say it.
    handle: its actor.
    workers: its processes.
    busy: items that it has.
    """

    name: str
    handle: Any
    workers: int
    busy: int = 0


class Verifiers(VerifierPool):
    """The pool of this node, and further ones to which `begin` and `verify_all` deal items out by their workers.

    A node that is lost costs no verdict: this one verifies what it had, and is dealt its share from then on.

    timeout_s: for a call's verdicts from another node. The other arguments are those of VerifierPool.
    """

    def __init__(self, options: Any, workers: int | None = None, *, timeout_s: float, **limits: Any):
        super().__init__(options, workers, **limits)
        self.timeout_s = timeout_s
        self.others: list[NodePool] = []
        self.busy = 0

    def verify_all(self, items: list[Item]) -> list[Verdict]:
        return self.begin(items)()

    def begin(self, items: list[Item]) -> Callable[[], list[Verdict]]:
        """As `VerifierPool.begin`."""
        if not self.others:
            return super().begin(items)
        own, dealt = self._deal(items)
        here = super().begin([items[i] for i in own])
        there = [(pool, share, pool.handle.verify.remote([items[i] for i in share])) for pool, share in dealt]

        def verdicts() -> list[Verdict]:
            found: list[Any] = [None] * len(items)
            for pool, share, ref in there:
                _put(found, share, verdicts=self._from_node(pool, ref, [items[i] for i in share]))
                pool.busy -= len(share)
            _put(found, own, verdicts=here())
            self.busy -= len(own)
            return found

        return verdicts

    def _deal(self, items: list[Item]) -> tuple[list[int], list[tuple[NodePool, list[int]]]]:
        """Indices of the items of this node and of each other: each goes where least wait for a worker."""
        own: list[int] = []
        dealt: dict[int, list[int]] = {}
        for index in range(len(items)):
            place = min(range(len(self.others)), key=lambda i: self.others[i].busy / self.others[i].workers)
            pool = self.others[place]
            if self.busy / self.workers <= pool.busy / pool.workers:
                self.busy += 1
                own.append(index)
            else:
                pool.busy += 1
                dealt.setdefault(place, []).append(index)
        return own, [(self.others[place], share) for place, share in dealt.items()]

    def _from_node(self, pool: NodePool, ref: Any, items: list[Item]) -> list[Verdict]:
        try:
            return ray.get(ref, timeout=self.timeout_s)
        except (RayActorError, GetTimeoutError) as error:
            log.warning("%s is lost (%s); its items are verified here", pool.name, type(error).__name__)
            self.others = [other for other in self.others if other is not pool]
            ray.kill(pool.handle)  # one that hangs would keep its processes
            return super().begin(items)()

    def close(self) -> None:
        for pool in self.others:
            ray.kill(pool.handle)
        self.others = []
        super().close()


def _put(found: list[Any], share: list[int], *, verdicts: list[Verdict]) -> None:
    for index, verdict in zip(share, verdicts, strict=True):
        found[index] = verdict


class NodeVerifiers:
    """The actor of another node: its pool."""

    def __init__(self, options: Any, workers: int | None, *, limits: dict[str, Any]):
        self.pool = VerifierPool(options, workers, **limits)

    def ready(self) -> int:
        """How many processes it has."""
        return self.pool.workers

    def verify(self, items: list[Item]) -> list[Verdict]:
        return self.pool.verify_all(items)


def start_verifiers(config: Config, nodes: list[str]) -> Verifiers:
    """The pools of a run, to be closed by the caller. Raises ActorFault for a node whose pool does not start.

    nodes: Ray's ids of the other nodes that hold actors of the run.
    """
    settings = config.verifiers
    limits: dict[str, Any] = {
        "time_limit_s": settings.time_limit_s,
        "memory_limit_mb": settings.memory_limit_mb,
    }
    verifiers = Verifiers(settings.options, settings.workers, timeout_s=config.devices.step_timeout_s, **limits)
    if not nodes:
        return verifiers
    actor: Any = ray.remote(NodeVerifiers)
    named = []
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": there, "max_concurrency": CALLS, "max_restarts": 0}
        handle = actor.options(**options).remote(settings.options, settings.workers, limits=limits)
        named.append((f"the verifiers of node {node[:8]}", handle))
    refs = [handle.ready.remote() for _, handle in named]
    try:
        counts = gather(named, refs, doing="start", timeout_s=config.devices.start_timeout_s)
    except ActorFault:
        for _, handle in named:
            ray.kill(handle)
        verifiers.close()
        raise
    verifiers.others = [NodePool(name, handle, count) for (name, handle), count in zip(named, counts, strict=True)]
    return verifiers
