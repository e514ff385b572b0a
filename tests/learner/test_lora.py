"""LoRA in the learner beside peft itself: gradients, the base with adapters off, what others get of the weights."""

import numpy as np
import pytest
import torch
from learner_kit import (
    TERMS,
    learner_config,
    load_plain,
    make_rows,
    plain_gradient,
    plain_scores,
    relative_error,
)
from peft import LoraConfig, PeftModel, get_peft_model
from rank_kit import (
    adapter,
    adapter_on_disk,
    held_besides,
    sent,
)
from transformers import LlamaConfig, LlamaForCausalLM

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.config.lora import Lora
from explore_rl.config.schema import Config
from explore_rl.learner.export import export
from explore_rl.learner.lora import adapters_off, check_targets, merged, weights_of
from explore_rl.learner.messages import LearnerNeeds
from explore_rl.learner.policy import load_policy
from explore_rl.models import load_tokenizer
from explore_rl.objectives.readouts import logprob
from explore_rl.strategies.base import Needs, Strategy
from explore_rl.strategies.methods.prorl import ProRL
from explore_rl.strategies.together import check

TARGETS = ["q_proj", "down_proj"]
LORA = {"rank": 4, "alpha": 6, "targets": TARGETS}
RATE = 0.3


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """Tied, six heads over two; ZeRO-3 partitions its larger matrices."""
    folder = tmp_path_factory.mktemp("model") / "llama"
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=120,
        hidden_size=96,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=19,
        pad_token_id=20,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    load_tokenizer("lab:base").save_pretrained(folder)
    return folder


def with_peft(path, factors):
    """peft's own model with these A and B, by the names that they have in ours."""
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=6, target_modules=TARGETS, lora_dropout=0.0)
    model = get_peft_model(load_plain(path), config)
    with torch.no_grad():
        for name, values in factors.items():
            model.get_parameter(f"base_model.model.{name}").copy_(torch.tensor(values))
    return model


def scores(model, rows):
    with torch.no_grad():
        return [plain_scores(model, row.tokens, row.prompt_length)[0].numpy() for row in rows]


