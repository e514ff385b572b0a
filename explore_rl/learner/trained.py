"""A model with its optimizer in DeepSpeed: gradients are accumulated over micro-batches; a step is made, or refused."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist

from explore_rl.cluster.faults import alive
from explore_rl.config.schema import Config
from explore_rl.learner import device
from explore_rl.learner.optimizer import deepspeed_settings, learning_rate, make_optimizer
from explore_rl.learner.policy import Policy


class Trained:
    """The same on every rank, and always called on all of them.

    engine: DeepSpeed's.
    steps_taken: optimizer steps so far.
    """

    def __init__(self, model: Policy, config: Config, *, kind: str, ranks: int, peak: float):
        """model: on this rank's device.
        config: the run's.
        kind: "cpu" or "cuda".
        ranks: how many there are.
        peak: the learning rate after the warm-up.
        """
        import deepspeed

        self.config, self.kind, self.ranks, self.peak = config, kind, ranks, peak
        self.steps_taken = 0
        if config.learner.activation_checkpointing:
            model.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.engine: Any
        self.engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=make_optimizer(config.learner, [p for p in model.parameters() if p.requires_grad], peak=peak),
            config=deepspeed_settings(config, kind, model=model),
        )
        # Stage 0 reduces here and not in step(), so that the gradient's norm is known before the step is made.
        self.engine.enable_backward_allreduce = config.learner.zero_stage > 0
        self._accumulated = False
        self._rejected: Any = None

    @property
    def model(self) -> Policy:
        return self.engine.module

    @property
    def is_partly_frozen(self) -> bool:
        """Whether some parameters stay as they are, as beside LoRA's adapters."""
        return not all(p.requires_grad for p in self.model.parameters())

    def begin(self) -> float:
        """Before the micro-batches of a step. Returns the step's learning rate."""
        rate = learning_rate(self.config, self.steps_taken, peak=self.peak)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        self.engine.train()
        self._accumulated = False
        return rate

    def accumulate(self, loss: torch.Tensor) -> bool:
        """The backward pass of a micro-batch. False, and nothing is done, if the loss of some rank is not finite.

        loss: divided by its normaliser over the whole mini-batch and all ranks.
        """
        # All ranks go on or none does: the backward pass is collective.
        finite = torch.isfinite(loss.detach()).to(torch.int32)
        dist.all_reduce(finite, dist.ReduceOp.MIN)
        if not finite.item():
            self._rejected = loss
            return False
        # DeepSpeed divides by the ranks, and the rows' weights are of the whole mini-batch already.
        self.engine.backward(loss * self.ranks, scale_wrt_gas=False)
        self._accumulated = True
        return True

    def end(self, finite: bool, rank: Any) -> float:
        """The step. Returns the gradient's norm over all ranks before clipping; NaN if no step was made.

        finite: whether all of `accumulate` went well.
        rank: the LearnerRank that works on it.
        """
        # With billions of parameters the step takes the CPU longer than a rank may stand still.
        on_cpu = device.computes_on_cpu(self.config, self.kind)
        with alive(rank) if on_cpu else nullcontext():
            norm = self._step() if finite else self._discard()
        if math.isfinite(norm):
            self.steps_taken += 1
        return norm

    def _step(self) -> float:
        """The optimizer step on what was accumulated, and its norm; NaN if that was not finite: no step was made."""
        if self.config.learner.zero_stage > 0:
            self.engine.step()
            norm = float(self.engine.get_global_grad_norm())
            return norm if self.engine.was_step_applied() and math.isfinite(norm) else math.nan
        # Stage 0: reduced here, so that every rank knows the norm, and refuses the step, before it is made.
        self.engine.buffered_allreduce_fallback()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(g, dtype=torch.float64) for g in gradients])
        norm = float(torch.linalg.vector_norm(norms))
        if not math.isfinite(norm):
            self.engine.zero_grad()
            return math.nan
        self.engine.step()
        return norm

    def _discard(self) -> float:
        """Drops what was accumulated before a micro-batch was rejected, and returns NaN for the norm."""
        rejected = self._rejected
        self._rejected = None
        if self._accumulated and self.config.learner.zero_stage > 0:
            # ZeRO clears its partial sums where it refuses a gradient that is not finite, and nowhere else.
            self.engine.backward(rejected * math.nan, scale_wrt_gas=False)
            self.engine.step()
            assert not self.engine.was_step_applied()
        self.engine.zero_grad()
        return math.nan

    def reset_optimizer(self) -> None:
        """The optimizer as it was before the first step. Weights and schedule stay where they are."""
        inner = getattr(self.engine.optimizer, "optimizer", self.engine.optimizer)  # ZeRO wraps PyTorch's
        for state in inner.state.values():
            for value in state.values():
                value.zero_()

    def offload(self) -> None:
        """Weights, gradients and optimizer states to CPU memory, until `reload` (ZeRO stages 1 and 2)."""
        self.engine.offload_states(pin_memory=self.kind == "cuda")

    def reload(self) -> None:
        self.engine.reload_states()

    def destroy(self) -> None:
        self.engine.destroy()
