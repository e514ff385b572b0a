"""The one place where CPU and GPU differ: Ray resources, process environments, engine and DeepSpeed settings, the way weights travel.

    layout = start(config, base_engines)     # a Ray cluster, checked for room, and a placement group
    layout.learner[i], layout.policy[i], layout.base[i]     # Ray options of rank i, of policy engine i, of base engine i
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from analysis.errors import InputError
from explore_rl import cluster
from explore_rl.config import Config

log = logging.getLogger(__name__)

PLACEMENT_TIMEOUT_S = 25.0  # a layout that fits a free cluster is placed at once; one that does not is reported within half a minute
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
        raise InputError("devices.device=cuda: this machine has no GPU that torch can use; set devices.device=cpu or auto")
    return wanted if wanted == "cuda" else "cpu"


# --- Ray: who runs where ----------------------------------------------------------------------------------------------


@dataclass
class Layout:
    """Where every actor goes. Each list holds one dict of `ActorClass.options` per actor.

    kind: "cpu" or "cuda". engine: settings that every vLLM engine gets from the device. transfer: how weights travel from ranks to
    engines, a backend of vLLM's weight-transfer API. colocated: rank i and the engine worker on bundle i share a GPU.
    """

    kind: str
    learner: list[dict[str, Any]]
    policy: list[dict[str, Any]]
    base: list[dict[str, Any]]
    engine: dict[str, Any] = field(default_factory=dict)
    transfer: str = "object_store"
    colocated: bool = False
    group: PlacementGroup | None = None
    owns_ray: bool = False

    def whole(self) -> bool:
        """Whether every actor has its place still, or again: Ray looks for another node when one is lost. Waits for PLACEMENT_TIMEOUT_S."""
        return self.group.wait(PLACEMENT_TIMEOUT_S)

    def close(self) -> None:
        """Gives everything back; ends the Ray cluster if `start` made it."""
        if self.group is not None and ray.is_initialized():
            remove_placement_group(self.group)
        self.group = None
        if self.owns_ray:
            ray.shutdown()
            self.owns_ray = False


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
    owns_ray = cluster.connect(config.devices.ray_address, cpus)
    layout = Layout(
        kind, [], [], [], engine_settings(config, kind), transfer_backend(config, kind), config.devices.colocate, owns_ray=owns_ray
    )
    try:
        _check_room(config, bundles)
        layout.group = placement_group(bundles, strategy="PACK")
        if not layout.group.wait(PLACEMENT_TIMEOUT_S):
            free = ray.available_resources()
            raise InputError(
                f"the cluster has no free place for the layout within {PLACEMENT_TIMEOUT_S:.0f} s: asked {_amount(bundles)}, free "
                f"{free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs; end what else runs there, or lower learner.ranks "
                "or rollout.actors"
            )
        _warn_of_split_engines(layout.group, place)
        for role in ("learner", "policy", "base"):
            environment = learner_environment(config, kind) if role == "learner" else engine_environment(config, kind)
            setattr(layout, role, [_options(layout.group, spot, environment) for spot in place[role]])
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


def _options(group: PlacementGroup, spot: _Spot, environment: dict[str, str]) -> dict[str, Any]:
    if spot.worker_bundles:
        environment = environment | {
            "VLLM_RAY_BUNDLE_INDICES": ",".join(map(str, spot.worker_bundles)),
            "VLLM_RAY_PER_WORKER_GPUS": str(spot.worker_gpus),
        }
    where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=spot.bundle)
    return {"num_cpus": spot.cpus, "num_gpus": spot.gpus, "scheduling_strategy": where, "runtime_env": {"env_vars": environment}}


def _check(config: Config, kind: str) -> None:
    ranks, actors, tp = config.learner.ranks, config.rollout.actors, config.rollout.tensor_parallel
    if kind == "cpu" and tp != 1:
        raise InputError(f"rollout.tensor_parallel={tp}: needs GPUs; on a CPU raise rollout.actors instead")
    if kind == "cpu" and config.devices.colocate:
        raise InputError("devices.colocate=true: shares GPUs between learner and engines and has no effect on a CPU; remove it")
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
        raise InputError(f"rollout.tensor_parallel={tp}: one engine needs {tp} GPUs on one node, the largest node has {most:g}")


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


# --- engines ----------------------------------------------------------------------------------------------------------


def transfer_backend(config: Config, kind: str) -> str:
    """The backend of vLLM's weight-transfer API: CUDA IPC on shared GPUs, NCCL between GPUs, the Ray object store without GPUs."""
    if kind == "cpu":
        return "object_store"
    return "ipc" if config.devices.colocate else "nccl"


