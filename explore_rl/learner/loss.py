"""Loss terms over a micro-batch: what each reads, its part of the loss, and what it wants to know of the whole batch.

Any learner can use it: DeepSpeed ranks do, and the table of `explore_rl.testing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explore_rl.objectives.readouts import VALUE, Readout, logprob
from explore_rl.objectives.terms import SEQUENCE, LossTerm
from explore_rl.types import Row

Whole = dict[str, dict[str, Tensor]]  # term -> its keywords `sums` and `gathered`
Parts = dict[str, dict[str, np.ndarray]]  # the same of some of the tokens


def first_readout(model: str, temperature: float) -> Readout:
    """What every term of `model` gets as its first argument."""
    return VALUE if model == "critic" else logprob(temperature)


def readouts_of(terms: Iterable[LossTerm], first: Readout) -> tuple[Readout, ...]:
    """All that a forward pass has to give for `terms`, each once."""
    return tuple(dict.fromkeys([first, *(readout for term in terms for readout in term.readouts)]))


@dataclass
class Outputs:
    """What the forward pass of a micro-batch gave.

    rows: the micro-batch's, in the order of the tokens.
    counts: unmasked tokens of each row, which are the ones read.
    first: what every term gets first.
    values: one array a readout, [sum(counts)], row after row; with gradient.
    read: (a row's number in its part, arrays) of what is read for others than the terms.
    """

    rows: list[Row]
    counts: list[int]
    first: Readout
    values: dict[Readout, Tensor]
    read: list[tuple[int, tuple[np.ndarray, ...]]] = field(default_factory=list)

    @cached_property
    def places(self) -> list[np.ndarray]:
        """Where each row's tokens stand in the values."""
        ends = np.cumsum(self.counts)
        return [np.arange(end - count, end) for end, count in zip(ends, self.counts, strict=True)]


@dataclass
class _Feeding:
    """The tokens that feed a term.

    rows: (row, which of its tokens are unmasked) each.
    inputs: what the term's functions take: the first readout and its columns, [N] each.
    """

    rows: list[tuple[Row, np.ndarray]]
    inputs: list[Tensor]

    def weight(self, name: str) -> Tensor:
        """The term's weight of every token, [N]."""
        return _joined((row.terms[name] * row.mask[kept].astype(np.float64) for row, kept in self.rows), self.inputs[0])


def loss_of(terms: Iterable[LossTerm], outputs: Outputs, *, whole: Whole, sums: dict[str, float]) -> Tensor:
    """Sum over rows, terms and tokens of  weight x mask x loss.

    terms: those that rows may name.
    outputs: of the micro-batch, with gradient.
    whole: what the terms know of the whole mini-batch.
    sums: figures of the terms, and their numbers of tokens ("<term>:tokens"), are added to it.
    """
    total = outputs.values[outputs.first].new_zeros(())
    for term, feeding in _fed(terms, outputs):
        keywords = {**term.params, **whole.get(term.name, {})}
        per_token = _per_token(term, "function", values=term.function(*feeding.inputs, **keywords), feeding=feeding)
        part = (feeding.weight(term.name) * per_token).sum()
        total = total + part
        # What is reported of it.
        sums[f"{term.name}/loss"] += part.item()
        sums[f"{term.name}:tokens"] += len(per_token)
        if term.metrics is not None:
            with torch.no_grad():
                for figure, values in term.metrics(*feeding.inputs, **keywords).items():
                    sums[f"{term.name}/{figure}"] += values.double().sum().item()
    return total


def wants_whole(terms: Iterable[LossTerm]) -> bool:
    """Whether a term has to see the whole mini-batch before it is computed."""
    return any(term.sums is not None or term.gathered is not None for term in terms)


@torch.no_grad()
def add_parts(terms: Iterable[LossTerm], outputs: Outputs, *, parts: Parts) -> None:
    """Adds to `parts` what the micro-batch has of the terms' `sums` and `gathered`."""
    for term, feeding in _fed(terms, outputs):
        own = parts.setdefault(term.name, {})
        if term.sums is not None:
            sums = term.sums(*feeding.inputs, **term.params)
            if sums.dim() != 1:
                raise ValueError(f"loss term {term.name!r}: sums gave a tensor of shape {list(sums.shape)}, not [k]")
            own["sums"] = own.get("sums", 0) + sums.double().cpu().numpy()
        if term.gathered is not None:
            numbers = term.gathered(*feeding.inputs, **term.params)
            for column in numbers.unbind(1) if numbers.dim() == 2 else [numbers]:
                _per_token(term, "gathered", values=column, feeding=feeding)
            before = [own["gathered"]] if "gathered" in own else []
            own["gathered"] = np.concatenate([*before, numbers.double().cpu().numpy()])


def joined_parts(parts: Iterable[Parts], like: Tensor) -> Whole:
    """The parts of all ranks as one, tensors of the dtype and device of `like`."""
    sums: dict[str, np.ndarray] = {}
    gathered: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for name, own in part.items():
            if "sums" in own:
                sums[name] = sums.get(name, 0) + own["sums"]
            if "gathered" in own:
                gathered.setdefault(name, []).append(own["gathered"])
    whole: Whole = {}
    for name, total in sums.items():
        whole.setdefault(name, {})["sums"] = torch.from_numpy(total).to(like)
    for name, numbers in gathered.items():
        whole.setdefault(name, {})["gathered"] = _joined(numbers, like)
    return whole


def _fed(terms: Iterable[LossTerm], outputs: Outputs) -> Iterator[tuple[LossTerm, _Feeding]]:
    """Each term that some unmasked token of the micro-batch feeds, in the order of names, with what it reads."""
    for term in sorted(terms, key=lambda term: term.name):
        feeding = [i for i, row in enumerate(outputs.rows) if term.name in row.terms and outputs.counts[i]]
        if feeding:
            yield term, _feeding(term, outputs, feeding=feeding)


def _feeding(term: LossTerm, outputs: Outputs, *, feeding: list[int]) -> _Feeding:
    """What the rows `feeding` give the term to read."""
    first = outputs.values[outputs.first]
    at = torch.from_numpy(np.concatenate([outputs.places[i] for i in feeding])).to(first.device)
    rows = [(outputs.rows[i], outputs.rows[i].mask != 0) for i in feeding]
    inputs = [first[at]]
    for column in term.columns:
        if isinstance(column, Readout):
            values = outputs.values[column]
            if values.dim() != 1:
                raise ValueError(f"loss term {term.name!r}: {column.name} is no number a token")
            inputs.append(values[at])
        elif column == SEQUENCE:
            counts = [outputs.counts[i] for i in feeding]
            inputs.append(torch.from_numpy(np.repeat(np.arange(len(feeding)), counts)).to(first.device))
        else:
            inputs.append(_joined((row.columns[column][kept] for row, kept in rows), first))
    return _Feeding(rows, inputs)


def _joined(arrays: Iterable[np.ndarray], like: Tensor) -> Tensor:
    """Arrays one after the other, as a tensor of the dtype and device of `like`."""
    return torch.from_numpy(np.concatenate(list(arrays))).to(like)


def _per_token(term: LossTerm, what: str, *, values: Any, feeding: _Feeding) -> Tensor:
    """`values`. Raises ValueError unless they are a number for each token."""
    if values.shape != feeding.inputs[0].shape:
        tokens = len(feeding.inputs[0])
        raise ValueError(
            f"loss term {term.name!r}: {what} gave a tensor of shape {list(values.shape)} for {tokens} tokens"
        )
    return values
