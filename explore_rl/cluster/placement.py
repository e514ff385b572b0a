"""Where every actor goes: Ray resources, a placement group, and who shares a GPU.

    layout = start(config, base_engines)     # a Ray cluster, checked for room, and a placement group
    layout.learner[i], layout.policy[i], layout.base[i]     # Ray options of rank i, of policy engine i, of base engine i

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

PLACEMENT_TIMEOUT_S = (
    25.0  # a layout that fits a free cluster is placed at once; one that does not is reported within half a minute
)
MAX_PROCESSES_PER_CORE = 4  # a CPU layout may share cores (tests do), but beyond this every process crawls
COLOCATED_RANK_GPU, COLOCATED_ENGINE_GPU = 0.5, 0.4  # shares of one GPU, for Ray's book-keeping only


def resolve(config: Config) -> str:
    """ "cpu" or "cuda". Raises InputError where CUDA is asked for and this machine has no GPU (nor a cluster is joined)."""
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
    """Where every actor goes. Each list holds one dict of `ActorClass.options` per actor.

    kind: "cpu" or "cuda". colocated: rank i and the engine worker on bundle i share a GPU.
    """

    kind: str
    learner: list[dict[str, Any]]
    policy: list[dict[str, Any]]
    base: list[dict[str, Any]]
    colocated: bool = False
    placement: PlacementGroup | None = None
    owns_ray: bool = False

    def whole(self) -> bool:
        """Whether every actor has its place still, or again: Ray looks for another node when one is lost. Waits for PLACEMENT_TIMEOUT_S."""
        return self.placement.wait(PLACEMENT_TIMEOUT_S)

    def close(self) -> None:
        """Gives everything back; ends the Ray cluster if `start` made it."""
        if self.placement is not None and ray.is_initialized():
            remove_placement_group(self.placement)
        self.placement = None
        if self.owns_ray:
            ray.shutdown()
            self.owns_ray = False


def with_environment(options: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """`options` of an actor, whose process also gets `environment`."""
    own = options["runtime_env"]["env_vars"]
    return options | {"runtime_env": {"env_vars": environment | own}}


def start(config: Config, base_engines: int) -> Layout:
    """Connects to Ray (or starts it here) and reserves room for every actor of `config` and for `base_engines` frozen engines.

    Raises InputError that says what was asked for, what there is and which key to change: at once if the cluster is too small,
    within PLACEMENT_TIMEOUT_S if others hold what is needed.
    """
    kind = resolve(config)
    _check(config, kind)
    bundles, place = _bundles(config, kind, base_engines)
    _check_cores(config, kind, len(bundles))
    # Ray would count cores; ranks and engines of one CPU each on fewer cores would wait for ever.
    cpus = int(max(sum(b["CPU"] for b in bundles) + 1, os.cpu_count() or 1)) if kind == "cpu" else None
    owns_ray = connection.connect(config.devices.ray_address, cpus)
    layout = Layout(kind, [], [], [], colocated=config.devices.colocate, owns_ray=owns_ray)
    try:
        _check_room(config, bundles)
        layout.placement = placement_group(bundles, strategy="PACK")
        if not layout.placement.wait(PLACEMENT_TIMEOUT_S):
            free = ray.available_resources()
            raise InputError(
                f"the cluster has no free place for the layout within {PLACEMENT_TIMEOUT_S:.0f} s: asked {_amount(bundles)}, free "
                f"{free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs; end what else runs there, or lower learner.ranks "
                "or rollout.actors"
            )
        _warn_of_split_engines(layout.placement, place)
        for role in ("learner", "policy", "base"):
            setattr(layout, role, [_options(layout.placement, spot) for spot in place[role]])
    except BaseException:
        layout.close()
        raise
    return layout


def demand(config: Config, base_engines: int) -> str:
    """What `start` would ask of the cluster, in words; nothing is started. Raises InputError for a layout without meaning."""
    kind = resolve(config)
    _check(config, kind)
    bundles, _ = _bundles(config, kind, base_engines)
    return f"{_amount(bundles)} ({_asked(config, base_engines)}{', sharing GPUs' if config.devices.colocate else ''})"


@dataclass(frozen=True)
class _Spot:
    """One actor's place: bundle, what it takes there, and (tensor parallelism) the bundles where vLLM puts its workers, each with its share of
    the GPU there.
    """

    bundle: int
    cpus: float
    gpus: float = 0
    worker_bundles: tuple[int, ...] = ()
    worker_gpus: float = 0


def _bundles(config: Config, kind: str, base_engines: int) -> tuple[list[dict[str, float]], dict[str, list[_Spot]]]:
    """The bundles of the placement group, and every actor's spot in them."""
    ranks, actors, tp = config.learner.ranks, config.rollout.actors, config.rollout.tensor_parallel
    place: dict[str, list[_Spot]] = {"learner": [], "policy": [], "base": []}
    if kind == "cpu":
        spots = [("learner", ranks), ("policy", actors), ("base", base_engines)]
        bundles = []
        for role, count in spots:
            for _ in range(count):
                place[role].append(_Spot(len(bundles), cpus=1))
                bundles.append({"CPU": 1})
        return bundles, place
    colocate = config.devices.colocate
    bundles = [{"CPU": 2 if colocate else 1, "GPU": 1} for _ in range(ranks)]
    place["learner"] = [_Spot(i, 1, COLOCATED_RANK_GPU if colocate else 1) for i in range(ranks)]
    for role, count in (("policy", actors), ("base", base_engines)):
        shared = colocate and role == "policy"
        for i in range(count):
            first = i * tp if shared else len(bundles)
            if not shared:
                bundles += [{"CPU": 1, "GPU": 1} for _ in range(tp)]
            place[role].append(_engine_spot(first, tp, COLOCATED_ENGINE_GPU if shared else 1))
    return bundles, place


