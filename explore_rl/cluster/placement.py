"""Where every actor goes: Ray resources, a placement group, and who shares a GPU.

    layout = start(config, base_engines)                 # a Ray cluster, checked for room, and a placement group
    layout.learner[i], layout.policy[i], layout.base[i]  # Ray options of rank i, of policy engine i, of base engine i

What else a device decides stands beside its user: learner/device.py, rollout/settings.py.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from analysis.errors import InputError
from explore_rl.cluster import connection
from explore_rl.config.schema import Config

log = logging.getLogger(__name__)

# A layout that fits a free cluster is placed at once; one that does not is reported within half a minute.
PLACEMENT_TIMEOUT_S = 25.0
MAX_PROCESSES_PER_CORE = 4  # a CPU layout may share cores (tests do), but beyond this every process crawls
COLOCATED_RANK_GPU = 0.5  # share of one GPU, for Ray's book-keeping only
COLOCATED_ENGINE_GPU = 0.4  # the same
PREFIXES = ("NCCL_", "GLOO_", "TORCH_")  # of environment variables that reach every node


def resolve(config: Config) -> str:
    """The kind of device: "cpu" or "cuda".

    Raises InputError where CUDA is asked for, no cluster is joined, and this machine has no GPU.
    """
    wanted = config.devices.device
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda" and config.devices.ray_address == "local":
        raise InputError(
            "devices.device=cuda: this machine has no GPU that torch can use; set devices.device=cpu or auto"
        )
    return wanted if wanted == "cuda" else "cpu"


# --- Ray: who runs where ----------------------------------------------------------------------------------------------


@dataclass
class Layout:
    """Where every actor goes.

    kind: "cpu" or "cuda".
    learner, policy, base: one dict of `ActorClass.options` for each rank, policy engine and base engine.
    colocated: rank i and the engine worker on bundle i share a GPU.
    placement: the placement group that holds the room.
    owns_ray: whether `close` ends the Ray cluster.
    """

    kind: str
    learner: list[dict[str, Any]]
    policy: list[dict[str, Any]]
    base: list[dict[str, Any]]
    colocated: bool = False
    placement: PlacementGroup | None = None
    owns_ray: bool = False

    def whole(self) -> bool:
        """Whether every actor still has its place, or has one again.

        Ray looks for another node when one is lost; it gets PLACEMENT_TIMEOUT_S.
        """
        assert self.placement is not None
        return self.placement.wait(PLACEMENT_TIMEOUT_S)

    def other_nodes(self) -> list[str]:
        """Ray's ids of the nodes that hold actors, but for this one."""
        if self.placement is None:
            return []
        held = set(placement_group_table(self.placement)["bundles_to_node_id"].values())
        return sorted(held - {ray.get_runtime_context().get_node_id()})

    def close(self) -> None:
        """Gives everything back; ends the Ray cluster if `start` made it."""
        if self.placement is not None and ray.is_initialized():
            remove_placement_group(self.placement)
        self.placement = None
        if self.owns_ray:
            ray.shutdown()
            self.owns_ray = False


