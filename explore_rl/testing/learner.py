"""A learner over a table of logits, with the interface of `explore_rl.learner.learner.Learner`.

The loss terms, the optimizer and its schedule are the real ones. Only the model is another: torch differentiates the
terms by the log-probabilities and entropies of the tokens, and the table carries that on to its logits.
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

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.learner.messages import TokenLogprobs, UpdateReport
from explore_rl.learner.optimizer import learning_rate, make_optimizer
from explore_rl.objectives.terms import ENTROPY, LossTerm
from explore_rl.testing.table import LogitTable
from explore_rl.types import Row


@dataclass(frozen=True)
class Update:
    """An optimizer step, as a test may look at it.

    gradient: by the table, before clipping; zeros where none could be made.
    """

    rows: list[Row]
    gradient: np.ndarray
    report: UpdateReport


class TableLearner:
    """Holds the table that is trained, and the one it began with.

    start: the initial policy; it is copied. needs_frozen: also answers for "base", the table as it was at the start.
    policy: the table as it is now. history: every update since the last reset, oldest first.
    """

    def __init__(self, config: Config, start: LogitTable, needs_frozen: bool = False):
        self.start = start.copy()
        self.reset(config, needs_frozen)

    def reset(self, config: Config, needs_frozen: bool = False) -> None:
        """The initial table with a new optimizer, as if the learner had just started."""
        self.config = config
        self.policy = self.start.copy()
        self.base = self.start if needs_frozen else None
        self.parameter = torch.nn.Parameter(
            torch.from_numpy(self.policy.logits)
        )  # the same memory: a step moves the table
        self.optimizer = make_optimizer(config.learner, [self.parameter])
        self.steps_taken = 0
        self.history: list[Update] = []

    # --- work ---------------------------------------------------------------------------------------------------------

    def logprobs(
        self, sequences: list[tuple[np.ndarray, int, float]], model: str = "policy", entropy: bool = False
    ) -> list[TokenLogprobs]:
        """Of (token ids [L], prompt length, temperature) each, as `Learner.logprobs`.

        model: "policy", or "base" if it was announced.
        """
        table = {"policy": self.policy, "base": self.base}[model]
        if table is None:
            raise ValueError(
                'scores under "base" were not announced: name the column in Strategy.needs, or start with a frozen base'
            )
        found = []
        for tokens, prompt_length, temperature in sequences:
            rows, completion = _places(table, tokens, prompt_length)
            log_p = table.log_probabilities(rows, temperature)
            chosen = log_p[np.arange(len(completion)), completion].astype(np.float32)
            spread = -(np.exp(log_p) * log_p).sum(axis=1).astype(np.float32) if entropy else None
            found.append(TokenLogprobs(chosen, spread))
        return found

    def update(self, minibatches: list[list[Row]], terms: list[LossTerm]) -> list[UpdateReport]:
        """One optimizer step for each mini-batch; none where loss or gradient is not finite.

        Raises ValueError for rows that do not fit the terms.
        """
        by_name = {term.name: term for term in terms}
        for rows in minibatches:
            for row in rows:
                _check(row, by_name)
        return [self._update(rows, by_name) for rows in minibatches]

    def _update(self, rows: list[Row], terms: dict[str, LossTerm]) -> UpdateReport:
        rate = learning_rate(self.config, self.steps_taken)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        gradient = np.zeros_like(self.policy.logits)
        if not rows:
            return self._remember(rows, gradient, UpdateReport(True, 0.0, 0.0, rate, {}, 0, 0.0))
        batch = _Batch(self.policy, rows)
        loss, sums = batch.loss(terms)
        if math.isfinite(loss.item()):
            loss.backward()
            gradient = batch.gradient()
        norm = float(np.linalg.norm(gradient))
        tokens = len(batch.tokens)
        if not (math.isfinite(loss.item()) and math.isfinite(norm)):
            return self._remember(rows, gradient, UpdateReport(False, math.nan, math.nan, rate, {}, tokens, 0.0))
        self._step(gradient, norm)
        metrics = {}
        for key in sorted(key for key in sums if "/" in key):
            count = 1.0 if key.endswith("/loss") else sums[f"{key.split('/')[0]}:tokens"]
            metrics[key] = sums[key] / count
        return self._remember(rows, gradient, UpdateReport(True, loss.item(), norm, rate, metrics, tokens, 0.0))

    def _step(self, gradient: np.ndarray, norm: float) -> None:
        limit = self.config.learner.max_grad_norm
        scale = min(1.0, limit / (norm + 1e-6)) if limit else 1.0
        self.parameter.grad = torch.from_numpy(gradient * scale)
        self.optimizer.step()
        self.steps_taken += 1

    def _remember(self, rows: list[Row], gradient: np.ndarray, report: UpdateReport) -> UpdateReport:
        self.history.append(Update(rows, gradient, report))
        return report

    def apply(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """function(self, *args), as on the only rank."""
        return [function(self, *args)]

    # --- states -------------------------------------------------------------------------------------------------------

    def save_checkpoint(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        state = {
            "logits": self.parameter.data,
            "optimizer": self.optimizer.state_dict(),
            "steps_taken": self.steps_taken,
        }
        torch.save(state, folder / "table.pt")

    def load_checkpoint(self, folder: Path) -> None:
        """Goes on as at `save_checkpoint`, bit for bit. Raises InputError for a folder without one."""
        if not (folder / "table.pt").exists():
            raise InputError(f"{folder}: not a checkpoint of a table")
        state = torch.load(folder / "table.pt", weights_only=True)
        self.parameter.data.copy_(state["logits"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps_taken = state["steps_taken"]

    def save_pretrained(self, folder: Path) -> None:
        """logits.npy, and a config.json that says what it is."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "logits.npy", self.policy.logits)
        (folder / "config.json").write_text(json.dumps({"model_type": "table of logits"}))

    def close(self) -> None:
        """There is nothing to end."""