def _engine_spot(first: int, tensor_parallel: int, gpus: float) -> _Spot:
    if tensor_parallel == 1:
        return _Spot(first, 1, gpus)
    # The actor itself holds no GPU: vLLM's Ray executor puts a worker on each of these bundles. It takes bundles of one GPU only.
    return _Spot(first, 1, 0, tuple(range(first, first + tensor_parallel)), gpus)


def _options(group: PlacementGroup, spot: _Spot) -> dict[str, Any]:
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
    ranks, actors, tp = config.learner.ranks, config.rollout.actors, config.rollout.tensor_parallel
    if kind == "cpu" and tp != 1:
        raise InputError(f"rollout.tensor_parallel={tp}: needs GPUs; on a CPU raise rollout.actors instead")
    if kind == "cpu" and config.devices.colocate:
        raise InputError(
            "devices.colocate=true: shares GPUs between learner and engines and has no effect on a CPU; remove it"
        )
    if config.devices.colocate and ranks != actors * tp:
        raise InputError(
            f"devices.colocate=true: every GPU holds one rank and one engine worker, so learner.ranks={ranks} must equal "
            f"rollout.actors x rollout.tensor_parallel = {actors} x {tp}"
        )
    if config.devices.colocate and config.rollout.gpu_memory_utilization > 0.6:
        log.warning(
            "rollout.gpu_memory_utilization=%g with devices.colocate: an engine that wakes up needs that share free beside the learner",
            config.rollout.gpu_memory_utilization,
        )


def _check_cores(config: Config, kind: str, processes: int) -> None:
    """On this machine's own CPUs Ray takes any number of processes; refuse what could only crawl."""
    if kind != "cpu" or config.devices.ray_address != "local":
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if processes > cores * MAX_PROCESSES_PER_CORE:
        raise InputError(
            f"too few CPUs for the layout: {processes} processes asked for ({_asked(config)}), {cores} cores here, at most "
            f"{cores * MAX_PROCESSES_PER_CORE} processes can share them; lower learner.ranks or rollout.actors, or join a cluster "
            "with devices.ray_address=auto"
        )
    if processes > cores:
        log.info("%d processes share %d cores (%s)", processes, cores, _asked(config))


def _check_room(config: Config, bundles: list[dict[str, float]]) -> None:
    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    for resource in ("CPU", "GPU"):
        asked, there = sum(b.get(resource, 0) for b in bundles), sum(n.get(resource, 0) for n in nodes)
        if asked > there:
            raise InputError(
                f"too few {resource}s for the layout: asked {asked:g} ({_asked(config)}), the cluster has {there:g} on "
                f"{len(nodes)} node(s); "
                f"lower learner.ranks, rollout.actors or rollout.tensor_parallel, {_sharing(config, resource)}or add nodes"
            )
    tp, most = config.rollout.tensor_parallel, max((n.get("GPU", 0) for n in nodes), default=0)
    if tp > 1 and tp > most:
        raise InputError(
            f"rollout.tensor_parallel={tp}: one engine needs {tp} GPUs on one node, the largest node has {most:g}"
        )


def _sharing(config: Config, resource: str) -> str:
    workers = config.rollout.actors * config.rollout.tensor_parallel
    can = resource == "GPU" and not config.devices.colocate and config.learner.ranks == workers
    return "let ranks and engines share GPUs with devices.colocate=true, " if can else ""


def _warn_of_split_engines(group: PlacementGroup, place: dict[str, list[_Spot]]) -> None:
    """Ray fills nodes one after the other; an engine that starts at the end of one goes on in the next, over a slow link."""
    node_of = placement_group_table(group)["bundles_to_node_id"]
    for role in ("policy", "base"):
        split = [i for i, spot in enumerate(place[role]) if len({node_of[b] for b in spot.worker_bundles}) > 1]
        if split:
            log.warning(
                "%s engine(s) %s reach over several nodes: choose learner.ranks and rollout.tensor_parallel that fill whole nodes",
                role, ", ".join(map(str, split)),
            )  # fmt: skip


def _asked(config: Config, base_engines: int | None = None) -> str:
    r = config.rollout
    base = f", rollout.base_actors={r.base_actors}" if base_engines != 0 else ""
    return f"learner.ranks={config.learner.ranks}, rollout.actors={r.actors}, rollout.tensor_parallel={r.tensor_parallel}{base}"


def _amount(bundles: list[dict[str, float]]) -> str:
    return f"{sum(b.get('CPU', 0) for b in bundles):g} CPUs and {sum(b.get('GPU', 0) for b in bundles):g} GPUs"
