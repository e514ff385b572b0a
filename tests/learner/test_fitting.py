"""Weights that are written out are those of the model; what checkpoints are refused for is in test_preflight.py."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from explore_rl.learner.fitting import usual_weights


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama", "mistral"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_weights_that_are_written_out_are_those_that_transformers_makes(kind, tied):
    sizes = {"hidden_size": 12, "num_attention_heads": 3, "num_key_value_heads": 1, "intermediate_size": 20}
    config = AutoConfig.for_model(kind, vocab_size=21, num_hidden_layers=2, tie_word_embeddings=tied, **sizes)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert usual_weights(config) == {name: tuple(value.shape) for name, value in model.named_parameters()}
    config.architectures = ["SomeForSequenceClassification"]
    assert usual_weights(config) is None
