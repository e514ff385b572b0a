"""Draws of an engine that asks a second one, and flat ones, side by side: their recorded densities are the exact ones.

The session's base engine, which holds lab:base, starts the expert, lab:worked, in its own process.
"""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from explore_rl.models import load_tokenizer, resolve_model
from explore_rl.rollout.mixing import flatten, mix
from explore_rl.training.rows import sequence_of
from explore_rl.types import Flat, Request

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(300)]

LIMIT, FLAT = 1.0, Flat(top=3, least=0.05, plain=1)
KINDS = ({"limit": LIMIT}, {"flat": FLAT}, {})


def laws(rollout, models):
    """log-probabilities of the next token at every place of a completion: mixed, flat and the policy's, [T, V] each."""
    ids = torch.tensor(sequence_of(rollout)[0][None].astype(np.int64))
    places = slice(len(rollout.request.prompt_ids) - 1, -1)
    with torch.no_grad():
        policy, expert = (torch.log_softmax(model(ids).logits[0, places].float(), dim=-1) for model in models)
    flat = flatten(policy, top=FLAT.top, least=FLAT.least)
    flat[: FLAT.plain] = policy[: FLAT.plain]
    return mix(policy, expert, limits=torch.full((len(policy),), LIMIT))[0], flat, policy


def test_mixed_flat_and_plain_draws_have_their_exact_densities(actors):
    models = [AutoModelForCausalLM.from_pretrained(resolve_model(f"lab:{name}")).eval() for name in ("base", "worked")]
    prompt = load_tokenizer("lab:base").encode("3 5 7=22:")
    requests = [
        Request("p", 0, prompt, max_tokens=6, engine="base", source="base", seed=seed, **kind)
        for seed in range(12) for kind in KINDS
    ]  # fmt: skip
    apart = []
    for i, rollout in enumerate(actors.engines.generate(requests)):
        tokens = torch.tensor(rollout.tokens.astype(np.int64))[:, None]
        of_kinds = [law.gather(1, tokens)[:, 0].numpy() for law in laws(rollout, models)]
        assert rollout.logprobs == pytest.approx(of_kinds[i % 3], abs=1e-3)
        apart.append(abs(of_kinds[i % 3] - of_kinds[2]).max())
    assert min(max(apart[0::3]), max(apart[1::3])) > 0.1 and max(apart[2::3]) == 0
