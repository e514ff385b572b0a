"""A tiny random model, rows of every kind, and what the learner should make of them, computed slowly and plainly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from explore_rl.config.schema import AlgorithmConfig, Config
from explore_rl.models import load_tokenizer
from explore_rl.objectives import divergences, losses
from explore_rl.objectives.readouts import Readout, entropy, head, logprob
from explore_rl.objectives.terms import SEQUENCE, LossTerm
from explore_rl.strategies.builtin.group_advantage import policy_gradient
from explore_rl.strategies.methods.ppo import Ppo
from explore_rl.types import Row

VOCABULARY = 120
CLIP = {"clip_low": 0.2, "clip_high": 0.28}


def steep(logprob):
    """Nothing in value, without bound in slope."""
    return (logprob - logprob.detach()).abs().sqrt()


def gspo(logprob, old_logprob, advantage, sequence):
    """GSPO's clipped ratio of whole sequences (arXiv 2507.18071, eq. 5), the same at each of a sequence's tokens."""
    count = torch.bincount(sequence)
    mean = torch.zeros(len(count), dtype=logprob.dtype).index_add(0, sequence, logprob - old_logprob) / count
    ratio = mean.exp()[sequence]
    return -torch.minimum(ratio * advantage, ratio.clamp(0.9, 1.1) * advantage)


def moments(logprob, advantage, share):
    return torch.stack([logprob.sum(), advantage.sum(), torch.ones_like(logprob).sum()])


def product(logprob, advantage, share):
    return logprob * advantage


def covariance(logprob, advantage, share, sums, gathered):
    """Pulls at the tokens whose product is among the largest of all, in proportion to their centred values."""
    mean_logprob, mean_advantage = sums[0] / sums[2], sums[1] / sums[2]
    chosen = logprob * advantage >= gathered.quantile(1 - share)
    return chosen * (logprob - mean_logprob) * (advantage - mean_advantage)


def covariance_metrics(logprob, advantage, share, sums, gathered):
    return {"tokens": torch.full_like(logprob, len(gathered)), "of": sums[2].expand_as(logprob)}


def gap_to_top(log_p, targets, power):
    """A readout without a formula: how far the token is from the likeliest one."""
    return (log_p.max(1).values - log_p.gather(1, targets[:, None])[:, 0]) ** power


def balance(logprob, log_z, old_logprob, sequence):
    """A squared flow a sequence, as trajectory balance has it, with a learnt log Z a token."""
    total = torch.zeros(int(sequence.max()) + 1, dtype=logprob.dtype).index_add(0, sequence, logprob - old_logprob)
    return (total[sequence] / 10 + log_z - 0.5) ** 2


def linear(logprob, readout):
    return readout


TERMS = [
    LossTerm("policy_gradient", losses.ppo_clip, ("old_logprob", "advantage"), CLIP, metrics=losses.ppo_clip_metrics),
    LossTerm("kl", divergences.k3, ("base_logprob",)),
    LossTerm("entropy", losses.entropy_bonus, (entropy(),)),
    LossTerm("shaped_trace", losses.shaped_trace, ("advantage",), {"gamma": 0.1}),
    LossTerm("steep", steep),
    LossTerm("likelihood", losses.likelihood, (), {}, normaliser="likelihood"),
]
WHOLE_TERMS = [
    LossTerm("gspo", gspo, ("old_logprob", "advantage", SEQUENCE)),
    LossTerm(
        "covariance",
        covariance,
        ("advantage",),
        {"share": 0.3},
        metrics=covariance_metrics,
        sums=moments,
        gathered=product,
    ),
    LossTerm("gap", linear, (Readout(gap_to_top, (("power", 2),)),)),
    LossTerm("cold_entropy", linear, (entropy(0.5),)),
]


def shipped(name, **options):
    """What `algorithm.loss: name` makes the policy gradient, as a term of its own."""
    term = policy_gradient(replace(AlgorithmConfig(), loss=name, loss_options=options))
    return replace(term, name=f"shipped_{name}")


SHIPPED_TERMS = [
    shipped("gspo", clip_low=0.1, clip_high=0.1),
    shipped("cispo", clip_low=0.5, clip_high=0.5),
    shipped("clip_cov", clip_low=0.5, clip_high=0.5, cov_low=0.02, cov_high=2.0, share=0.2),
    shipped("kl_cov", share=0.2),
]
WHOLE_KINDS = [
    {"policy_gradient": 1.0, "gspo": 0.7, "shipped_clip_cov": 0.8, "shipped_cispo": 0.6},
    {"covariance": 1.0, "gap": 0.02, "shipped_gspo": 0.8, "shipped_kl_cov": 0.5},
    {"gspo": 1.0, "entropy": 0.2, "shipped_kl_cov": 0.9, "shipped_cispo": 0.8},
    {"covariance": 0.5, "cold_entropy": 0.3, "likelihood": 0.5, "shipped_clip_cov": 0.9, "shipped_gspo": 0.6},
]
BALANCE = LossTerm("balance", balance, (head("log_z"), "old_logprob", SEQUENCE))
VALUE_CLIP = 0.2
[VALUE_TERM] = Ppo(value_clip=VALUE_CLIP).terms(Config())
KINDS = [
    {"policy_gradient": 1.0},
    {"policy_gradient": 1.0, "kl": 0.3, "entropy": 0.2},
    {"shaped_trace": 1.0},
    {"likelihood": 0.5},
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


def make_rows(count=12, seed=0, kinds=KINDS):
    """Rows of different lengths, masks and terms, every other one with the prompt of the one before.

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
        if i % 4 == 2:  # an advantage for every token
            columns["advantage"] = rng.normal(size=length).astype(np.float32)
        if i % 8 in (4, 5):  # the same for others of the kinds, by numbers of its own
            columns["advantage"] = np.random.default_rng((seed, i)).normal(size=length).astype(np.float32)
        tokens = rng.integers(0, VOCABULARY, prompt + length).astype(np.int32)
        if i % 2:
            prompt = rows[-1].prompt_length
            tokens = np.concatenate([rows[-1].tokens[:prompt], tokens[-length:]])
        rows.append(
            Row(
                tokens=tokens,
                prompt_length=prompt,
                terms={name: 20 * c / (12 * count) for name, c in kinds[i % len(kinds)].items()},
                columns=columns,
                mask=mask,
            )
        )
    return rows