def with_environment(options: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """`options` of an actor whose process also gets `environment`, and what this process was told about communication.

    Ray gives a node's own environment to the actors there, so that what the driver's shell says of NCCL, gloo and torch
    (PREFIXES) would hold on its own node alone.
    """
    own = options["runtime_env"]["env_vars"]
    told = {name: value for name, value in os.environ.items() if name.startswith(PREFIXES)}
    return options | {"runtime_env": {"env_vars": told | environment | own}}


def start(config: Config, base_engines: int) -> Layout:
    """Connects to Ray, or starts it here, and reserves room for every actor.

    Raises InputError that says what was asked for, what there is and which key to change: at once if the cluster is too
    small, within PLACEMENT_TIMEOUT_S if others hold what is needed.

    config: its ranks and policy engines get room.
    base_engines: so many frozen engines do too.
    """
    # What is asked for, refused before Ray starts if it cannot work.
    refuse_impossible(config, base_engines)
    kind = resolve(config)
    bundles, place = _bundles(config, kind, base_engines=base_engines)
    if kind == "cpu" and config.devices.ray_address == "local" and len(bundles) > _cores():
        log.info("%d processes share %d cores (%s)", len(bundles), _cores(), _asked(config))
    # Ray would count cores; ranks and engines of one CPU each on fewer cores would wait for ever.
    cpus = int(max(sum(b["CPU"] for b in bundles) + 1, os.cpu_count() or 1)) if kind == "cpu" else None
    owns_ray = connection.connect(config.devices.ray_address, cpus)
    layout = Layout(kind, learner=[], policy=[], base=[], colocated=config.devices.colocate, owns_ray=owns_ray)
    try:
        # Too small a cluster is told from a busy one: Ray itself waits for both alike.
        _check_room(config, bundles)
        layout.placement = placement_group(bundles, strategy="PACK")
        if not layout.placement.wait(PLACEMENT_TIMEOUT_S):
            free = ray.available_resources()
            raise InputError(
                f"the cluster has no free place for the layout within {PLACEMENT_TIMEOUT_S:.0f} s: "
                f"asked {_amount(bundles)}, free {free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs; "
                "end what else runs there, or lower learner.ranks or rollout.actors"
            )
        _warn_of_split_engines(layout.placement, place)
        for role in ("learner", "policy", "base"):
            setattr(layout, role, [_options(layout.placement, spot) for spot in place[role]])
    except BaseException:
        layout.close()
        raise
    return layout


def refuse_impossible(config: Config, base_engines: int) -> None:
    """Raises InputError for a layout without meaning, or that this machine alone cannot hold. Nothing is started."""
    kind = resolve(config)
    _check(config, kind)
    bundles, _ = _bundles(config, kind, base_engines=base_engines)
    _check_cores(config, kind, processes=len(bundles))
    if ray.is_initialized():
        return  # a Ray that runs knows what it has, and says so when it places
    if config.devices.ray_address != "local":
        connection.check_answers(config.devices.ray_address)
        return
    connection.refuse_long_sockets()
    # Ray may be told of other GPUs than there are, as a rehearsal does.
    if kind == "cuda" and "RAY_OVERRIDE_RESOURCES" not in os.environ:
        import torch

        _check_gpus(config, bundles, here=torch.cuda.device_count())


def demand(config: Config, base_engines: int) -> str:
    """What `start` would ask of the cluster, in words; nothing is started."""
    kind = resolve(config)
    bundles, _ = _bundles(config, kind, base_engines=base_engines)
    sharing = ", sharing GPUs" if config.devices.colocate else ""
    return f"{_amount(bundles)} ({_asked(config, base_engines)}{sharing})"


@dataclass(frozen=True)
class _Spot:
    """One actor's place.

    bundle: where it stands in the placement group.
    cpus, gpus: what it takes there.
    worker_bundles: with tensor parallelism, the bundles where vLLM puts the engine's workers.
    worker_gpus: the share of the GPU that each of them takes there.
    """

    bundle: int
    cpus: float
    gpus: float = 0
    worker_bundles: tuple[int, ...] = ()
    worker_gpus: float = 0


def _bundles(config: Config, kind: str, *, base_engines: int) -> tuple[list[dict[str, float]], dict[str, list[_Spot]]]:
    """The bundles of the placement group, and every actor's spot in them, by role."""
    ranks = config.learner.ranks
    actors = config.rollout.actors
    tp = config.rollout.tensor_parallel
    place: dict[str, list[_Spot]] = {"learner": [], "policy": [], "base": []}
    bundles: list[dict[str, float]] = []
    # On CPUs every actor has a bundle of its own.
    if kind == "cpu":
        for role, count in (("learner", ranks), ("policy", actors), ("base", base_engines)):
            for _ in range(count):
                place[role].append(_Spot(len(bundles), cpus=1))
                bundles.append({"CPU": 1.0})
        return bundles, place
    # On GPUs every rank has a bundle with one GPU, where an engine worker may stand beside it.
    colocate = config.devices.colocate
    bundles += [{"CPU": 2.0 if colocate else 1.0, "GPU": 1.0} for _ in range(ranks)]
    place["learner"] = [_Spot(i, cpus=1, gpus=COLOCATED_RANK_GPU if colocate else 1) for i in range(ranks)]
    # Engines take the ranks' bundles where GPUs are shared, else new ones. Base engines never share.
    for role, count in (("policy", actors), ("base", base_engines)):
        shared = colocate and role == "policy"
        for i in range(count):
            first = i * tp if shared else len(bundles)
            if not shared:
                bundles += [{"CPU": 1.0, "GPU": 1.0} for _ in range(tp)]
            place[role].append(_engine_spot(first, tensor_parallel=tp, gpus=COLOCATED_ENGINE_GPU if shared else 1))
    return bundles, place


def _engine_spot(first: int, *, tensor_parallel: int, gpus: float) -> _Spot:
    """The spot of an engine on `tensor_parallel` bundles from `first` on, of whose GPUs it takes `gpus` each."""
    if tensor_parallel == 1:
        return _Spot(first, cpus=1, gpus=gpus)
    # The actor itself holds no GPU: vLLM's Ray executor puts a worker on each of these bundles, and takes only bundles
    # of one GPU.
    workers = tuple(range(first, first + tensor_parallel))
    return _Spot(first, cpus=1, gpus=0, worker_bundles=workers, worker_gpus=gpus)


def _options(group: PlacementGroup, spot: _Spot) -> dict[str, Any]:
    """The `ActorClass.options` that put an actor on its spot."""
    environment = {}
    if spot.worker_bundles:
        environment = {
            "VLLM_RAY_BUNDLE_INDICES": ",".join(map(str, spot.worker_bundles)),
            "VLLM_RAY_PER_WORKER_GPUS": str(spot.worker_gpus),
        }
    where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=spot.bundle)
    return {
        "num_cpus": spot.cpus,
        "num_gpus": spot.gpus,
        "scheduling_strategy": where,
        "runtime_env": {"env_vars": environment},
    }


