"""Learner and engine agree for a model with an output matrix of its own, in float32 and in bfloat16."""

import numpy as np
import pytest
import torch
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from explore_rl.config.loading import load_config
from explore_rl.models import load_tokenizer
from explore_rl.training.actors import PARITY, Actors, ParityError
from explore_rl.types import Request

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def untied(tmp_path_factory):
    """Two layers, heads of 32 (what vLLM has a kernel for), biases in q, k and v, random."""
    folder, tokenizer = tmp_path_factory.mktemp("model") / "untied", load_tokenizer("lab:base")
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=200,
            hidden_size=128,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=False,
            initializer_range=0.1,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.normal_(std=0.1)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("dtype", "stage", "gap"), [("float32", 0, 1e-5), ("bfloat16", 1, 2e-2)])
def test_learner_and_engine_agree(untied, dtype, stage, gap):
    config = load_config(
        None,
        [f"model.path={untied}", f"model.dtype={dtype}", f"learner.zero_stage={stage}", "rollout.kv_cache_gib=0.1"],
    )
    requests = [Request("p", 0, (3, 5, 7 + i % 4), i, 24) for i in range(32)]
    assert gap < PARITY[dtype]
    with Actors(config) as actors:
        actors.engines.weights_arrived()  # as if: these are drawn from the random weights that the engine started with
        with pytest.raises(ParityError):
            actors.check_parity(actors.engines.generate(requests))
        actors.weights.send(0)
        assert actors.check_parity(actors.engines.generate(requests))["mean"] < gap
        actors.learner.apply(negate_the_output)
        with pytest.raises(ParityError):
            actors.check_parity(actors.engines.generate(requests))
        actors.weights.send(1)
        rollouts = actors.engines.generate(requests)
        assert actors.check_parity(rollouts)["mean"] < gap
        assert np.isfinite(np.concatenate([r.logprobs for r in rollouts])).all()


def _negate_the_output():
    def negate(rank):
        rank.model.get_output_embeddings().weight.data.neg_()

    return negate


negate_the_output = _negate_the_output()  # nested, so that it travels to the rank by value