def plain_log_p(model, tokens, prompt_length):
    """log p at every completion token, [T, V], from the logits of the whole sequence; and the tokens."""
    ids = torch.tensor(np.asarray(tokens, dtype=np.int64))
    logits = model(ids[None], use_cache=False).logits[0, prompt_length - 1 : -1]
    return torch.log_softmax(logits, dim=-1), ids[prompt_length:]


def plain_scores(model, tokens, prompt_length, temperature=1.0):
    """Log-probability and entropy of every completion token."""
    log_p, chosen = plain_log_p(model, tokens, prompt_length)
    log_p = torch.log_softmax(log_p / temperature, dim=-1)
    return log_p.gather(1, chosen[:, None])[:, 0], -(log_p.exp() * log_p).sum(1)


def plain_gradient(model, rows, terms=TERMS, max_norm=0.0, temperature=1.0, figures=None):
    """The rows' gradient, all rows at once, clipped ({name: float64 array}); its norm before clipping; the loss.

    figures: a dictionary that gets the figures of each term, named as a report's metrics.
    """
    model.zero_grad()
    read = [plain_log_p(model, row.tokens, row.prompt_length) for row in rows]
    total = torch.zeros(())
    for term in terms:
        feeding = [i for i, row in enumerate(rows) if term.name in row.terms]
        if not feeding:
            continue
        kept = {i: rows[i].mask != 0 for i in feeding}

        def of_rows(array_of, feeding=feeding, kept=kept):
            return torch.cat([torch.as_tensor(array_of(i))[kept[i]] for i in feeding])

        inputs = [of_rows(lambda i: logprob(temperature).of(*read[i]))]
        for column in term.columns:
            if isinstance(column, Readout):
                inputs.append(of_rows(lambda i, column=column: column.of(*read[i])))
            elif column == SEQUENCE:
                counts = torch.tensor([int(kept[i].sum()) for i in feeding])
                inputs.append(torch.repeat_interleave(counts))
            else:
                inputs.append(of_rows(lambda i, column=column: rows[i].columns[column]))
        keywords = dict(term.params)
        with torch.no_grad():
            for name in ("sums", "gathered"):
                if getattr(term, name) is not None:
                    keywords[name] = getattr(term, name)(*inputs, **term.params)
        weight = of_rows(lambda i, name=term.name: rows[i].terms[name] * rows[i].mask)
        part = (weight * term.function(*inputs, **keywords)).sum()
        total = total + part
        if figures is not None:
            values = term.metrics(*inputs, **keywords) if term.metrics is not None else {}
            figures |= {f"{term.name}/{name}": value.double().mean().item() for name, value in values.items()}
            figures[f"{term.name}/loss"] = part.item()
    total.backward()
    gradient = {name: p.grad.double().numpy().copy() for name, p in model.named_parameters() if p.requires_grad}
    norm = float(np.sqrt(sum((g**2).sum() for g in gradient.values())))
    scale = min(1.0, max_norm / (norm + 1e-6)) if max_norm else 1.0
    return {name: g * scale for name, g in gradient.items()}, norm, total.item()


def plain_hidden(model, tokens, prompt_length):
    """The last layer's hidden state before every completion token, [T, h]."""
    ids = torch.tensor(np.asarray(tokens, dtype=np.int64))
    return model(ids[None], use_cache=False).last_hidden_state[0, prompt_length - 1 : -1]


def plain_critic_steps(path, minibatches, rate):
    """What SGD steps on VALUE_TERM leave of a trunk with a zero head: weights as `critic_weights`; the losses."""
    trunk = load_plain(path).model
    head = torch.nn.Linear(trunk.config.hidden_size, 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    named = dict(trunk.named_parameters()) | {f"heads.value.{name}": p for name, p in head.named_parameters()}
    optimizer = torch.optim.SGD(named.values(), lr=rate)
    losses_made = []
    for rows in minibatches:
        loss = torch.zeros(())
        for row in (row for row in rows if "value" in row.terms):
            value = head(plain_hidden(trunk, row.tokens, row.prompt_length))[:, 0]
            before, target = (torch.from_numpy(row.columns[name]) for name in ("value", "return"))
            held = torch.maximum(torch.minimum(value, before + VALUE_CLIP), before - VALUE_CLIP)
            error = torch.maximum((value - target) ** 2, (held - target) ** 2) / 2
            loss = loss + (row.terms["value"] * torch.from_numpy(row.mask) * error).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses_made.append(loss.item())
    return {name: p.detach().double().numpy() for name, p in named.items()}, losses_made


def relative_error(found, expected):
    difference = sum(((found[name] - expected[name]) ** 2).sum() for name in expected)
    return float(np.sqrt(difference / sum((g**2).sum() for g in expected.values())))


def load_plain(path, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype)


def learner_config(path, temperature=1.0, **learner):
    config = Config()
    config.rollout.temperature = temperature
    config.model.path = str(path)
    config.devices.device = "cpu"
    for key, value in learner.items():
        setattr(config.learner, key, value)
    return config