class _Batch:
    """The unmasked tokens of all rows, one after the other.

    Their log-probabilities and entropies are the leaves that torch differentiates by.
    """

    def __init__(self, table: LogitTable, rows: list[Row]):
        self.table, self.rows = table, rows
        self.kept = [row.mask != 0 for row in rows]
        places = [_places(table, row.tokens, row.prompt_length) for row in rows]
        self.table_rows = np.concatenate([at[keep] for (at, _), keep in zip(places, self.kept, strict=True)])
        self.tokens = np.concatenate([ids[keep] for (_, ids), keep in zip(places, self.kept, strict=True)])
        counts = [int(keep.sum()) for keep in self.kept]
        self.owner = np.repeat(np.arange(len(rows)), counts)
        self.temperature = np.array([row.temperature for row in rows])[self.owner]
        log_p = table.log_probabilities(self.table_rows, self.temperature)
        chosen = log_p[np.arange(len(self.tokens)), self.tokens]
        self.logprob = torch.from_numpy(chosen).requires_grad_()
        self.entropy = torch.from_numpy(-(np.exp(log_p) * log_p).sum(axis=1)).requires_grad_()

    def loss(self, terms: dict[str, LossTerm]) -> tuple[torch.Tensor, dict[str, float]]:
        """The sum over rows, terms and tokens of weight x mask x loss; and figures, summed over each term's tokens."""
        total = self.logprob.sum() * 0
        sums: dict[str, float] = defaultdict(float)
        for name in sorted({name for row in self.rows for name in row.terms}):
            term = terms[name]
            feeds = np.array([name in row.terms for row in self.rows])
            at = torch.from_numpy(np.flatnonzero(feeds[self.owner]))
            inputs = [self.logprob[at]]
            for column in term.columns:
                inputs.append(self.entropy[at] if column == ENTROPY else self._column(column, feeds))
            part = (self._weight(name, feeds) * term.function(*inputs, **term.params)).sum()
            total = total + part
            sums[f"{name}/loss"] += part.item()
            sums[f"{name}:tokens"] += len(at)
            if term.metrics is not None:
                with torch.no_grad():
                    figures = term.metrics(*inputs, **term.params)
                for key, values in figures.items():
                    sums[f"{name}/{key}"] += values.double().sum().item()
        return total, sums

    def _column(self, name: str, feeds: np.ndarray) -> torch.Tensor:
        return self._gathered([row.columns[name] if fed else None for row, fed in zip(self.rows, feeds, strict=True)])

    def _weight(self, name: str, feeds: np.ndarray) -> torch.Tensor:
        return self._gathered(
            [row.terms[name] * row.mask if fed else None for row, fed in zip(self.rows, feeds, strict=True)]
        )

    def _gathered(self, values: list[np.ndarray | None]) -> torch.Tensor:
        parts = [value[keep] for value, keep in zip(values, self.kept, strict=True) if value is not None]
        return torch.from_numpy(np.concatenate(parts).astype(np.float64))

    def gradient(self) -> np.ndarray:
        """By the table, after `loss` was differentiated."""
        leaves = (self.logprob, self.entropy)
        by_leaf = [np.zeros(len(self.tokens)) if leaf.grad is None else leaf.grad.numpy() for leaf in leaves]
        return self.table.gradient(
            self.table_rows, self.tokens, self.temperature, of_logprob=by_leaf[0], of_entropy=by_leaf[1]
        )


def _places(table: LogitTable, tokens: np.ndarray, prompt_length: int) -> tuple[np.ndarray, np.ndarray]:
    """The table's row of every completion token, and the token; [T] each."""
    ids = tuple(int(token) for token in tokens)
    completion = ids[prompt_length:]
    return table.rows(ids[:prompt_length], completion), np.array(completion, dtype=np.int64)


def _check(row: Row, terms: dict[str, LossTerm]) -> None:
    for name in row.terms:
        if name not in terms:
            raise ValueError(f"a row feeds the loss term {name!r}; declared are {', '.join(terms)}")
        for column in terms[name].columns:
            length = len(row.tokens) - row.prompt_length
            if column != ENTROPY and len(row.columns.get(column, ())) != length:
                raise ValueError(f"loss term {name!r} reads the column {column!r} of {length} tokens; the row lacks it")
