"""Learner and engine agree for other models: an output matrix of its own, in float32 and bfloat16, and tied ones."""

import numpy as np
import pytest
import stand_in
import torch
from engine_kit import Borrowed
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from explore_rl.config.loading import load_config
from explore_rl.models import end_token_ids, load_tokenizer
from explore_rl.problems.loading import load_problems
from explore_rl.rollout.engines import Engines
from explore_rl.training.actors import PARITY, ParityError
from explore_rl.types import Request

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(600)]
STOP = "4"


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


@pytest.fixture(scope="module")
def started(untied, actors, beside):
    """started(config): the session's rank with the model of `config`, and an engine of its own for it."""
    opened = []

    def start(config):
        actors.learner.reset(config)
        opened.append(Borrowed(config, actors.learner, Engines(config, beside(engines=1))))
        return opened[-1]

    yield start
    for borrowed in opened:
        borrowed.close()
        borrowed.engines.close()


@pytest.mark.parametrize(("dtype", "stage", "gap"), [("float32", 0, 1e-5), ("bfloat16", 1, 2e-2)])
def test_learner_and_engine_agree(untied, started, dtype, stage, gap):
    settings = [f"model.dtype={dtype}", f"learner.zero_stage={stage}", "rollout.kv_cache_gib=0.1"]
    config = load_config(None, [f"model.path={untied}", *settings, f"rollout.stop=['{STOP}']"])
    requests = [Request("p", 0, (3, 5, 7 + i % 4), seed=i, max_tokens=24) for i in range(32)]
    assert gap < PARITY[dtype]
    borrowed = started(config)
    with pytest.raises(RuntimeError, match="random weights"):
        borrowed.engines.generate(requests)
    borrowed.engines.weights_arrived()  # as if: these are drawn from the random weights that the engine started with
    with pytest.raises(ParityError):
        borrowed.check_parity(borrowed.engines.generate(requests))
    borrowed.weights.send(0)
    assert borrowed.check_parity(borrowed.engines.generate(requests))["mean"] < gap
    borrowed.learner.apply(negate_the_output)
    with pytest.raises(ParityError):
        borrowed.check_parity(borrowed.engines.generate(requests))
    borrowed.weights.send(1)
    rollouts = borrowed.engines.generate(requests)
    assert borrowed.check_parity(rollouts)["mean"] < gap
    assert np.isfinite(np.concatenate([r.logprobs for r in rollouts])).all()
    what_ends_a_completion(borrowed.engines, untied)


def test_a_tied_llama_of_49152_tokens_agrees_and_ends_with_its_line(started, tmp_path):
    """What `real:` problems are asked of: a stand-in of SmolLM2's kind."""
    codes = stand_in.tokenizer()
    stand_in.model(codes, spread=0.05).save_pretrained(tmp_path)
    codes.save_pretrained(tmp_path)
    settings = [f"model.path={tmp_path}", "rollout.kv_cache_gib=0.1", "rollout.max_new_tokens=8"]
    config = load_config("configs/real/short.yaml", settings)
    borrowed = started(config)
    newline = codes("\n").input_ids[0]
    assert borrowed.engines.engines[0].settings["end_tokens"] == (codes.eos_token_id, newline)
    prompts = [codes(str(p.prompt)).input_ids for p in load_problems("real:sum?split=audit&size=8")]
    requests = [Request("p", i, prompts[i % 8], seed=i, max_tokens=8) for i in range(32)]
    borrowed.engines.weights_arrived()
    with pytest.raises(ParityError):
        borrowed.check_parity(borrowed.engines.generate(requests))
    borrowed.weights.send(0)
    assert borrowed.check_parity(borrowed.engines.generate(requests))["mean"] < 1e-5
    # With LoRA engines get the adapters merged; they were sent the model without before.
    config.learner.lora = {"rank": 4, "targets": ["q_proj", "down_proj"]}
    borrowed.learner.reset(config)
    borrowed.learner.apply(fill_adapters)
    with pytest.raises(ParityError):
        borrowed.check_parity(borrowed.engines.generate(requests))
    borrowed.weights.send(1)
    assert borrowed.check_parity(borrowed.engines.generate(requests))["mean"] < 1e-5


def what_ends_a_completion(engines, path):
    """The end token, the stop string, or the length; and nothing goes on past one of them."""
    tokenizer, end = load_tokenizer(str(path)), set(end_token_ids(path))
    requests = [Request("p", 0, (3, 5, 7 + i % 4), seed=i, max_tokens=60, temperature=2.0) for i in range(256)]
    rollouts = engines.generate(requests)
    for r in rollouts:
        assert r.text == tokenizer.decode(r.tokens, skip_special_tokens=True)
        assert not end & set(r.tokens[:-1].tolist())
        ended, stopped = r.tokens[-1] in end, r.text.endswith(STOP)
        assert STOP not in r.text[:-1]
        assert r.finish_reason == ("stop" if ended or stopped else "length")
        assert len(r.tokens) == len(r.logprobs) and (len(r.tokens) == 60 if r.truncated else len(r.tokens) <= 60)
    assert any(r.tokens[-1] in end for r in rollouts)
    assert any(r.text.endswith(STOP) for r in rollouts)
    assert any(r.truncated for r in rollouts)


def _negate_the_output():
    def negate(rank):
        rank.model.get_output_embeddings().weight.data.neg_()

    return negate


def _fill_adapters():
    def fill(rank):
        generator = torch.Generator().manual_seed(0)
        for name, parameter in rank.model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=0.1, generator=generator)

    return fill


fill_adapters = _fill_adapters()
negate_the_output = _negate_the_output()  # nested, so that it travels to the rank by value
