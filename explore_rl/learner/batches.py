"""A planned micro-batch of sequences as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from explore_rl.learner.packing import MicroBatch
from explore_rl.learner.policy import Tokens


@dataclass
class Sequence:
    """Token ids int32 [L], of which the first `prompt_length` are given; keep: bool [T], completion tokens to be scored (None: all)."""

    tokens: np.ndarray
    prompt_length: int
    temperature: float
    keep: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.tokens)


def collate(sequences: list[Sequence], batch: MicroBatch, device: torch.device) -> tuple[Tokens, list[int], list[int]]:
    """The tensors of a micro-batch; which sequences are in it, in the order of `Tokens.at`; and how many tokens of each are scored.

    An empty micro-batch (a rank that has to keep step) and one in which nothing is scored become a single token.
    """
    width = max((sum(len(sequences[i]) for i in line) for line in batch), default=2)
    ids = np.zeros((max(len(batch), 1), width), dtype=np.int64)
    positions = np.zeros_like(ids)
    positions[:] = np.arange(width)
    at, targets, temperature, order, counts = [], [], [], [], []
    for row, line in enumerate(batch):
        start = 0
        for i in line:
            s = sequences[i]
            ids[row, start : start + len(s)] = s.tokens
            positions[row, start:] = np.arange(width - start)  # padding behind the last sequence of a line goes on counting
            first = row * width + start + s.prompt_length - 1
            kept = np.arange(len(s) - s.prompt_length) if s.keep is None else np.flatnonzero(s.keep)
            at.append(first + kept)
            targets.append(np.asarray(s.tokens[s.prompt_length :])[kept])
            temperature.append(np.full(len(kept), s.temperature, dtype=np.float32))
            order.append(i)
            counts.append(len(kept))
            start += len(s)
    if not sum(counts):
        at, targets, temperature = [np.zeros(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)], [np.ones(1, dtype=np.float32)]

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    chosen = (np.concatenate(at), np.concatenate(targets).astype(np.int64), np.concatenate(temperature))
    return Tokens(tensor(ids), tensor(positions), *map(tensor, chosen)), order, counts