def engine_settings(config: Config, kind: str) -> dict[str, Any]:
    """Arguments of `vllm.LLM` that depend on the device."""
    rollout = config.rollout
    if kind == "cpu":
        # Neither cached prefixes nor prompts cut into chunks: both change the order of additions with what else is in the batch, and
        # a sample would depend on its neighbours.
        return {
            "kv_cache_memory_bytes": int(rollout.kv_cache_gib * 2**30), "enforce_eager": True, "enable_prefix_caching": False,
            "enable_chunked_prefill": False,
        }  # fmt: skip
    settings: dict[str, Any] = {
        "gpu_memory_utilization": rollout.gpu_memory_utilization, "enforce_eager": rollout.enforce_eager,
        "enable_sleep_mode": config.devices.colocate, "tensor_parallel_size": rollout.tensor_parallel,
    }  # fmt: skip
    if rollout.tensor_parallel > 1:
        settings["distributed_executor_backend"] = "ray"
    return settings


def engine_environment(config: Config, kind: str) -> dict[str, str]:
    """Environment of a process that holds an engine. vLLM reads it on import, so it has to be there when the process starts."""
    common = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine lives in the actor: quicker start, and it sees Ray's object references
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
        "TOKENIZERS_PARALLELISM": "false",
    }
    if kind == "cuda":
        # Attention in float32 is Triton's, which would multiply in TF32: log-probabilities would be off by more than the parity check allows.
        return common | {"TRITON_F32_DEFAULT": "ieee"}
    return (
        common
        | {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_TARGET_DEVICE": "cpu"}
        | _keep_freed_memory()
        | _openmp(config.rollout.threads)
    )


def _keep_freed_memory() -> dict[str, str]:
    """glibc keeps what is freed instead of giving it back page by page.

    With every new set of weights vLLM packs all matrices anew, into memory as large as what it frees: fetching fresh pages for them costs
    more than the packing.
    """
    return {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62), "MALLOC_ARENA_MAX": "1"}


def _openmp(threads: int) -> dict[str, str]:
    """Ray sets OMP_NUM_THREADS only where it is unset. vLLM's CPU kernels decode several times faster on Intel's OpenMP."""
    variables = {"OMP_NUM_THREADS": str(threads)}
    library = os.path.join(sys.prefix, "lib", "libiomp5.so")
    if os.path.exists(library):
        variables["LD_PRELOAD"] = ":".join(filter(None, [library, os.environ.get("LD_PRELOAD", "")]))
    return variables


# --- learner ----------------------------------------------------------------------------------------------------------


def learner_environment(config: Config, kind: str) -> dict[str, str]:
    """Environment of a learner rank."""
    level = os.environ.get("VLLM_LOGGING_LEVEL", "WARNING")
    common = {"TOKENIZERS_PARALLELISM": "false", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": level}
    threads = {"OMP_NUM_THREADS": str(config.learner.threads)} if computes_on_cpu(config, kind) else {}
    return common | threads | ({} if kind == "cuda" else {"DS_ACCELERATOR": "cpu"})


def computes_on_cpu(config: Config, kind: str) -> bool:
    """Whether a rank's optimizer step is made by the CPU."""
    return kind == "cpu" or config.learner.offload_optimizer


def rank_device(kind: str) -> Any:
    """The torch device of a rank: each rank sees its own GPU only."""
    import torch

    return torch.device("cuda", 0) if kind == "cuda" else torch.device("cpu")


def without_compiled_collectives() -> None:
    """Called in a CPU rank before it connects: collectives go over gloo alone.

    DeepSpeed would otherwise compile a shared-memory collective with the machine's C++ compiler at its first start (minutes on a busy
    machine, and a compiler that has to be there), under a lock file that a rank killed meanwhile leaves behind for all later ones to wait for.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def name_interface(address: str) -> None:
    """Called in a CPU rank before it connects: gloo takes the network interface that leads to `address`, rank 0's.

    Left alone it takes the one that the host's own name stands for. On many machines that is the loopback, which no other host reaches.
    """
    import psutil

    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # a datagram socket sends nothing here, it only looks for the way
        own = probe.getsockname()[0]
    names = [name for name, addresses in psutil.net_if_addrs().items() if own in {a.address for a in addresses}]
    if names:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", names[0])


def release_unused_memory(config: Config, kind: str) -> None:
    """Called in a rank when its work is done: PyTorch gives back the GPU memory that it keeps for later, so that an engine on the same GPU
    can wake up.
    """
    if kind == "cuda" and config.devices.colocate:
        import torch

        torch.cuda.empty_cache()


def finish_queued_work(kind: str) -> None:
    """Waits until the GPU has done what it was asked for."""
    if kind == "cuda":
        import torch

        torch.cuda.synchronize()


def distributed_backend(kind: str) -> str:
    """How the ranks talk to each other."""
    return "nccl" if kind == "cuda" else "gloo"


def deepspeed_device_settings(config: Config, kind: str) -> dict[str, Any]:
    """What of DeepSpeed's `zero_optimization` depends on the device: where optimizer states live."""
    if not config.learner.offload_optimizer:
        return {}
    return {"offload_optimizer": {"device": "cpu", "pin_memory": kind == "cuda"}}
