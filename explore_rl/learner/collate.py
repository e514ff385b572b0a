"""A planned micro-batch of sequences as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from explore_rl.learner.packing import MicroBatch, bundle_length, sequences_of
from explore_rl.learner.policy import Tokens


@dataclass
class Sequence:
    """A prompt with its completion.

    tokens: int32 [L], prompt and completion.
    prompt_length: P, the first tokens, which are given; the completion has T = L - P.
    keep: bool [T], the completion tokens to be read; None: all.
    """

    tokens: np.ndarray
    prompt_length: int
    keep: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.tokens)


def collate(
    sequences: list[Sequence], batch: MicroBatch, *, device: torch.device
) -> tuple[Tokens, list[int], list[int]]:
    """The tensors of a micro-batch.

    One token is read all the same in a micro-batch that is empty (a rank that has to keep step) or asks for none.

    sequences: all that the micro-batch's indices may name.
    Returns the tensors, the sequences' indices in the order of `Tokens.at`, and how many tokens of each are read.
    """
    width = max((sum(bundle_length(bundle, sequences) for bundle in line) for line in batch), default=2)
    arrays = _Arrays(lines=max(len(batch), 1), width=width)
    for row, line in enumerate(batch):
        start = 0
        for number, bundle in enumerate(line):
            start = arrays.write([sequences[i] for i in bundle], row=row, start=start, number=number)
    # The forward pass of every rank reads something, even where nothing is asked.
    if not sum(arrays.counts):
        arrays.at = [np.zeros(1, dtype=np.int64)]
        arrays.targets = [np.zeros(1, dtype=np.int64)]

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    order = sequences_of(batch)
    owners = np.repeat(np.arange(len(order)), arrays.counts) if sum(arrays.counts) else np.zeros(1, dtype=np.int64)
    # Without shared prompts the model's own causal mask and the positions are enough.
    shares_prompt = any(len(bundle) > 1 for line in batch for bundle in line)
    tokens = Tokens(
        input_ids=tensor(arrays.ids),
        position_ids=tensor(arrays.positions),
        at=tensor(np.concatenate(arrays.at)),
        targets=tensor(np.concatenate(arrays.targets).astype(np.int64)),
        sequence=tensor(owners),
        sequences=max(1, len(order)),
        mask=_visible(tensor(arrays.bundle), tensor(arrays.branch)) if shares_prompt else None,
    )
    return tokens, order, arrays.counts


class _Arrays:
    """A micro-batch while its bundles are written into it, line by line and from left to right.

    ids, positions: int64 [lines, width], as in `Tokens`.
    bundle: int32 [lines, width], of each token its bundle's number in the line.
    branch: int32 [lines, width], of each token its sequence's number in the bundle, from 1; 0 is the prompt of all.
    at, targets: as in `Tokens`, an array for each sequence.
    counts: read tokens of each sequence.
    """

    def __init__(self, lines: int, width: int):
        self.width = width
        self.ids = np.zeros((lines, width), dtype=np.int64)
        self.positions = np.zeros_like(self.ids)
        self.positions[:] = np.arange(width)
        self.bundle = np.zeros((lines, width), dtype=np.int32)
        self.branch = np.zeros((lines, width), dtype=np.int32)
        self.at: list[np.ndarray] = []
        self.targets: list[np.ndarray] = []
        self.counts: list[int] = []

    def write(self, sequences: list[Sequence], *, row: int, start: int, number: int) -> int:
        """Writes a bundle from `start` of line `row`: its prompt, then every completion. Returns where it ends."""
        # The prompt once. Positions and owners reach to the end of the line: padding behind a bundle goes on counting.
        prompt = sequences[0].prompt_length
        end = start + prompt
        self.ids[row, start:end] = sequences[0].tokens[:prompt]
        self.positions[row, start:] = np.arange(self.width - start)
        self.bundle[row, start:] = number
        self.branch[row, start:] = 0
        for branch, sequence in enumerate(sequences, 1):
            # Every completion goes on with the positions behind the prompt.
            completion = np.asarray(sequence.tokens[prompt:])
            here = slice(end, end + len(completion))
            self.ids[row, here] = completion
            self.positions[row, here] = np.arange(prompt, len(sequence))
            self.branch[row, end:] = branch
            # A completion's first token is predicted at the prompt's last one, the others at the one before them.
            kept = np.arange(len(completion)) if sequence.keep is None else np.flatnonzero(sequence.keep)
            self.at.append(row * self.width + np.where(kept == 0, start + prompt - 1, end + kept - 1))
            self.targets.append(completion[kept])
            self.counts.append(len(kept))
            end += len(completion)
        return end


def _visible(bundle: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
    """Bool [lines, 1, width, width]: whether the first token sees the second.

    A token sees what stands before it in its own bundle, of the prompt and of its own completion.
    """
    before = torch.ones(bundle.shape[1], bundle.shape[1], dtype=torch.bool, device=bundle.device).tril()
    same_bundle = bundle[:, :, None] == bundle[:, None, :]
    prompt_or_own = (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    return (before & same_bundle & prompt_or_own)[:, None]
