"""A transformers causal language model as the learner uses it, and the critic beside it.

Token ids go in, readouts of chosen tokens come out (objectives/readouts.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from analysis.errors import InputError
from explore_rl.config.lora import Lora
from explore_rl.learner.head import ReadoutHead, refuse_unusual_head
from explore_rl.learner.lora import add_adapters
from explore_rl.models import load_model_config
from explore_rl.objectives.readouts import HIDDEN, LOG_P, VALUE, Readout


@dataclass
class Tokens:
    """One micro-batch.

    input_ids, position_ids: [lines, width].
    at: [N], flat positions whose next token is read.
    targets: [N], that next token.
    sequence: [N], which of the micro-batch's sequences it belongs to, from 0.
    sequences: how many there are.
    mask: bool [lines, 1, width, width], who sees whom, where sequences share a prompt. Else None: each sequence sees
        itself, told from its neighbours by their positions.
    """

    input_ids: Tensor
    position_ids: Tensor
    at: Tensor
    targets: Tensor
    sequence: Tensor
    sequences: int
    mask: Tensor | None = None


class ValueHead(nn.Linear):
    """One number for each hidden state, in float32; zero at first."""

    def __init__(self, hidden_size: int):
        super().__init__(hidden_size, 1)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """[n, h] -> [n]."""
        precision = torch.promote_types(hidden.dtype, torch.float32)
        weight = self.weight.to(precision)
        bias = self.bias.to(precision)
        return nn.functional.linear(hidden.to(precision), weight, bias)[:, 0]


class DeepHead(nn.Module):
    """One number for each hidden state by three layers, as FlowRL has its log Z (arXiv 2509.15207); zero at first.

    The inner weights are the same on every rank and in every run.
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        inner = [nn.Linear(hidden_size, hidden_size) for _ in range(2)]
        generator = torch.Generator().manual_seed(0)
        for layer in inner:
            nn.init.normal_(layer.weight, std=hidden_size**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)
        behind = [module for layer in inner for module in (layer, nn.GELU(), nn.LayerNorm(hidden_size))]
        self.inner = nn.Sequential(*behind)
        self.last = ValueHead(hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """[n, h] -> [n]."""
        return self.last(self.inner(hidden))


class Policy(nn.Module):
    """A transformers module whose output projection is a `ReadoutHead`, with heads of one number beside it.

    model: the transformers module; its parameters are named as in its checkpoint. Heads are no part of it.
    heads: names of heads.
    """

    head: type[nn.Module] = DeepHead

    def __init__(self, model: Any, heads: tuple[str, ...] = ()):
        super().__init__()
        refuse_unusual_head(model, where="model.path")
        model.set_output_embeddings(ReadoutHead(model.get_output_embeddings()))
        self.model: Any = model  # torch types attributes of a module as tensors
        self._add_heads(heads)

    def _add_heads(self, heads: tuple[str, ...]) -> None:
        config = self.model.config
        self.heads = nn.ModuleDict({name: self.head(config.hidden_size).to(self.model.dtype) for name in heads})

    @property
    def takes_masks(self) -> bool:
        """Whether a mask of ours may replace the model's own.

        It may with PyTorch's attention, where every layer sees all that stands before a token.
        """
        config = self.model.config
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        return (
            config._attn_implementation == "sdpa"
            and kinds == {"full_attention"}
            and getattr(config, "sliding_window", None) is None
        )

    def forward(self, tokens: Tokens, readouts: tuple[Readout, ...]) -> tuple[Tensor, ...]:
        """Of each readout its values: [N] or [N, k], or [sequences, ...] where it is of whole sequences."""
        # With a cache, transformers does not see that a line holds several sequences, and they leak into each other.
        hidden = self.model.base_model(
            input_ids=tokens.input_ids, attention_mask=tokens.mask, position_ids=tokens.position_ids, use_cache=False
        ).last_hidden_state
        hidden = hidden.flatten(0, 1)[tokens.at]
        values: dict[Readout, Tensor] = {}
        of_log_p = tuple(readout for readout in readouts if readout.reads == LOG_P)
        if of_log_p:
            values |= zip(of_log_p, self.projection(hidden, tokens.targets, of_log_p), strict=True)
        for readout in readouts:
            if readout.reads == HIDDEN:
                values[readout] = readout.of(hidden, tokens.sequence, tokens.sequences)
            elif readout.head is not None:
                values[readout] = readout.of(self.heads[readout.head](hidden))
        return tuple(values[readout] for readout in readouts)

    @property
    def projection(self) -> Any:
        """The `ReadoutHead`."""
        return self.model.get_output_embeddings()

    @property
    def ends(self) -> list[nn.Module]:
        """The modules behind the last layer."""
        return [self.projection, *self.heads.values()]


class Critic(Policy):
    """The trunk of a causal language model with a value head, objectives.readouts.VALUE, and without a projection."""

    head = ValueHead

    def __init__(self, model: Any):
        nn.Module.__init__(self)
        self.model = model.base_model
        assert VALUE.head is not None
        self._add_heads((VALUE.head,))

    @property
    def projection(self) -> Any:
        raise ValueError("a critic gives values, and no distribution over tokens")

    @property
    def ends(self) -> list[nn.Module]:
        return list(self.heads.values())


def load_policy(
    path: Path,
    dtype: str,
    *,
    attention: str,
    sharded: bool = False,
    heads: tuple[str, ...] = (),
    critic: bool = False,
    lora: Lora | None = None,
    seed: int = 0,
) -> Policy:
    """The checkpoint in `path`, without dropout, whose noise would be taken for a change of the policy.

    Raises InputError if it cannot be loaded, has a head that is not supported, or not the layers that `lora` names.

    path: a folder.
    dtype: "float32" or "bfloat16".
    attention: transformers' name of the implementation.
    sharded: as ZeRO-3 shards; then all ranks call this together.
    heads: names of heads.
    critic: a Critic is made of the checkpoint.
    lora: the adapters that a policy gets, which alone are learnt then; None: none.
    seed: of the adapters.
    """
    config = load_model_config(path)
    for name in [n for n in vars(config) if n.endswith(("dropout", "_pdrop"))]:
        setattr(config, name, 0.0)
    try:
        with _sharded_from_the_start(dtype) if sharded else nullcontext():
            model = AutoModelForCausalLM.from_pretrained(
                path, config=config, dtype=getattr(torch, dtype), attn_implementation=attention
            )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise InputError(f"model.path={path}: cannot be loaded: {str(error).splitlines()[0]}") from error
    if critic:
        return Critic(model)
    policy = Policy(model, heads)
    if lora is not None:
        add_adapters(policy.model, lora, seed=seed)
    return policy


@contextmanager
def _sharded_from_the_start(dtype: str) -> Iterator[None]:
    """What is loaded within it is sharded at once: no rank holds more of a model than its shards and one module.

    transformers makes the model under `deepspeed.zero.Init`, and rank 0 reads the checkpoint module by module, mapped
    and not copied into memory. transformers knows by a global weak reference that ZeRO-3 is meant. It is taken back
    afterwards, so that nothing else that is loaded takes it up.
    """
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    settings = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": 3},
        "bf16": {"enabled": dtype == "bfloat16"},
        # zero.Init would round the rotary frequencies to bfloat16.
        "data_types": {"keep_in_fp32_modules": ["inv_freq"]},
    }
    kept_alive = HfDeepSpeedConfig(settings)  # transformers' reference to it is weak
    try:
        yield
    finally:
        unset_hf_deepspeed_config()
        del kept_alive
