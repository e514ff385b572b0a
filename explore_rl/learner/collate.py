"""A planned micro-batch of sequences as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from explore_rl.learner.packing import MicroBatch, bundle_length
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
    width = max((sum(bundle_length(bundle, sequences) for bundle in line) for line in batch), default=2)
    ids = np.zeros((max(len(batch), 1), width), dtype=np.int64)
    positions = np.zeros_like(ids)
    positions[:] = np.arange(width)
    owner = np.zeros(
        (2, *ids.shape), dtype=np.int32
    )  # of each token: its bundle, and in it its sequence (0: the prompt of all)
    at, targets, temperature, order, counts = [], [], [], [], []
    for row, line in enumerate(batch):
        end = 0
        for number, bundle in enumerate(line):
            start, prompt = end, sequences[bundle[0]].prompt_length
            ids[row, start : start + prompt] = sequences[bundle[0]].tokens[:prompt]
            positions[row, start:] = np.arange(
                width - start
            )  # padding behind the last sequence of a line goes on counting
            owner[0, row, start:], owner[1, row, start:] = number, 0
            end = start + prompt
            for branch, i in enumerate(bundle, 1):
                s = sequences[i]
                completion = np.asarray(s.tokens[prompt:])
                here = slice(end, end + len(completion))
                ids[row, here] = completion
                positions[row, here] = np.arange(prompt, len(s))
                owner[1, row, end:] = branch
                kept = np.arange(len(completion)) if s.keep is None else np.flatnonzero(s.keep)
                # A completion's first token is predicted at the prompt's last one, the others at the one before them.
                at.append(row * width + np.where(kept == 0, start + prompt - 1, end + kept - 1))
                targets.append(completion[kept])
                temperature.append(np.full(len(kept), s.temperature, dtype=np.float32))
                order.append(i)
                counts.append(len(kept))
                end += len(completion)
    if not sum(counts):
        at, targets, temperature = (
            [np.zeros(1, dtype=np.int64)],
            [np.zeros(1, dtype=np.int64)],
            [np.ones(1, dtype=np.float32)],
        )

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    shared = any(len(bundle) > 1 for line in batch for bundle in line)
    chosen = (np.concatenate(at), np.concatenate(targets).astype(np.int64), np.concatenate(temperature))
    return (
        Tokens(tensor(ids), tensor(positions), *map(tensor, chosen), mask=_visible(*tensor(owner)) if shared else None),
        order,
        counts,
    )


def _visible(bundle: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
    """Bool [lines, 1, width, width]: a token sees what is before it in its own bundle, the prompt and its own completion."""
    before = torch.ones(bundle.shape[1], bundle.shape[1], dtype=torch.bool, device=bundle.device).tril()
    same_bundle = bundle[:, :, None] == bundle[:, None, :]
    own = (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    return (before & same_bundle & own)[:, None]
