"""What tests have a rank do or tell, by `Learner.apply`."""

from __future__ import annotations

import random
import time

import numpy as np
import torch


def weights(rank):
    from deepspeed.runtime.zero import GatheredParameters

    with GatheredParameters(list(rank.model.parameters())):
        return {name: p.detach().float().double().numpy().copy() for name, p in rank.model.named_parameters()}


def critic_weights(rank):
    """The critic's, named as the trunk's in its checkpoint, and "heads.value.weight", "heads.value.bias"."""
    from deepspeed.runtime.zero import GatheredParameters

    critic = rank.trained["critic"].model
    with GatheredParameters(list(critic.parameters())):
        return {
            name.removeprefix("model."): p.detach().float().double().numpy().copy()
            for name, p in critic.named_parameters()
        }


def head_weights(rank, name):
    from deepspeed.runtime.zero import GatheredParameters

    head = rank.trained["policy"].model.heads[name]
    with GatheredParameters(list(head.parameters())):
        return [p.detach().double().numpy().copy() for p in head.parameters()]


def sent_names(rank):
    """Names of the parameters that the engines get."""
    from explore_rl.transfer.sender import LearnerSource

    return [meta.name for meta in LearnerSource(rank).metadata()]


def draw(rank):
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def held_by_loading(rank, path, dtype):
    """What a rank holds right after loading a model for ZeRO-3: its share of the matrices, and its tensors' types.

    Vectors are left out: they are too small to matter.
    """
    from explore_rl.learner.policy import load_policy

    policy = load_policy(path, dtype, attention="sdpa", sharded=True)
    matrices = [p for p in policy.parameters() if len(p.ds_shape) > 1]
    held = sum(p.data.numel() + p.ds_tensor.numel() for p in matrices) / sum(p.ds_numel for p in matrices)
    return held, {p.ds_tensor.dtype for p in matrices} | {b.dtype for b in policy.buffers() if b.is_floating_point()}


def held_of_base(rank):
    """The same for the frozen model of a learner that is under way."""
    matrices = [p for p in rank.frozen.parameters() if p.ds_numel > 10_000]
    return sum(p.data.numel() + p.ds_tensor.numel() for p in matrices) / sum(p.ds_numel for p in matrices)


def note_arrivals(rank):
    """The rows of every update from now on: model, names of terms and columns, and the types of all arrays."""
    rank.arrived = []

    def update(minibatches, terms, readouts=()):
        for part in (part for parts in minibatches for part in parts):
            for row in part.shard.items:
                types = {row.tokens.dtype.name, row.mask.dtype.name, *(c.dtype.name for c in row.columns.values())}
                rank.arrived.append((part.model, sorted(row.terms), sorted(row.columns), sorted(types)))
        return type(rank).update(rank, minibatches, terms, readouts)

    rank.update = update


def arrivals(rank):
    """What `note_arrivals` noted; it ends here."""
    del rank.update
    return rank.arrived


def make_steps_slow(rank, seconds):
    """The optimizer steps of the engine that the rank holds now take that much longer."""
    step = rank.engine.step

    def slow_step():
        time.sleep(seconds)
        step()

    rank.engine.step = slow_step


def save_elsewhere(rank, folder):
    """From now on rank 1 writes its parts of checkpoints into `folder`, as onto a disk of its own."""
    from explore_rl.learner import checkpoints

    if rank.index == 1:
        checkpoints.real_save = checkpoints.save
        checkpoints.save = lambda saved, _, **options: checkpoints.real_save(saved, folder, **options)


def save_here(rank):
    from explore_rl.learner import checkpoints

    if rank.index == 1:
        checkpoints.save = checkpoints.real_save


def sub_groups(rank):
    """The built ZeRO-3 optimizer's sub_group_size, and how many groups of parameters it steps on in turn."""
    optimizer = rank.engine.optimizer
    return optimizer.sub_group_size, len(optimizer.fp32_partitioned_groups_flat)


def offloaded(actor):
    """Whether the rank says so, and how many of four kinds of state DeepSpeed moved."""
    return actor.rank.away, len(actor.rank.engine.optimizer.offloaded_states)


# --- LoRA, on the ranks -----------------------------------------------------------------------------------------------


def adapter(rank):
    """A and B by the names that they have in the model."""
    from deepspeed.runtime.zero import GatheredParameters

    named = {name: p for name, p in rank.model.named_parameters() if "lora_" in name}
    with GatheredParameters(list(named.values())):
        return {name: p.detach().float().numpy().copy() for name, p in named.items()}


def held_besides(rank):
    """Whether the rank holds a frozen model of its own."""
    return rank.frozen is not None


def sent(rank):
    """The weights that engines get, under each of their names."""
    from explore_rl.transfer.sender import LearnerSource

    source = LearnerSource(rank)
    weights = {name: value.float().numpy().copy() for name, value in source}
    assert [meta.name for meta in source.metadata()] == list(weights)
    return weights


def adapter_on_disk(folder):
    """Numbers in the checkpoint's files, 4 bytes each."""
    return sum(file.stat().st_size for file in folder.rglob("*.pt")) / 4
