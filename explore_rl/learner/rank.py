"""One DeepSpeed rank of the learner: reads sequences, and makes optimizer steps on rows that carry their own weights.

It knows no groups, strategies or rewards. Per micro-batch it computes  ranks x sum(weight x loss), because DeepSpeed
averages over ranks. So the gradient depends neither on micro-batches nor on packing, ranks or ZeRO stage.
"""

from __future__ import annotations

import gc
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from explore_rl.config.lora import Lora, read_lora
from explore_rl.config.schema import Config
from explore_rl.learner import checkpoints, device, portable
from explore_rl.learner.collate import Sequence, collate
from explore_rl.learner.head import ReadoutHead
from explore_rl.learner.joining import join
from explore_rl.learner.lora import adapters_off
from explore_rl.learner.loss import (
    Outputs,
    Whole,
    add_parts,
    first_readout,
    joined_parts,
    loss_of,
    readouts_of,
    wants_whole,
)
from explore_rl.learner.messages import LearnerNeeds, Part, UpdateReport
from explore_rl.learner.optimizer import deepspeed_settings, learning_rate
from explore_rl.learner.packing import Shard
from explore_rl.learner.policy import Policy, load_policy
from explore_rl.learner.reports import by_row, report_of
from explore_rl.learner.trained import Trained
from explore_rl.models import load_tokenizer, resolve_model
from explore_rl.objectives.readouts import Readout
from explore_rl.objectives.terms import LossTerm


