"""One DeepSpeed rank of the learner: scores sequences, and makes optimizer steps on rows that carry their own weights.

It knows no groups, strategies or rewards. Per micro-batch it computes  ranks x sum(weight x loss), because DeepSpeed
averages over ranks. So the gradient depends neither on micro-batches nor on packing, ranks or ZeRO stage.
"""

from __future__ import annotations

import datetime
import gc
import logging
import math
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from explore_rl.cluster.faults import alive
from explore_rl.config.schema import Config
from explore_rl.learner import checkpoints, device
from explore_rl.learner.collate import Sequence, collate
from explore_rl.learner.messages import TokenLogprobs, UpdateReport
from explore_rl.learner.optimizer import deepspeed_settings, learning_rate, make_optimizer
from explore_rl.learner.packing import Shard
from explore_rl.learner.policy import Policy, load_policy
from explore_rl.models import load_tokenizer, resolve_model
from explore_rl.objectives.terms import ENTROPY, LossTerm
from explore_rl.types import Row


@dataclass
class _Scored:
    """What the forward pass of a micro-batch gave.

    rows: of the micro-batch, in the order of the tokens.
    counts: unmasked tokens of each row, which are the ones scored.
    logprob, entropy: of those tokens, [sum(counts)], row after row; with gradient.
    """

    rows: list[Row]
    counts: list[int]
    logprob: torch.Tensor
    entropy: torch.Tensor

    @cached_property
    def places(self) -> list[np.ndarray]:
        """Where each row's tokens stand in `logprob`."""
        ends = np.cumsum(self.counts)
        return [np.arange(end - count, end) for end, count in zip(ends, self.counts, strict=True)]


