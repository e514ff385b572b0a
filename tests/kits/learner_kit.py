"""A tiny random model, rows of every kind, and what the learner should make of them, computed slowly and plainly."""

from __future__ import annotations

import random
import time

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from explore_rl.config.schema import Config
from explore_rl.models import load_tokenizer
from explore_rl.objectives import divergences, losses
from explore_rl.objectives.terms import LossTerm
from explore_rl.types import Row

VOCABULARY = 120
CLIP = {"clip_low": 0.2, "clip_high": 0.28}


def steep(logprob):
    """Nothing in value, without bound in slope."""
    return (logprob - logprob.detach()).abs().sqrt()


TERMS = [
    LossTerm("policy_gradient", losses.ppo_clip, ("old_logprob", "advantage"), CLIP, metrics=losses.ppo_clip_metrics),
    LossTerm("kl", divergences.k3, ("base_logprob",)),
    LossTerm("entropy", losses.entropy_bonus, ("entropy",)),
    LossTerm("shaped_trace", losses.shaped_trace, ("advantage",), {"gamma": 0.1}),
    LossTerm("steep", steep),
    LossTerm("likelihood", losses.likelihood, (), {}, normaliser="likelihood"),
]


def make_model(folder, tied=True, seed=0):
    """Some of its matrices have more than 10,000 numbers, so that ZeRO-3 really partitions them."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=96,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=tied,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=19,
        pad_token_id=20,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    load_tokenizer("lab:base").save_pretrained(folder)
    return folder


def make_rows(count=12, seed=0):
    """Rows of different lengths, temperatures, masks and terms, every other one with the prompt of the one before.

    Their weights are as a global token mean would have them.
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for i in range(count):
        prompt, length = int(rng.integers(2, 9)), int(rng.integers(1, 25))
        mask = np.ones(length, dtype=np.float32)
        columns = {
            "advantage": np.full(length, rng.normal(), dtype=np.float32),
            "old_logprob": rng.normal(-4.5, 0.5, length).astype(np.float32),
            "base_logprob": rng.normal(-4.5, 0.5, length).astype(np.float32),
        }
        if i % 4 == 1 and length > 3:  # a given prefix, of which nobody knows a log-probability
            mask[:2] = 0
            columns["old_logprob"][:2] = np.nan
        kinds = [
            {"policy_gradient": 1.0},
            {"policy_gradient": 1.0, "kl": 0.3, "entropy": 0.2},
            {"shaped_trace": 1.0},
            {"likelihood": 0.5},
        ]
        tokens = rng.integers(0, VOCABULARY, prompt + length).astype(np.int32)
        if i % 2:
            prompt = rows[-1].prompt_length
            tokens = np.concatenate([rows[-1].tokens[:prompt], tokens[-length:]])
        rows.append(
            Row(
                tokens=tokens,
                prompt_length=prompt,
                terms={name: 20 * c / (12 * count) for name, c in kinds[i % 4].items()},
                columns=columns,
                mask=mask,
                temperature=[1.0, 0.7, 1.5][i % 3],
            )
        )
    return rows


def plain_scores(model, tokens, prompt_length, temperature):
    """Log-probability and entropy of every completion token, from the logits of the whole sequence."""
    ids = torch.tensor(np.asarray(tokens, dtype=np.int64))
    logits = model(ids[None], use_cache=False).logits[0, prompt_length - 1 : -1]
    log_p = torch.log_softmax(logits / temperature, dim=-1)
    chosen = log_p.gather(1, ids[prompt_length:, None])[:, 0]
    return chosen, -(log_p.exp() * log_p).sum(1)


def plain_gradient(model, rows, terms=TERMS, max_norm=0.0):
    """The rows' gradient, one row at a time, clipped ({name: float64 array}); its norm before clipping; the loss."""
    by_name = {term.name: term for term in terms}
    model.zero_grad()
    total = 0.0
    for row in rows:
        logprob, entropy = plain_scores(model, row.tokens, row.prompt_length, row.temperature)
        kept = torch.from_numpy(row.mask != 0)
        loss = logprob.sum() * 0
        for name, weight in row.terms.items():
            term = by_name[name]
            columns = [
                entropy[kept] if c == "entropy" else torch.from_numpy(row.columns[c]).to(logprob.dtype)[kept]
                for c in term.columns
            ]
            per_token = (
                weight * torch.from_numpy(row.mask)[kept] * term.function(logprob[kept], *columns, **term.params)
            )
            loss = loss + per_token.sum()
        loss.backward()
        total += loss.item()
    gradient = {name: p.grad.double().numpy().copy() for name, p in model.named_parameters()}
    norm = float(np.sqrt(sum((g**2).sum() for g in gradient.values())))
    scale = min(1.0, max_norm / (norm + 1e-6)) if max_norm else 1.0
    return {name: g * scale for name, g in gradient.items()}, norm, total


def relative_error(found, expected):
    difference = sum(((found[name] - expected[name]) ** 2).sum() for name in expected)
    return float(np.sqrt(difference / sum((g**2).sum() for g in expected.values())))


def load_plain(path, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype)


def learner_config(path, **learner):
    config = Config()
    config.model.path = str(path)
    config.devices.device = "cpu"
    for key, value in learner.items():
        setattr(config.learner, key, value)
    return config


# --- run on the ranks -------------------------------------------------------------------------------------------------


def weights(rank):
    from deepspeed.runtime.zero import GatheredParameters

    with GatheredParameters(list(rank.model.parameters())):
        return {name: p.detach().float().double().numpy().copy() for name, p in rank.model.named_parameters()}


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