class LearnerRank:
    """One of `ranks` ranks. Works in any process; `connect` and `reset` come first.

    index: this rank's number.
    kind: "cpu" or "cuda".
    progress: grows while it works.
    trained: the models with an optimizer, "policy" and "critic", as `reset` was asked for them.
    frozen: the base model; under ZeRO-3 a DeepSpeed engine that holds it. With LoRA there is none: see `_reading`.
    lora: the adapters that are trained in place of the policy's weights, if any.
    """

    def __init__(self, index: int, *, ranks: int, kind: str):
        self.index, self.ranks, self.kind = index, ranks, kind
        self.device = device.rank_device(kind)
        self.progress = 0
        self.trained: dict[str, Trained] = {}
        self.frozen: Any = None
        self.away = False  # whether it is in CPU memory, while an engine has the device
        self.lora: Lora | None = None
        self.base_refreshed = False  # whether the base model is no longer that of config.model.path

    def connect(self, address: str, port: int, *, timeout_s: float, listening: socket.socket | None = None) -> None:
        """Joins the other ranks. address, port, timeout_s, listening: as in `join`."""
        join(
            self.index,
            ranks=self.ranks,
            kind=self.kind,
            address=address,
            port=port,
            timeout_s=timeout_s,
            listening=listening,
        )
        self.progress += 1

    def reset(self, config: Config, needs: LearnerNeeds) -> int | None:
        """Models from config.model.path, new optimizers and schedules, random states from the seed.

        What was before is dropped. Returns the model's hidden size, or None if its sequences cannot share a prompt.
        """
        # The memory of what was before is free before the next model is loaded.
        self._drop()
        if device.computes_on_cpu(config, self.kind):
            torch.set_num_threads(config.learner.threads)
        checkpoints.seed_everything(config.seed, self.index)
        self.config = config
        self.needs = needs
        self.lora = read_lora(config.learner.lora) if needs.policy else None
        self.base_refreshed = False
        if needs.policy:
            self._train("policy", self._load(heads=needs.heads, lora=self.lora), peak=config.learner.learning_rate)
        if needs.critic:
            self._train("critic", self._load(critic=True), peak=config.learner.critic_learning_rate)
        if needs.base and self.lora is None:
            self._freeze_base()
        some = self.trained["policy"].model if needs.policy else _unwrapped(self.frozen)
        return some.model.config.hidden_size if some.takes_masks else None

    def _train(self, name: str, model: Policy, *, peak: float) -> None:
        self.trained[name] = Trained(model, self.config, kind=self.kind, ranks=self.ranks, peak=peak)

    def _freeze_base(self) -> None:
        """The frozen copy of the initial model, without an optimizer."""
        import deepspeed

        self.frozen = self._load().eval().requires_grad_(False)
        if self.config.learner.zero_stage == 3:  # its shards are made whole layer by layer too
            self.frozen, *_ = deepspeed.initialize(
                model=self.frozen, config=deepspeed_settings(self.config, self.kind, model=self.frozen)
            )

    def _load(self, **kind: Any) -> Policy:
        """A model of config.model.path on the rank's device. kind: as `load_policy` takes it."""
        model = self.config.model
        sharded = self.config.learner.zero_stage == 3
        path = resolve_model(model.path)
        kind |= {"attention": model.attention, "sharded": sharded, "seed": self.config.seed}
        loaded = load_policy(path, model.dtype, **kind).to(self.device)
        self._tick(loaded)
        self.progress += 1
        return loaded

    def _tick(self, policy: Policy) -> None:
        """Lets progress grow at every layer and chunk, forward and backward: a micro-batch may take minutes."""

        def tick(*_: object) -> None:
            self.progress += 1

        def after(module: torch.nn.Module, inputs: tuple, output: Any) -> None:
            tick()
            tensor = output[0] if isinstance(output, tuple) else output
            if tensor.requires_grad:
                tensor.register_hook(tick)

        layers = [layer for module in policy.modules() if isinstance(module, torch.nn.ModuleList) for layer in module]
        for module in (*layers, *policy.ends):
            module.register_forward_hook(after)
            if isinstance(module, ReadoutHead):
                module.tick = tick

    def offload(self) -> None:
        """Leaves the device to an engine. Whoever asks anything of the rank calls `reload` before."""
        if self.away:
            return
        for trained in self.trained.values():
            trained.offload()
        if self.frozen is not None:
            self.frozen.to("cpu")
        self.away = True
        device.release_unused_memory(self.config, self.kind)

    def reload(self) -> None:
        if self.away:
            for trained in self.trained.values():
                trained.reload()
            if self.frozen is not None:
                self.frozen.to(self.device)
            self.away = False

    def _drop(self) -> None:
        for trained in self.trained.values():
            trained.destroy()
        if hasattr(self.frozen, "destroy"):
            self.frozen.destroy()
        self.trained = {}
        self.frozen = None
        gc.collect()

    @property
    def engine(self) -> Any:
        """The policy's DeepSpeed engine."""
        return self.trained["policy"].engine

    @property
    def model(self) -> torch.nn.Module:
        """The policy's transformers module, without heads: what is sent to engines and saved as a model."""
        return self.trained["policy"].model.model

    # --- reading ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def read(self, shard: Shard[Sequence], model: str, readouts: tuple[Readout, ...]) -> list[tuple[np.ndarray, ...]]:
        """What `model` gives for each of the shard's sequences: of each readout float32 [T], [T, k] or [h]."""
        answers: list[Any] = [None] * len(shard.items)
        with self._reading(model) as forward:
            for batch in shard.micro_batches:
                tokens, order, counts = collate(shard.items, batch, device=self.device)
                values = [value.float().cpu().numpy() for value in forward(tokens, readouts)]
                ends = np.cumsum(counts)
                for place, (i, begin, end) in enumerate(zip(order, ends - counts, ends, strict=True)):
                    # Copies, so that an answer does not hold its whole micro-batch.
                    answers[i] = tuple(
                        value[begin:end].copy() if readout.per_token else value[place] * np.float32(end > begin)
                        for readout, value in zip(readouts, values, strict=True)
                    )
                self.progress += 1
        device.release_unused_memory(self.config, self.kind)
        return answers

    @contextmanager
    def _reading(self, model: str) -> Iterator[Any]:
        """The module that is read as `model`: with LoRA the base is the policy without its adapters."""
        if model == "base" and self.frozen is None:
            self.engine.eval()
            with adapters_off(self.model):
                yield self.engine
            return
        forward = self.frozen if model == "base" else self.trained[model].engine
        forward.eval()
        yield forward

    # --- updates ------------------------------------------------------------------------------------------------------

    def update(
        self, minibatches: list[list[Part]], terms: list[LossTerm], readouts: tuple[Readout, ...] = ()
    ) -> list[UpdateReport]:
        """One optimizer step a mini-batch, of each model with a part in it.

        The reports are the same on every rank, but for what was read of its own rows.
        """
        by_name = {term.name: term for term in terms}
        reports = [self._update(parts, by_name, readouts=readouts) for parts in minibatches]
        device.release_unused_memory(self.config, self.kind)
        return reports

    def _update(self, parts: list[Part], terms: dict[str, LossTerm], *, readouts: tuple[Readout, ...]) -> UpdateReport:
        sums: Any = Counter()
        read: list[Any] = []
        norms: dict[str, float] = {}
        # Read before the steps below, which move the schedule on.
        rate = learning_rate(self.config, self.trained["policy"].steps_taken)
        for part in parts:
            trained = self.trained[part.model]
            trained.begin()
            of_rows: list[Any] = [None] * len(part.shard.items) if readouts and part.model == "policy" else []
            finite = self._accumulate(
                trained, part, terms=[terms[name] for name in part.terms], sums=sums, readouts=readouts, read=of_rows
            )
            read += of_rows
            norms[part.model] = trained.end(finite, self)
        # Every rank adds up the same sums in the same order, so all report the same.
        totals: Counter[str] = Counter()
        for own in self._from_all(dict(sums)):
            totals.update(own)
        padding = next((part.shard.padding_fraction for part in parts), 0.0)
        report = report_of(norms, totals, rate=rate, padding_fraction=padding)
        # What was read up to a loss that is not finite is not of the whole batch.
        report.read = read if report.finite else []
        return report

    def _accumulate(
        self,
        trained: Trained,
        part: Part,
        *,
        terms: list[LossTerm],
        sums: dict[str, float],
        readouts: tuple[Readout, ...] = (),
        read: list[Any] | None = None,
    ) -> bool:
        """Forward and backward over all micro-batches. Returns whether all losses were finite; adds to `sums`.

        Stops as soon as at least one rank has a loss that is not finite, before that micro-batch's backward pass.

        readouts: what is read on the way, besides.
        read: where it goes, by row of the part; empty or None: nothing is read.
        """
        whole = self._whole(trained, part, terms=terms) if wants_whole(terms) else {}
        for outputs in self._outputs(trained, part, terms=terms, besides=readouts if read else ()):
            if read:
                for i, values in outputs.read:
                    read[i] = values
            # A loss of 0 on every output: a rank without tokens takes part in the backward pass all the same.
            loss = torch.stack([value.sum() * 0 for value in outputs.values.values()]).sum()
            tokens = sum(outputs.counts)
            if tokens:
                loss = loss + loss_of(terms, outputs, whole=whole, sums=sums)
            if not trained.accumulate(loss):
                return False
            sums[f"loss of {part.model}"] += loss.item()
            sums[f"tokens of {part.model}"] += tokens
            self.progress += 1
        return True

    @torch.no_grad()
    def _whole(self, trained: Trained, part: Part, *, terms: list[LossTerm]) -> Whole:
        """What the terms want to know of the whole mini-batch, by a forward pass before the one with gradient."""
        wanting = [term for term in terms if wants_whole([term])]
        own: dict[str, Any] = {}
        trained.engine.eval()
        for outputs in self._outputs(trained, part, terms=wanting):
            add_parts(wanting, outputs, parts=own)
            self.progress += 1
        trained.engine.train()
        return joined_parts(self._from_all(own), torch.empty(0, device=self.device))

    def _outputs(
        self, trained: Trained, part: Part, *, terms: list[LossTerm], besides: tuple[Readout, ...] = ()
    ) -> Iterator[Outputs]:
        """The forward passes of all micro-batches, with what the terms read, and what else is read."""
        first = first_readout(part.model, self.config.rollout.temperature)
        own = readouts_of(terms, first)
        readouts = tuple(dict.fromkeys((*own, *besides)))
        items = part.shard.items
        sequences = [Sequence(row.tokens, row.prompt_length, row.mask != 0) for row in items]
        for batch in part.shard.micro_batches:
            tokens, order, counts = collate(sequences, batch, device=self.device)
            values = dict(zip(readouts, trained.engine(tokens, readouts), strict=True))
            read = by_row(order, counts, values=[values[readout] for readout in besides])
            yield Outputs([items[i] for i in order], counts, first, {r: values[r] for r in own}, read)

    def refresh_base(self) -> None:
        """The frozen copy becomes the policy as it is now."""
        base = _unwrapped(self.frozen)
        checkpoints.copy_weights(self.model, base.model, tick=self._count)
        self.base_refreshed = True

    def reset_optimizer(self) -> None:
        """The policy's optimizer as it was before the first step."""
        self.trained["policy"].reset_optimizer()

    def _from_all(self, value: Any) -> list[Any]:
        """The values of all ranks, on every rank, in the ranks' order."""
        if self.ranks == 1:
            return [value]
        values: list[Any] = [None] * self.ranks
        dist.all_gather_object(values, value)
        return values

    # --- what else a rank can do --------------------------------------------------------------------------------------

    def save_checkpoint(self, folder: Path) -> None:
        checkpoints.save(self._saved(), folder)
        if self.config.run.portable_checkpoints:
            portable.save(self.trained, folder, is_first=self.index == 0, tick=self._count)
        self.progress += 1

    def load_checkpoint(self, folder: Path) -> None:
        saved = self._saved()
        if self.base_refreshed:  # by what is dropped now
            if hasattr(self.frozen, "destroy"):
                self.frozen.destroy()
            self._freeze_base()
            self.base_refreshed = False
            saved = self._saved()
        others = checkpoints.differences(checkpoints.saved_layout(folder), saved.layout)
        if others and portable.is_there(folder) and portable.CHANGEABLE.issuperset(others):
            portable.load(self.trained, folder, tick=self._count)
            self.base_refreshed = checkpoints.load_base(saved, folder)
        else:
            self.base_refreshed = checkpoints.load(saved, folder)
        self.progress += 1

    def save_pretrained(self, folder: Path) -> None:
        path = self.config.model.path
        checkpoints.save_pretrained(
            self.model,
            folder,
            tokenizer=load_tokenizer(path),
            is_first=self.index == 0,
            tick=self._count,
            lora=self.lora,
            base=path,
        )
        self.progress += 1

    def _saved(self) -> checkpoints.Saved:
        learner = self.config.learner
        layout = {
            "learner.ranks": self.ranks,
            "learner.zero_stage": learner.zero_stage,
            "learner.optimizer": learner.optimizer,
            "model.dtype": self.config.model.dtype,
            "critic": self.needs.critic,
            "heads": list(self.needs.heads),
            "learner.lora": self.lora.layout if self.lora is not None else None,
        }
        return checkpoints.Saved(
            self.trained,
            base=_unwrapped(self.frozen).model if self.frozen is not None else None,
            base_refreshed=self.base_refreshed,
            index=self.index,
            device=self.device,
            layout=layout,
        )

    def _count(self) -> None:
        self.progress += 1


def _unwrapped(model: Any) -> Any:
    """The model itself, where a DeepSpeed engine may hold it."""
    return getattr(model, "module", model)