def close(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.timeout(600)  # the first case may have to start the ranks
@pytest.mark.parametrize("ranks, stage", [(1, 0), (2, 1), (2, 3)])
def test_it_learns_as_peft_does_and_everyone_gets_the_merged_weights(groups, llama, tmp_path, ranks, stage):
    config = learner_config(
        llama, ranks=ranks, zero_stage=stage, micro_batch_tokens=64, lora=LORA, optimizer="sgd", max_grad_norm=0.0
    )
    config.learner.learning_rate = RATE
    config.run.portable_checkpoints = True
    minibatches = [make_rows(6, seed=seed) for seed in range(3)]
    sequences = [(row.tokens, row.prompt_length) for row in minibatches[0]]
    group = groups[ranks]
    group.reset(config, LearnerNeeds(base=True))
    start = group.apply(adapter)[0]
    assert len(start) == 8 and group.apply(held_besides) == [False] * ranks
    base = group.read(sequences, (logprob(),), model="base")
    close([values for (values,) in base], scores(load_plain(llama), minibatches[0]))
    close([values for (values,) in group.read(sequences, (logprob(),))], [values for (values,) in base])

    # Two steps, since the first leaves A alone: B is zero.
    plain = with_peft(llama, start)
    for rows in minibatches[:2]:
        gradient, norm, _ = plain_gradient(plain, rows)
        [report] = group.update([rows], TERMS)
        assert report.grad_norm == pytest.approx(norm, rel=1e-5)
        with torch.no_grad():
            for name, values in gradient.items():
                plain.get_parameter(name).sub_(RATE * torch.from_numpy(values).float())
    expected = {name: plain.get_parameter(f"base_model.model.{name}").detach().double().numpy() for name in start}
    now = group.apply(adapter)[0]
    assert relative_error({n: now[n] - start[n] for n in now}, {n: expected[n] - start[n] for n in now}) < 1e-5
    close([values for (values,) in group.read(sequences, (logprob(),))], scores(plain, minibatches[0]))
    after = group.read(sequences, (logprob(),), model="base")
    assert all((one == other).all() for (one,), (other,) in zip(base, after, strict=True))

    # Engines, final/ and an export have the same weights, which are peft's; the adapter beside them is one for peft.
    whole = plain.merge_and_unload()
    to_engines = group.apply(sent)[0]
    for name, values in to_engines.items():
        np.testing.assert_allclose(values, whole.get_parameter(name).detach().numpy(), atol=5e-6, rtol=0)
    group.save_checkpoint(tmp_path / "checkpoint")
    group.save_pretrained(tmp_path / "final")
    export(tmp_path / "checkpoint", str(llama), out=tmp_path / "exported")
    for folder in (tmp_path / "final", tmp_path / "exported"):
        model = load_plain(folder)
        assert {name for name, _ in model.named_parameters(remove_duplicate=False)} == to_engines.keys()
        assert all((model.get_parameter(name).numpy(force=True) == to_engines[name]).all() for name in to_engines)
        close(scores(PeftModel.from_pretrained(load_plain(llama), folder / "adapter"), rows), scores(model, rows))

    # Resumed equals uninterrupted; the checkpoint holds the adapters alone.
    assert 0 < adapter_on_disk(tmp_path / "checkpoint") < 0.5 * sum(p.numel() for p in whole.parameters())
    group.update([minibatches[2]], TERMS)
    uninterrupted = group.apply(adapter)[0]
    group.reset(config, LearnerNeeds(base=True))
    group.load_checkpoint(tmp_path / "checkpoint")
    group.update([minibatches[2]], TERMS)
    resumed = group.apply(adapter)[0]
    assert all((resumed[name] == uninterrupted[name]).all() for name in resumed)

    # In another layout the portable state, which holds the adapters alone too, gives the same up to rounding.
    config.learner.ranks, config.learner.zero_stage = 3 - ranks, 3 - stage
    other = groups[3 - ranks]
    other.reset(config)
    other.load_checkpoint(tmp_path / "checkpoint")
    other.update([minibatches[2]], TERMS)
    elsewhere = other.apply(adapter)[0]
    moved, expected = ({n: weights[n] - start[n] for n in start} for weights in (elsewhere, uninterrupted))
    assert relative_error(moved, expected) < 1e-5
    config.learner.ranks, config.learner.zero_stage = ranks, stage
    config.learner.lora = LORA | {"rank": 2}
    group.reset(config)
    with pytest.raises(InputError, match="learner.lora="):
        group.load_checkpoint(tmp_path / "checkpoint")


def test_in_bfloat16_the_sum_is_rounded_once():
    generator = torch.Generator().manual_seed(0)
    weight, a, b = (torch.randn(shape, generator=generator).bfloat16() for shape in ((32, 48), (4, 48), (32, 4)))
    exact = weight.double() + 0.5 * b.double() @ a.double()
    found = merged(weight, a=a, b=b, scale=0.5)
    assert found.dtype == torch.bfloat16 and (found == exact.bfloat16()).all()
    assert (weight + 0.5 * (b @ a) != exact.bfloat16()).any()  # which rounds three times


def test_the_adapters_are_the_seeds_and_off_is_the_model_itself(llama):
    def load(**kind):
        return load_policy(llama, "float32", attention="sdpa", **kind).model

    lora = Lora(4, 6.0, targets=tuple(TARGETS))
    first, again, other = (load(lora=lora, seed=seed) for seed in (3, 3, 4))
    a = "model.layers.0.self_attn.q_proj.lora_A.default.weight"
    assert (first.get_parameter(a) == again.get_parameter(a)).all()
    assert (first.get_parameter(a) != other.get_parameter(a)).any()
    plain = load()
    assert [w.name for w in weights_of(first)] == [name for name, _ in plain.named_parameters()]
    with torch.no_grad():
        for name, parameter in first.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
        ids = torch.arange(9)[None]
        expected = plain.base_model(ids).last_hidden_state
        with adapters_off(first):
            assert (first.base_model(ids).last_hidden_state == expected).all()
        assert (first.base_model(ids).last_hidden_state - expected).abs().max() > 1e-3
    assert {name for name, p in first.named_parameters() if p.requires_grad} == {
        name for name, _ in first.named_parameters() if "lora" in name
    }


@pytest.mark.parametrize("given, said", [
    ("{rank: 0}", "rank=0: expected a whole number from 1"),
    ("{}", "rank=None"),
    ("{rank: 2, alpha: 0}", "alpha=0: expected a number above 0"),
    ("{rank: 2, target: [q_proj]}", "unknown key target; known: rank, alpha, targets"),
    ("{rank: 2, targets: q_proj}", "expected a list of names of layers"),
])  # fmt: skip
def test_settings_without_meaning_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        load_config(None, [f"learner.lora={given}"])


@pytest.mark.parametrize("target", ["query", "lm_head", "embed_tokens", "mlp"])
def test_a_layer_that_is_not_there_is_told_with_those_that_are(llama, target):
    with pytest.raises(InputError, match=f"{target}: .* it has down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj"):
        check_targets(str(llama), Lora(2, 4.0, targets=(target,)))
    check_targets(str(llama), Lora(2, 4.0, targets=("self_attn.q_proj", "down_proj")))


def test_what_trains_more_than_adapters_or_moves_the_base_is_refused():
    class WithHead(Strategy):
        name = "with_head"

        def needs(self, config):
            return Needs(heads=("log_z",))

    config = Config()
    config.learner.lora = {"rank": 2}
    with pytest.raises(InputError, match="with_head: trains the head log_z besides"):
        check([WithHead()], config, problems=[])
    with pytest.raises(InputError, match="prorl: moves the base"):
        ProRL(every=1).check(config, [], [])
