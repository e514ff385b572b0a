"""A learner over a table of logits, with the interface of `explore_rl.learner.learner.Learner`.

Readouts, loss terms, the optimizer and its schedule are the real ones. Only the models are others: tables in place of
transformers, a row for every context, which torch differentiates the loss by.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.learner.loss import (
    Outputs,
    Parts,
    add_parts,
    first_readout,
    joined_parts,
    loss_of,
    readouts_of,
    wants_whole,
)
from explore_rl.learner.messages import (
    POLICY_ALONE,
    TRAINED,
    LearnerNeeds,
    UpdateReport,
    check_readouts,
    check_row,
    check_terms,
)
from explore_rl.learner.optimizer import learning_rate, make_optimizer
from explore_rl.objectives.readouts import HIDDEN, LOG_P, Readout
from explore_rl.objectives.terms import LossTerm
from explore_rl.testing.table import LogitTable
from explore_rl.types import Row


@dataclass(frozen=True)
class Update:
    """An optimizer step, as a test may look at it.

    gradient: the loss's, by the policy's table, before clipping; zeros where none could be made.
    """

    rows: list[Row]
    gradient: np.ndarray
    report: UpdateReport


class TableLearner:
    """Holds the table that is trained, and what else `needs` asks for.

    The base is the table as it was at the start. The critic is a table of values, one for every context, and so is a
    head of the policy; all are zero at first. The hidden state of a context is its row of logits.

    start: the initial policy; it is copied. needs: the models.
    policy: the table as it is now. history: every update since the last reset, oldest first.
    """

    def __init__(self, config: Config, start: LogitTable, *, needs: LearnerNeeds = POLICY_ALONE):
        self.start = start.copy()
        self.reset(config, needs)

    def reset(self, config: Config, needs: LearnerNeeds = POLICY_ALONE) -> None:
        """The initial table with a new optimizer, as if the learner had just started."""
        self.config = config
        self.needs = needs
        self.policy = self.start.copy()
        self.base = self.start.copy() if needs.base else None
        self.base_refreshed = False
        # The same memory: a step moves the table.
        self.parameter = torch.nn.Parameter(torch.from_numpy(self.policy.logits))
        self.heads = {name: self._zeros() for name in needs.heads}
        self.values = self._zeros()
        self.optimizers = {"policy": make_optimizer(config.learner, self._parameters("policy"))}
        if needs.critic:
            peak = config.learner.critic_learning_rate
            self.optimizers["critic"] = make_optimizer(config.learner, self._parameters("critic"), peak=peak)
        self.steps = dict.fromkeys(self.optimizers, 0)
        self.history: list[Update] = []

    def _zeros(self) -> torch.nn.Parameter:
        return torch.nn.Parameter(torch.zeros(len(self.policy.logits), dtype=torch.float64))

    def _parameters(self, model: str) -> list[torch.nn.Parameter]:
        return [self.values] if model == "critic" else [self.parameter, *self.heads.values()]

    @property
    def steps_taken(self) -> int:
        """Optimizer steps of the policy since the last reset."""
        return self.steps["policy"]

    # --- work ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def read(
        self, sequences: list[tuple[np.ndarray, int]], readouts: tuple[Readout, ...], *, model: str = "policy"
    ) -> list[tuple[np.ndarray, ...]]:
        """Of (token ids [L], prompt length) each, as `Learner.read`."""
        readouts = tuple(readouts)
        check_readouts(readouts, model, needs=self.needs)
        return self._answers(sequences, readouts, model=model)

    @torch.no_grad()
    def _answers(
        self, sequences: list[tuple[np.ndarray, int]], readouts: tuple[Readout, ...], *, model: str
    ) -> list[tuple[np.ndarray, ...]]:
        found = []
        for tokens, prompt_length in sequences:
            at, completion = _places(self.policy, tokens, prompt_length=prompt_length)
            sequence = torch.zeros(len(at), dtype=torch.int64)
            values = [self._value(model, r, at, targets=completion, sequence=sequence) for r in readouts]
            found.append(
                tuple(
                    (value if readout.per_token else value[0]).numpy().astype(np.float32)
                    for readout, value in zip(readouts, values, strict=True)
                )
            )
        return found

    def _value(self, model: str, readout: Readout, at: Tensor, *, targets: Tensor, sequence: Tensor) -> Tensor:
        """A readout of the rows `at` of a model's table, [N]; `sequence` says which sequence each belongs to."""
        if readout.head is not None:
            return readout.of((self.values if model == "critic" else self.heads[readout.head])[at])
        logits = torch.from_numpy(self.base.logits) if model == "base" and self.base else self.parameter
        if readout.reads == HIDDEN:
            return readout.of(logits[at], sequence, int(sequence.max()) + 1 if len(sequence) else 1)
        assert readout.reads == LOG_P
        return readout.of(torch.log_softmax(logits[at], dim=1), targets)

    def update(
        self, minibatches: list[list[Row]], terms: list[LossTerm], *, readouts: tuple[Readout, ...] = ()
    ) -> list[UpdateReport]:
        """One optimizer step for each mini-batch, of each model that is fed; none where it is not finite.

        Raises ValueError for rows that do not fit the terms.
        """
        check_terms(terms, self.needs)
        by_name = {term.name: term for term in terms}
        for rows in minibatches:
            for row in rows:
                check_row(row, by_name)
        return [self._update(rows, by_name, readouts=readouts) for rows in minibatches]

    def _update(self, rows: list[Row], terms: dict[str, LossTerm], *, readouts: tuple[Readout, ...]) -> UpdateReport:
        rate = learning_rate(self.config, self.steps_taken)
        gradient = np.zeros_like(self.policy.logits)
        sums: dict[str, float] = defaultdict(float)
        losses: dict[str, float] = {}
        norms: dict[str, float] = {}
        tokens = 0
        read: list[tuple[np.ndarray, ...] | None] = [None] * len(rows) if readouts else []
        # Policy and critic one after the other, each by its own terms and the rows that feed them.
        for model in TRAINED:
            own = [term for term in terms.values() if term.model == model]
            feeding = [row for row in rows if any(term.name in row.terms for term in own)]
            if not feeding:
                continue
            outputs = self._outputs(model, feeding, terms=own)
            if model == "policy" and readouts:
                own_read = {id(row): values for row, values in zip(feeding, self._read(feeding, readouts), strict=True)}
                read = [own_read.get(id(row)) for row in rows]
            loss = self._loss(outputs, own, sums=sums)
            losses[model] = loss.item()
            norms[model] = self._step(model, loss)
            if model == "policy":
                tokens = sum(outputs.counts)
                if self.parameter.grad is not None and math.isfinite(losses[model]):
                    gradient = self.parameter.grad.numpy().copy()
        finite = all(math.isfinite(number) for number in (*losses.values(), *norms.values()))
        # A metric is a mean over the tokens that feed its term; a loss is divided already.
        metrics = {}
        for key in sorted(key for key in sums if finite and "/" in key):
            count = 1.0 if key.endswith("/loss") else sums[f"{key.split('/')[0]}:tokens"]
            metrics[key] = sums[key] / count
        if finite and "critic" in norms:
            metrics["critic/gradient_norm"] = norms["critic"]
        loss_of_policy = losses.get("policy", 0.0) if finite else math.nan
        norm_of_policy = norms.get("policy", 0.0) if finite else math.nan
        report = UpdateReport(
            finite, loss_of_policy, norm_of_policy, rate, metrics, tokens, 0.0, read if finite else []
        )
        self.history.append(Update(rows, gradient, report))
        return report

    def _outputs(self, model: str, rows: list[Row], *, terms: list[LossTerm]) -> Outputs:
        """What the unmasked tokens of all rows give, one after the other."""
        first = first_readout(model, self.config.rollout.temperature)
        kept = [torch.from_numpy(row.mask != 0) for row in rows]
        places = [_places(self.policy, row.tokens, prompt_length=row.prompt_length) for row in rows]
        at = torch.cat([at[keep] for (at, _), keep in zip(places, kept, strict=True)])
        targets = torch.cat([ids[keep] for (_, ids), keep in zip(places, kept, strict=True)])
        counts = [int(keep.sum()) for keep in kept]
        sequence = torch.repeat_interleave(torch.tensor(counts))
        values = {}
        for readout in readouts_of(terms, first):
            values[readout] = self._value(model, readout, at, targets=targets, sequence=sequence)
        return Outputs(rows, counts, first, values)

    def _read(self, rows: list[Row], readouts: tuple[Readout, ...]) -> list[tuple[np.ndarray, ...]]:
        """What the policy says now of the rows' unmasked tokens."""
        read = self._answers([(row.tokens, row.prompt_length) for row in rows], readouts, model="policy")
        return [tuple(value[row.mask != 0] for value in values) for row, values in zip(rows, read, strict=True)]

    def _loss(self, outputs: Outputs, terms: list[LossTerm], *, sums: dict[str, float]) -> Tensor:
        first = outputs.values[outputs.first]
        parts: Parts = {}
        if wants_whole(terms):
            add_parts(terms, outputs, parts=parts)
        whole = joined_parts([parts], first.detach())
        return loss_of(terms, outputs, whole=whole, sums=sums) + first.sum() * 0

    def _step(self, model: str, loss: Tensor) -> float:
        """The step on `loss`. Returns the gradient's norm before clipping; NaN if it was not finite: no step then."""
        parameters = self._parameters(model)
        optimizer = self.optimizers[model]
        optimizer.zero_grad()
        if not math.isfinite(loss.item()):
            return math.nan
        loss.backward()
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = math.sqrt(sum(float((g * g).sum()) for g in gradients))
        if not math.isfinite(norm):
            return math.nan
        unclipped = [g.clone() for g in gradients]
        limit = self.config.learner.max_grad_norm
        for gradient in gradients:
            gradient *= min(1.0, limit / (norm + 1e-6)) if limit else 1.0
        peak = self.config.learner.critic_learning_rate if model == "critic" else None
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.steps[model], peak=peak)
        optimizer.step()
        self.steps[model] += 1
        for gradient, before in zip(gradients, unclipped, strict=True):
            gradient.copy_(before)
        return norm

    def offload(self) -> None:
        """There is no device to leave."""

    def refresh_base(self) -> None:
        """As `Learner.refresh_base`."""
        check_readouts((), "base", needs=self.needs)
        self.base = self.policy.copy()
        self.base_refreshed = True

    def reset_optimizer(self) -> None:
        """As `Learner.reset_optimizer`."""
        self.optimizers["policy"].state.clear()

    def apply(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """function(self, *args), as on the only rank."""
        return [function(self, *args)]

    # --- states -------------------------------------------------------------------------------------------------------

    def save_checkpoint(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        state = {
            "logits": self.parameter.data,
            "heads": {name: head.data for name, head in self.heads.items()},
            "values": self.values.data,
            "base": torch.from_numpy(self.base.logits) if self.base is not None and self.base_refreshed else None,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "steps": self.steps,
        }
        torch.save(state, folder / "table.pt")

    def load_checkpoint(self, folder: Path) -> None:
        """Goes on as at `save_checkpoint`, bit for bit. Raises InputError for a folder without one."""
        if not (folder / "table.pt").exists():
            raise InputError(f"{folder}: not a checkpoint of a table")
        state = torch.load(folder / "table.pt", weights_only=True)
        for key, now in (("heads", set(self.heads)), ("optimizers", set(self.optimizers))):
            if set(state[key]) != now:
                raise InputError(f"{folder}: was saved with {key}={sorted(state[key])}, the learner now has {now}")
        self.parameter.data.copy_(state["logits"])
        for name, head in self.heads.items():
            head.data.copy_(state["heads"][name])
        self.values.data.copy_(state["values"])
        self.base_refreshed = self.base is not None and state["base"] is not None
        if self.base is not None:
            self.base.logits[:] = state["base"].numpy() if self.base_refreshed else self.start.logits
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.steps = dict(state["steps"])

    def save_pretrained(self, folder: Path) -> None:
        """logits.npy, and a config.json that says what it is."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "logits.npy", self.policy.logits)
        (folder / "config.json").write_text(json.dumps({"model_type": "table of logits"}))

    def close(self) -> None:
        """There is nothing to end."""


def _places(table: LogitTable, tokens: np.ndarray, *, prompt_length: int) -> tuple[Tensor, Tensor]:
    """The table's row of every completion token, and the token; int64 [T] each."""
    ids = tuple(int(token) for token in tokens)
    completion = ids[prompt_length:]
    return torch.from_numpy(table.rows(ids[:prompt_length], completion)), torch.tensor(completion, dtype=torch.int64)
