"""From groups to rows: what each token is worth, and the global normaliser that its loss is divided by.

A row's weight is coefficient / normaliser with the normaliser taken over the whole mini-batch and all ranks, so that the learner only
sums, and the gradient depends neither on micro-batches nor on packing nor on ranks.
"""

from __future__ import annotations

import math

import numpy as np

from explore_rl.config.schema import AlgorithmConfig, Config
from explore_rl.objectives import corrections, divergences, losses
from explore_rl.objectives.normalisers import row_weights
from explore_rl.objectives.terms import LossTerm
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.types import Group, Row, Sample


def base_terms(config: AlgorithmConfig) -> list[LossTerm]:
    """The loss terms of GRPO itself: the clipped policy gradient and, where asked for, KL and entropy on the same rows."""
    clip = (
        {"clip_low": config.clip_low, "clip_high": config.clip_high}
        if config.clip
        else {"clip_low": 1.0, "clip_high": math.inf}
    )
    terms = [
        LossTerm(
            "policy_gradient",
            losses.ppo_clip,
            ("old_logprob", "advantage"),
            clip,
            "policy_gradient",
            losses.ppo_clip_metrics,
        )
    ]
    if config.kl != "none" and config.kl_place == "loss":
        terms.append(LossTerm("kl", getattr(divergences, config.kl), ("base_logprob",), {}, "policy_gradient"))
    if config.entropy_coefficient:
        terms.append(LossTerm("entropy", losses.entropy_bonus, ("entropy",), {}, "policy_gradient"))
    return terms


def make_minibatches(groups: list[Group], terms: list[LossTerm], config: Config, step: int) -> list[list[Row]]:
    """The rows of every optimizer step of a batch: whole groups, dealt out once globally from a seed, again in each epoch."""
    algorithm = config.algorithm
    batches = []
    for epoch in range(algorithm.epochs):
        order = np.arange(len(groups))
        if algorithm.minibatches > 1 or epoch:
            order = np.random.default_rng(hashed_seed(config.seed, "minibatches", step, epoch)).permutation(len(groups))
        for part in np.array_split(order, algorithm.minibatches):
            samples = [s for i in sorted(part) for s in groups[i].samples if s.reward is not None and s.terms]
            batches.append(make_rows(samples, terms, config))
    return batches


def make_rows(samples: list[Sample], terms: list[LossTerm], config: Config) -> list[Row]:
    """One row a sample, its terms weighted by coefficient / normaliser of all `samples`."""
    algorithm = config.algorithm
    by_name = {term.name: term for term in terms}
    masks = [_mask(sample, algorithm.mask_truncated) for sample in samples]
    coefficients = [_coefficients(sample, algorithm) for sample in samples]
    lengths = np.array([mask.sum() for mask in masks])
    weights: dict[str, np.ndarray] = {}
    for normaliser in {term.normaliser for term in terms}:
        feeds = np.array([any(by_name[name].normaliser == normaliser for name in c) for c in coefficients], dtype=bool)
        weights[normaliser] = np.zeros(len(samples))
        weights[normaliser][feeds] = row_weights(lengths[feeds], algorithm.aggregation, config.rollout.max_new_tokens)
    rows = []
    for i, sample in enumerate(samples):
        request = sample.rollout.request
        if lengths[i] == 0:
            continue
        rows.append(
            Row(
                tokens=np.array(request.prompt_ids + sample.rollout.tokens, dtype=np.int32),
                prompt_length=len(request.prompt_ids),
                terms={name: c * weights[by_name[name].normaliser][i] for name, c in coefficients[i].items()},
                columns={**sample.columns, "advantage": _token_advantage(sample, algorithm)},
                mask=masks[i],
                temperature=config.rollout.temperature,
            )
        )
    return rows


def _coefficients(sample: Sample, algorithm: AlgorithmConfig) -> dict[str, float]:
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

    The engine correction is for what the current policy drew at the training temperature. A strategy that weights its draws itself has
    the whole correction in that weight, and wants algorithm.importance_cap=null.
    """
    advantage = np.full(len(sample.rollout.tokens), sample.advantage * sample.weight, dtype=np.float32)
    drawn = sample.rollout.logprobs is not None and sample.rollout.request.source == "policy"
    if algorithm.importance_cap is not None and drawn:
        ratio = corrections.truncated_importance(
            sample.columns["old_logprob"], sample.rollout.logprobs, algorithm.importance_cap
        )
        advantage *= np.where(np.isnan(ratio), 1.0, ratio).astype(np.float32)
    return advantage