class LearnerRank:
    """One of `ranks` ranks. Works in any process; `connect` and `reset` come first.

    index: this rank's number.
    kind: "cpu" or "cuda".
    progress: grows while it works.
    model: the transformers module.
    steps_taken: optimizer steps since `reset`.
    """

    def __init__(self, index: int, *, ranks: int, kind: str):
        self.index, self.ranks, self.kind = index, ranks, kind
        self.device = device.rank_device(kind)
        self.progress = 0
        self.engine: Any = None
        self.frozen: Any = None  # a Policy; under ZeRO-3 a DeepSpeed engine that holds one
        self.steps_taken = 0

    def connect(self, address: str, port: int, *, timeout_s: float) -> None:
        """Joins the other ranks; rank 0 listens at address:port.

        A partner that stays away, or falls silent later, ends the wait after timeout_s.
        """
        os.environ.update(
            RANK=str(self.index),
            LOCAL_RANK="0",  # each rank sees its own device only, so it is the first one there
            WORLD_SIZE=str(self.ranks),
            MASTER_ADDR=address,
            MASTER_PORT=str(port),
        )
        import deepspeed
        import transformers

        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
        transformers.utils.logging.disable_progress_bar()
        if self.kind == "cpu":
            device.without_compiled_collectives()
            device.name_interface(address)
        deepspeed.init_distributed(
            device.distributed_backend(self.kind), verbose=False, timeout=datetime.timedelta(seconds=timeout_s)
        )
        self.progress += 1

    def reset(self, config: Config, needs_frozen: bool) -> int | None:
        """Model from config.model.path, a new optimizer and schedule, random states from the seed.

        What was before is dropped. Returns the model's hidden size, or None if its sequences cannot share a prompt.
        """
        import deepspeed

        # The memory of what was before is free before the next model is loaded.
        self._drop()
        if device.computes_on_cpu(config, self.kind):
            torch.set_num_threads(config.learner.threads)
        checkpoints.seed_everything(config.seed, self.index)
        self.config = config
        self.steps_taken = 0
        # The policy, with its optimizer.
        path = resolve_model(config.model.path)
        policy = self._load(path)
        if config.learner.activation_checkpointing:
            policy.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.engine, *_ = deepspeed.initialize(
            model=policy,
            optimizer=make_optimizer(config.learner, policy.parameters()),
            config=deepspeed_settings(config, self.kind, policy),
        )
        # Stage 0 reduces here and not in step(), so that the gradient's norm is known before the step is made.
        self.engine.enable_backward_allreduce = config.learner.zero_stage > 0
        # The frozen copy of the initial model, without one.
        self.frozen = None
        if needs_frozen:
            self.frozen = self._load(path).eval().requires_grad_(False)
            if config.learner.zero_stage == 3:  # its shards are made whole layer by layer too
                self.frozen, *_ = deepspeed.initialize(
                    model=self.frozen, config=deepspeed_settings(config, self.kind, self.frozen)
                )
        return policy.model.config.hidden_size if policy.takes_masks else None

    def _load(self, path: Path) -> Policy:
        model = self.config.model
        sharded = self.config.learner.zero_stage == 3
        policy = load_policy(path, model.dtype, attention=model.attention, sharded=sharded).to(self.device)
        self._tick(policy)
        self.progress += 1
        return policy

    def _tick(self, policy: Policy) -> None:
        """Lets progress grow at every layer, forward and backward: a micro-batch may take minutes."""

        def tick(*_: object) -> None:
            self.progress += 1

        def after(module: torch.nn.Module, inputs: tuple, output: Any) -> None:
            tick()
            hidden = output[0] if isinstance(output, tuple) else output
            if hidden.requires_grad:
                hidden.register_hook(tick)

        layers = [layer for module in policy.modules() if isinstance(module, torch.nn.ModuleList) for layer in module]
        for module in (*layers, policy.model.get_output_embeddings()):
            module.register_forward_hook(after)

    def _drop(self) -> None:
        if self.engine is not None:
            for engine in (self.engine, self.frozen):
                if hasattr(engine, "destroy"):
                    engine.destroy()
            self.engine = self.frozen = None
            gc.collect()

    @property
    def model(self) -> torch.nn.Module:
        return self.engine.module.model

    # --- scoring ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def logprobs(self, shard: Shard[Sequence], model: str, entropy: bool) -> list[TokenLogprobs]:
        """What `model`, "policy" or "base", says of the shard's sequences, in their order."""
        if model == "base" and self.frozen is None:
            raise ValueError(
                'scores under "base" were not announced: start or reset the learner with needs_frozen=True'
            )
        forward = self.frozen if model == "base" else self.engine
        forward.eval()
        nothing = np.empty(0, np.float32)
        scored = [TokenLogprobs(nothing, nothing if entropy else None) for _ in shard.items]
        for batch in shard.micro_batches:
            tokens, order, counts = collate(shard.items, batch, self.device)
            logprob, entropies = (x.float().cpu().numpy() for x in forward(tokens, entropy))
            # Copies, so that an answer does not hold its whole micro-batch.
            ends = np.cumsum(counts)
            for i, begin, end in zip(order, ends - counts, ends, strict=True):
                scored[i] = TokenLogprobs(logprob[begin:end].copy(), entropies[begin:end].copy() if entropy else None)
            self.progress += 1
        device.release_unused_memory(self.config, self.kind)
        return scored

    # --- updates ------------------------------------------------------------------------------------------------------

    def update(self, minibatches: list[Shard[Row]], terms: list[LossTerm]) -> list[UpdateReport]:
        """One optimizer step a mini-batch. The reports are the same on every rank."""
        by_name = {term.name: term for term in terms}
        reports = [self._update(shard, by_name) for shard in minibatches]
        device.release_unused_memory(self.config, self.kind)
        return reports

    def _update(self, shard: Shard[Row], terms: dict[str, LossTerm]) -> UpdateReport:
        rate = learning_rate(self.config, self.steps_taken)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        if not shard.micro_batches:  # then there are none on any rank
            return _report(0.0, Counter(), rate=rate, padding_fraction=0.0)
        self.engine.train()
        finite, sums = self._accumulate(shard, terms)
        # With billions of parameters the step takes the CPU longer than a rank may stand still.
        on_cpu = device.computes_on_cpu(self.config, self.kind)
        with alive(self) if on_cpu else nullcontext():
            norm = self._step() if finite else self._discard()
        if math.isfinite(norm):
            self.steps_taken += 1
        # Every rank adds up the same sums in the same order, so all report the same.
        totals: Counter[str] = Counter()
        for part in self._from_all(dict(sums)):
            totals.update(part)
        return _report(norm, totals, rate=rate, padding_fraction=shard.padding_fraction)

    def _accumulate(self, shard: Shard[Row], terms: dict[str, LossTerm]) -> tuple[bool, dict[str, float]]:
        """Forward and backward over all micro-batches. Returns whether all losses were finite, and the rank's sums.

        Stops as soon as at least one rank has a loss that is not finite, before that micro-batch's backward pass.
        """
        sums: Any = Counter()
        sequences = [Sequence(row.tokens, row.prompt_length, row.temperature, row.mask != 0) for row in shard.items]
        with_entropy = any(ENTROPY in term.columns for term in terms.values())
        self._accumulated = False
        for batch in shard.micro_batches:
            tokens, order, counts = collate(sequences, batch, self.device)
            logprob, entropy = self.engine(tokens, with_entropy)
            # A loss of 0 on every output: a rank without tokens takes part in the backward pass all the same.
            loss = logprob.sum() * 0 + entropy.sum() * 0
            if sum(counts):
                scored = _Scored([shard.items[i] for i in order], counts, logprob, entropy)
                loss = loss + self._loss(scored, terms, sums=sums)
            # All ranks go on or none does: the backward pass is collective.
            finite = torch.isfinite(loss.detach()).to(torch.int32)
            dist.all_reduce(finite, dist.ReduceOp.MIN)
            if not finite.item():
                self._rejected = loss
                return False, sums
            # DeepSpeed divides by the ranks, and the rows' weights are of the whole mini-batch already.
            self.engine.backward(loss * self.ranks, scale_wrt_gas=False)
            self._accumulated = True
            sums["loss"] += loss.item()
            sums["tokens"] += sum(counts)
            self.progress += 1
        return True, sums

    def _loss(self, scored: _Scored, terms: dict[str, LossTerm], *, sums: dict[str, float]) -> torch.Tensor:
        """Sum over rows, terms and tokens of  weight x mask x loss; figures are added to `sums`."""
        total = scored.logprob.new_zeros(())
        for name in sorted({name for row in scored.rows for name in row.terms}):
            feeding = [i for i, row in enumerate(scored.rows) if name in row.terms and scored.counts[i]]
            if feeding:
                total = total + self._term_loss(terms[name], scored, feeding=feeding, sums=sums)
        return total

    def _term_loss(
        self, term: LossTerm, scored: _Scored, *, feeding: list[int], sums: dict[str, float]
    ) -> torch.Tensor:
        """One term's part of `_loss`. feeding: the rows that feed the term and have tokens."""

        def column(arrays: Iterable[np.ndarray]) -> torch.Tensor:
            """Rows' arrays, one after the other."""
            return torch.from_numpy(np.concatenate(list(arrays)).astype(np.float32)).to(self.device)

        # The term's tokens, and for each of them its weight and what the term reads.
        at = torch.from_numpy(np.concatenate([scored.places[i] for i in feeding])).to(self.device)
        rows = [(scored.rows[i], scored.rows[i].mask != 0) for i in feeding]
        weight = column(row.terms[term.name] * row.mask[kept].astype(np.float64) for row, kept in rows)
        inputs = [scored.logprob[at]]
        for name in term.columns:
            inputs.append(
                scored.entropy[at] if name == ENTROPY else column(row.columns[name][kept] for row, kept in rows)
            )
        loss = (weight * term.function(*inputs, **term.params)).sum()
        # What is reported of it.
        sums[f"{term.name}/loss"] += loss.item()
        sums[f"{term.name}:tokens"] += len(at)
        if term.metrics is not None:
            with torch.no_grad():
                for figure, values in term.metrics(*inputs, **term.params).items():
                    sums[f"{term.name}/{figure}"] += values.double().sum().item()
        return loss

    def _step(self) -> float:
        """The optimizer step on what was accumulated.

        Returns the gradient's norm over all ranks before clipping. NaN: it was not finite, and no step was made.
        """
        if self.config.learner.zero_stage > 0:
            self.engine.step()
            norm = float(self.engine.get_global_grad_norm())
            return norm if self.engine.was_step_applied() and math.isfinite(norm) else math.nan
        # Stage 0: reduced here, so that every rank knows the norm, and refuses the step, before it is made.
        self.engine.buffered_allreduce_fallback()
        gradients = [p.grad for p in self.engine.module.parameters() if p.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(g, dtype=torch.float64) for g in gradients])
        norm = float(torch.linalg.vector_norm(norms))
        if not math.isfinite(norm):
            self.engine.zero_grad()
            return math.nan
        self.engine.step()
        return norm

    def _discard(self) -> float:
        """Drops what was accumulated before a micro-batch was rejected, and returns NaN for the norm.

        Every rank does so.
        """
        rejected: Any = self._rejected
        self._rejected = None
        if self._accumulated and self.config.learner.zero_stage > 0:
            # ZeRO clears its partial sums where it refuses a gradient that is not finite, and nowhere else.
            self.engine.backward(rejected * math.nan, scale_wrt_gas=False)
            self.engine.step()
            assert not self.engine.was_step_applied()
        self.engine.zero_grad()
        return math.nan

    def _from_all(self, value: Any) -> list[Any]:
        """The values of all ranks, on every rank, in the ranks' order."""
        if self.ranks == 1:
            return [value]
        values: list[Any] = [None] * self.ranks
        dist.all_gather_object(values, value)
        return values

    # --- what else a rank can do --------------------------------------------------------------------------------------

    def save_checkpoint(self, folder: Path) -> None:
        checkpoints.save(self._saved(), folder, steps_taken=self.steps_taken)
        self.progress += 1

    def load_checkpoint(self, folder: Path) -> None:
        self.steps_taken = checkpoints.load(self._saved(), folder)
        self.progress += 1

    def save_pretrained(self, folder: Path) -> None:
        tokenizer = load_tokenizer(self.config.model.path)
        checkpoints.save_pretrained(self.model, folder, tokenizer=tokenizer, is_first=self.index == 0, tick=self._count)
        self.progress += 1

    def _saved(self) -> checkpoints.Saved:
        learner = self.config.learner
        layout = {
            "learner.ranks": self.ranks,
            "learner.zero_stage": learner.zero_stage,
            "learner.optimizer": learner.optimizer,
            "model.dtype": self.config.model.dtype,
        }
        return checkpoints.Saved(self.engine, self.index, self.device, layout)

    def _count(self) -> None:
        self.progress += 1


def _report(norm: float, totals: Counter[str], *, rate: float, padding_fraction: float) -> UpdateReport:
    """The report of a step.

    norm: the gradient's; NaN if no step was made.
    totals: the sums of all ranks. Its keys are "loss", "tokens", "<term>/loss", "<term>/<figure>" and "<term>:tokens".
    rate: the learning rate.
    padding_fraction: as in the report.
    """
    finite = math.isfinite(norm)
    metrics = {}
    for key in sorted(key for key in totals if finite and "/" in key):
        tokens = 1.0 if key.endswith("/loss") else totals[f"{key.split('/')[0]}:tokens"]
        metrics[key] = totals[key] / tokens
    return UpdateReport(
        finite=finite,
        loss=float(totals["loss"]) if finite else math.nan,
        grad_norm=norm,
        learning_rate=rate,
        metrics=metrics,
        tokens=int(totals["tokens"]),
        padding_fraction=padding_fraction,
    )