def _check(config: Config, kind: str) -> None:
    """Raises InputError for a layout without meaning."""
    ranks = config.learner.ranks
    actors = config.rollout.actors
    tp = config.rollout.tensor_parallel
    # What only GPUs can do.
    if kind == "cpu" and tp != 1:
        raise InputError(f"rollout.tensor_parallel={tp}: needs GPUs; on a CPU raise rollout.actors instead")
    if kind == "cpu" and config.devices.colocate:
        raise InputError(
            "devices.colocate=true: shares GPUs between learner and engines and has no effect on a CPU; remove it"
        )
    # Rank and engine worker on every GPU.
    if config.devices.colocate and ranks != actors * tp:
        raise InputError(
            "devices.colocate=true: every GPU holds one rank and one engine worker, "
            f"so learner.ranks={ranks} must equal rollout.actors x rollout.tensor_parallel = {actors} x {tp}"
        )
    if config.devices.colocate and config.rollout.gpu_memory_utilization > 0.6:
        log.warning(
            "rollout.gpu_memory_utilization=%g with devices.colocate: "
            "an engine that wakes up needs that share free beside the learner",
            config.rollout.gpu_memory_utilization,
        )


def _check_cores(config: Config, kind: str, *, processes: int) -> None:
    """Raises InputError for processes that could only crawl: on this machine's own CPUs Ray takes any number."""
    if kind != "cpu" or config.devices.ray_address != "local":
        return
    cores = _cores()
    most = cores * MAX_PROCESSES_PER_CORE
    if processes > most:
        raise InputError(
            f"too few CPUs for the layout: {processes} processes asked for ({_asked(config)}), {cores} cores here, "
            f"at most {most} processes can share them; lower learner.ranks or rollout.actors, or join a cluster "
            "with devices.ray_address=auto"
        )


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_gpus(config: Config, bundles: list[dict[str, float]], *, here: int) -> None:
    """Raises InputError for more GPUs than this machine has, where no cluster is joined."""
    asked = sum(b.get("GPU", 0) for b in bundles)
    if asked > here:
        raise InputError(
            f"too few GPUs for the layout: asked {asked:g} ({_asked(config)}), this machine has {here}; lower "
            f"learner.ranks, rollout.actors or rollout.tensor_parallel, {_sharing(config, 'GPU')}or join a cluster "
            "with devices.ray_address=auto"
        )


def _check_room(config: Config, bundles: list[dict[str, float]]) -> None:
    """Raises InputError for a cluster that is too small, even if nothing else ran there."""
    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    # Over all nodes.
    for resource in ("CPU", "GPU"):
        asked = sum(b.get(resource, 0) for b in bundles)
        present = sum(n.get(resource, 0) for n in nodes)
        if asked > present:
            raise InputError(
                f"too few {resource}s for the layout: asked {asked:g} ({_asked(config)}), "
                f"the cluster has {present:g} on {len(nodes)} node(s); lower learner.ranks, rollout.actors "
                f"or rollout.tensor_parallel, {_sharing(config, resource)}or add nodes"
            )
    # On one node, where an engine belongs.
    tp = config.rollout.tensor_parallel
    most = max((n.get("GPU", 0) for n in nodes), default=0)
    if tp > 1 and tp > most:
        raise InputError(
            f"rollout.tensor_parallel={tp}: one engine needs {tp} GPUs on one node, the largest node has {most:g}"
        )


def _sharing(config: Config, resource: str) -> str:
    """Advice to share GPUs, where that would be a layout with meaning; else nothing."""
    workers = config.rollout.actors * config.rollout.tensor_parallel
    can = resource == "GPU" and not config.devices.colocate and config.learner.ranks == workers
    return "let ranks and engines share GPUs with devices.colocate=true, " if can else ""


def _warn_of_split_engines(group: PlacementGroup, place: dict[str, list[_Spot]]) -> None:
    """Warns of engines that reach over several nodes, with a slow link between them.

    Ray fills nodes one after the other, and an engine that starts at the end of one goes on in the next.
    """
    node_of = placement_group_table(group)["bundles_to_node_id"]
    for role in ("policy", "base"):
        split = [i for i, spot in enumerate(place[role]) if len({node_of[b] for b in spot.worker_bundles}) > 1]
        if split:
            log.warning(
                "%s engine(s) %s reach over several nodes: "
                "choose learner.ranks and rollout.tensor_parallel that fill whole nodes",
                role,
                ", ".join(map(str, split)),
            )


def _asked(config: Config, base_engines: int | None = None) -> str:
    """The keys that decide the layout, with their values; rollout.base_actors unless there are no base engines."""
    rollout = config.rollout
    base = f", rollout.base_actors={rollout.base_actors}" if base_engines != 0 else ""
    return (
        f"learner.ranks={config.learner.ranks}, rollout.actors={rollout.actors}, "
        f"rollout.tensor_parallel={rollout.tensor_parallel}{base}"
    )


def _amount(bundles: list[dict[str, float]]) -> str:
    return f"{sum(b.get('CPU', 0) for b in bundles):g} CPUs and {sum(b.get('GPU', 0) for b in bundles):g} GPUs"
