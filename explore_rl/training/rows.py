"""From groups to rows: what each token is worth, and the global normaliser that its loss is divided by.

A row's weight is coefficient / normaliser, with the normaliser taken over the whole mini-batch and all ranks. So the
learner only sums, and the gradient depends neither on micro-batches nor on packing nor on ranks.
"""

from __future__ import annotations

import math

import numpy as np

from explore_rl.config.schema import AlgorithmConfig, Config
from explore_rl.objectives import corrections, divergences, losses
from explore_rl.objectives.normalisers import row_weights
from explore_rl.objectives.readouts import entropy
from explore_rl.objectives.terms import LossTerm
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.types import Group, Rollout, Row, Sample


def base_terms(config: Config) -> list[LossTerm]:
    """The loss terms of GRPO itself: the clipped policy gradient and, where asked for, KL and entropy on its rows."""
    algorithm = config.algorithm
    # Without clipping the bounds are those that no ratio passes.
    bounds = {"clip_low": 1.0, "clip_high": math.inf}
    if algorithm.clip:
        bounds = {"clip_low": algorithm.clip_low, "clip_high": algorithm.clip_high}
    terms = [
        LossTerm(
            name="policy_gradient",
            function=losses.ppo_clip,
            columns=("old_logprob", "advantage"),
            params=bounds,
            normaliser="policy_gradient",
            metrics=losses.ppo_clip_metrics,
        )
    ]
    # KL and entropy share the policy gradient's normaliser, so their coefficients are relative to it.
    if algorithm.kl != "none" and algorithm.kl_place == "loss":
        estimator = getattr(divergences, algorithm.kl)
        terms.append(LossTerm(name="kl", function=estimator, columns=("base_logprob",), normaliser="policy_gradient"))
    if algorithm.entropy_coefficient:
        terms.append(
            LossTerm(
                name="entropy",
                function=losses.entropy_bonus,
                columns=(entropy(config.rollout.temperature),),
                normaliser="policy_gradient",
            )
        )
    return terms


def make_minibatches(groups: list[Group], terms: list[LossTerm], config: Config, *, step: int) -> list[list[Row]]:
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
            batches.append(make_rows(samples, terms, config))
    return batches


def make_rows(samples: list[Sample], terms: list[LossTerm], config: Config) -> list[Row]:
    """One row a sample, its terms weighted by coefficient / normaliser of all `samples`.

    A sample without an unmasked token gets no row.
    """
    algorithm = config.algorithm
    normaliser_of = {term.name: term.normaliser for term in terms}
    masks = [_mask(sample, algorithm.mask_truncated) for sample in samples]
    lengths = np.array([mask.sum() for mask in masks])
    coefficients = [_coefficients(sample, algorithm) for sample in samples]

    # Each normaliser divides over the samples that feed one of its terms, and over no others.
    weights: dict[str, np.ndarray] = {}
    for normaliser in set(normaliser_of.values()):
        feeds = np.array([any(normaliser_of[name] == normaliser for name in fed) for fed in coefficients], dtype=bool)
        weights[normaliser] = np.zeros(len(samples))
        weights[normaliser][feeds] = row_weights(lengths[feeds], algorithm.aggregation, config.rollout.max_new_tokens)

    rows = []
    for i, sample in enumerate(samples):
        if lengths[i] == 0:
            continue
        tokens, prompt_length = sequence_of(sample.rollout)
        row = Row(
            tokens=tokens,
            prompt_length=prompt_length,
            terms={name: c * weights[normaliser_of[name]][i] for name, c in coefficients[i].items()},
            columns={**sample.columns, "advantage": _token_advantage(sample, algorithm)},
            mask=masks[i],
        )
        rows.append(row)
    return rows


def sequence_of(rollout: Rollout) -> tuple[np.ndarray, int]:
    """The token ids of prompt and completion, int32 [L], and the prompt's length."""
    prompt = rollout.request.prompt_ids
    return np.array(prompt + rollout.tokens, dtype=np.int32), len(prompt)


def _coefficients(sample: Sample, algorithm: AlgorithmConfig) -> dict[str, float]:
    """Term -> coefficient of what the sample feeds. KL and entropy join the policy gradient if asked for."""
    terms = dict(sample.terms)
    if "policy_gradient" in terms:
        if algorithm.kl != "none" and algorithm.kl_place == "loss":
            terms["kl"] = algorithm.kl_coefficient * sample.weight
        if algorithm.entropy_coefficient:
            terms["entropy"] = algorithm.entropy_coefficient * sample.weight
    return terms


def _mask(sample: Sample, mask_truncated: bool) -> np.ndarray:
    """0 on a prefix that was given rather than drawn, and on all of a truncated sample where the recipe says so."""
    mask = np.ones(len(sample.rollout.tokens), dtype=np.float32)
    mask[: len(sample.rollout.request.prefix_ids)] = 0
    if mask_truncated and sample.rollout.truncated:
        mask[:] = 0
    return mask


def _token_advantage(sample: Sample, algorithm: AlgorithmConfig) -> np.ndarray:
    """advantage x mixture weight x truncated importance weight between engine and trainer, per token, float32 [T].

    The engine correction is for what the current policy drew at the training temperature. A strategy that weights its
    draws itself has the whole correction in that weight, and wants algorithm.importance_cap=null.
    """
    rollout = sample.rollout
    advantage = np.full(len(rollout.tokens), sample.advantage * sample.weight, dtype=np.float32)
    by_policy = rollout.request.source == "policy"
    if algorithm.importance_cap is not None and by_policy and rollout.logprobs is not None:
        old = sample.columns["old_logprob"]
        ratio = corrections.truncated_importance(old, rollout.logprobs, cap=algorithm.importance_cap)
        advantage *= np.where(np.isnan(ratio), 1.0, ratio).astype(np.float32)
    return advantage
