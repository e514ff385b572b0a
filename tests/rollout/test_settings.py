"""What the device decides for an engine, before any is started."""

from explore_rl.config.loading import load_config
from explore_rl.models import load_model_config
from explore_rl.rollout.settings import CPU_BLOCK, engine_environment, kv_cache_bytes


def test_a_cache_is_no_larger_than_it_can_be_used_and_never_larger_than_allowed():
    config = load_config(None, ["model.path=lab:base", "rollout.max_num_seqs=8", "rollout.kv_cache_gib=1"])
    shape = load_model_config("lab:base")
    context = shape.max_position_embeddings
    keys_and_values = 2 * shape.num_hidden_layers * shape.num_key_value_heads * 4
    of_a_sequence = keys_and_values * (shape.hidden_size // shape.num_attention_heads) * context
    size = kv_cache_bytes(config, "lab:base")
    assert 8 * of_a_sequence <= size <= 2 * 8 * of_a_sequence * max(1, CPU_BLOCK / context)
    config.rollout.max_num_seqs = 100_000
    assert kv_cache_bytes(config, "lab:base") == 2**30


def test_vllm_sets_up_loggers_where_somebody_asks_for_a_level(monkeypatch):
    config = load_config(None)
    monkeypatch.delenv("VLLM_LOGGING_LEVEL", raising=False)
    assert engine_environment(config, "cpu")["VLLM_CONFIGURE_LOGGING"] == "0"
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    asked = engine_environment(config, "cpu")
    assert asked["VLLM_LOGGING_LEVEL"] == "DEBUG" and "VLLM_CONFIGURE_LOGGING" not in asked
