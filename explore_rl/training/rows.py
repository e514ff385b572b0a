"""From groups to rows: what each token is worth, and the global normaliser that its loss is divided by.

A row's weight is coefficient / normaliser, with the normaliser taken over the whole mini-batch and all ranks. So the
learner only sums, and the gradient depends neither on micro-batches nor on packing nor on ranks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from explore_rl.config.schema import Config
from explore_rl.objectives.first_update import ENGINE
from explore_rl.objectives.normalisers import row_weights
from explore_rl.objectives.terms import LossTerm
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.strategies.builtin.engine_correction import corrects
from explore_rl.strategies.signal import WORTH, token_advantage, token_worth
from explore_rl.types import Group, Rollout, Row, Sample

Prepared = dict[int, Row]  # by the sample's identity: its row without terms


@dataclass
class Minibatch:
    """What one optimizer step learns from.

    rows: to be computed.
    samples: the sample that each row was made of.
    idle: how many rows were left out: they count in every normaliser, and their gradient is 0.
    """

    rows: list[Row]
    samples: list[Sample]
    idle: int


def make_minibatches(groups: list[Group], terms: list[LossTerm], *, config: Config, step: int) -> list[Minibatch]:
    """The optimizer steps of a batch.

    Whole groups are dealt out once globally from a seed, again in each epoch. Arrays are a sample's own: in every epoch
    the same, so that each travels to a rank once.

    groups: the batch.
    terms: of the loss.
    config: the run's.
    step: its number; the order of the groups depends on it and on the seed.
    """
    algorithm = config.algorithm
    batches = []
    prepared: Prepared = {}
    for epoch in range(algorithm.epochs):
        order = np.arange(len(groups))
        if algorithm.minibatches > 1 or epoch:
            rng = np.random.default_rng(hashed_seed(config.seed, "minibatches", step, epoch))
            order = rng.permutation(len(groups))
        for part in np.array_split(order, algorithm.minibatches):
            samples = [s for i in sorted(part) for s in groups[i].samples if s.reward is not None and s.terms]
            made = make_rows(samples, terms, config=config, prepared=prepared)
            batches.append(without_idle(made, terms))
    return batches


def without_idle(made: list[tuple[Sample, Row]], terms: list[LossTerm]) -> Minibatch:
    """Leaves out the rows that pull at nothing, but for one where none does: the optimizer makes its step all the same.

    Its moments move the weights, and the schedule goes on.
    """
    by_name = {term.name: term for term in terms}
    kept = [(sample, row) for sample, row in made if _pulls(row, by_name)] or made[:1]
    return Minibatch([row for _, row in kept], [sample for sample, _ in kept], idle=len(made) - len(kept))


def _pulls(row: Row, terms: dict[str, LossTerm]) -> bool:
    weighed = [terms[name] for name, weight in row.terms.items() if weight]
    return any(not term.vanishes for term in weighed) or bool(weighed and row.columns["advantage"].any())


def make_rows(
    samples: list[Sample], terms: list[LossTerm], *, config: Config, prepared: Prepared | None = None
) -> list[tuple[Sample, Row]]:
    """One row a sample, its terms weighted by coefficient / normaliser of all `samples`.

    A sample without an unmasked token gets no row.

    samples: of one mini-batch.
    terms: of the loss.
    config: the run's.
    prepared: rows of earlier calls, whose arrays are taken again; those of this one are added.
    """
    algorithm = config.algorithm
    normaliser_of = {term.name: term.normaliser for term in terms}
    prepared = {} if prepared is None else prepared
    wanted = {column for term in terms for column in term.row_columns}
    for sample in samples:
        if id(sample) not in prepared:
            prepared[id(sample)] = _prepare(sample, wanted, config=config)
    own = [prepared[id(sample)] for sample in samples]
    lengths = np.array([row.mask.sum() for row in own])

    # Each normaliser divides over the samples that feed one of its terms, and over no others.
    weights: dict[str, np.ndarray] = {}
    for normaliser in set(normaliser_of.values()):
        feeds = np.array([any(normaliser_of[name] == normaliser for name in s.terms) for s in samples], dtype=bool)
        weights[normaliser] = np.zeros(len(samples))
        weights[normaliser][feeds] = row_weights(
            lengths[feeds], algorithm.aggregation, max_new_tokens=config.rollout.max_new_tokens
        )

    rows = []
    for i, sample in enumerate(samples):
        if lengths[i]:
            coefficients = {name: c * weights[normaliser_of[name]][i] for name, c in sample.terms.items()}
            rows.append((sample, replace(own[i], terms=coefficients)))
    return rows


def _prepare(sample: Sample, wanted: set[str], *, config: Config) -> Row:
    """The sample's row, without terms. wanted: the columns that the terms read."""
    tokens, prompt_length = sequence_of(sample.rollout)
    made = {"advantage": token_advantage(sample)}
    if WORTH in wanted:
        made[WORTH] = token_worth(sample)
    if ENGINE in wanted:
        made[ENGINE] = engine_logprob(sample, config)
    return Row(tokens, prompt_length, terms={}, columns=sample.columns | made, mask=_mask(sample))


def engine_logprob(sample: Sample, config: Config) -> np.ndarray:
    """The engine's log-probability of each token, float32 [T]; +inf in a sample that is not corrected by it."""
    rollout = sample.rollout
    if corrects(rollout, config):
        assert rollout.logprobs is not None
        return rollout.logprobs
    return np.full(len(rollout.tokens), np.inf, dtype=np.float32)


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
