"""From groups to rows: what each token is worth, and the global normaliser that its loss is divided by.

A row's weight is coefficient / normaliser, with the normaliser taken over the whole mini-batch and all ranks. So the
learner only sums, and the gradient depends neither on micro-batches nor on packing nor on ranks.
"""

from __future__ import annotations

import numpy as np

from explore_rl.config.schema import Config
from explore_rl.objectives.normalisers import row_weights
from explore_rl.objectives.terms import LossTerm
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.strategies.signal import WORTH, token_advantage, token_worth
from explore_rl.types import Group, Rollout, Row, Sample


def make_minibatches(groups: list[Group], terms: list[LossTerm], *, config: Config, step: int) -> list[list[Row]]:
    """The rows of every optimizer step of a batch.

    Whole groups are dealt out once globally from a seed, again in each epoch.
    """
    algorithm = config.algorithm
    batches = []
    for epoch in range(algorithm.epochs):
        order = np.arange(len(groups))
        if algorithm.minibatches > 1 or epoch:
            rng = np.random.default_rng(hashed_seed(config.seed, "minibatches", step, epoch))
            order = rng.permutation(len(groups))
        for part in np.array_split(order, algorithm.minibatches):
            samples = [s for i in sorted(part) for s in groups[i].samples if s.reward is not None and s.terms]
            batches.append(make_rows(samples, terms, config=config))
    return batches


def make_rows(samples: list[Sample], terms: list[LossTerm], *, config: Config) -> list[Row]:
    """One row a sample, its terms weighted by coefficient / normaliser of all `samples`.

    A sample without an unmasked token gets no row.
    """
    algorithm = config.algorithm
    normaliser_of = {term.name: term.normaliser for term in terms}
    masks = [_mask(sample) for sample in samples]
    lengths = np.array([mask.sum() for mask in masks])

    # Each normaliser divides over the samples that feed one of its terms, and over no others.
    weights: dict[str, np.ndarray] = {}
    for normaliser in set(normaliser_of.values()):
        feeds = np.array([any(normaliser_of[name] == normaliser for name in s.terms) for s in samples], dtype=bool)
        weights[normaliser] = np.zeros(len(samples))
        weights[normaliser][feeds] = row_weights(
            lengths[feeds], algorithm.aggregation, max_new_tokens=config.rollout.max_new_tokens
        )

    wants_worth = any(WORTH in term.row_columns for term in terms)
    rows = []
    for i, sample in enumerate(samples):
        if lengths[i] == 0:
            continue
        tokens, prompt_length = sequence_of(sample.rollout)
        worth = {WORTH: token_worth(sample)} if wants_worth else {}
        row = Row(
            tokens=tokens,
            prompt_length=prompt_length,
            terms={name: c * weights[normaliser_of[name]][i] for name, c in sample.terms.items()},
            columns={**sample.columns, **worth, "advantage": token_advantage(sample)},
            mask=masks[i],
        )
        rows.append(row)
    return rows


def sequence_of(rollout: Rollout) -> tuple[np.ndarray, int]:
    """The token ids of prompt and completion, int32 [L], and the prompt's length."""
    prompt = rollout.request.prompt_ids
    return np.concatenate([prompt, rollout.tokens]), len(prompt)


def _mask(sample: Sample) -> np.ndarray:
    """0 on what was given within a draw, unless a strategy has it learnt from, and where one wrote so.

    A trace, given as a whole, is learnt from.
    """
    rollout = sample.rollout
    mask = np.ones(len(rollout.tokens), dtype=np.float32)
    if rollout.drawn:
        learnt = sample.columns.get("learn_given", np.zeros_like(mask))
        mask[rollout.given] = learnt[rollout.given]
    if "mask" in sample.columns:
        mask *= sample.columns["mask"]
    return mask
