"""Whether weights are those of the model that config.json describes, before any weight is read.

transformers makes up what a checkpoint does not hold, and drops what it has no place for, with a warning: such a run
would train another model than the one that was named.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from explore_rl.learner.head import refuse_unusual_head, unusual_settings
from explore_rl.weight_files import FLOATS, Stored

# model_type -> the causal model, of those that `usual_weights` writes out.
USUAL = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
# Buffers of older libraries, that nobody reads any more.
OUTLIVED = (".masked_bias", "rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached")
REGISTRY = "model_executor/models/registry.py"  # of vLLM: a line for each architecture that it has code for


def check_fits(
    folder: Path, config: Any, *, stored: Mapping[str, Stored], attention: str, drawn_from: bool = True
) -> list[str]:
    """Whether a checkpoint is a causal language model that learner and engine take, and holds all of its weights.

    folder: the checkpoint.
    config: its transformers configuration.
    stored: what `weight_files.check_weights` returned.
    attention: the learner's (model.attention).
    drawn_from: whether engines are to draw from it too.
    Returns warnings. Raises InputError.
    """
    _refuse_kind(config, stored, where=f"model.path={folder}")
    usual = None if unusual_settings(config) else usual_weights(config)
    found = {name: one.shape for name, one in stored.items()}
    if usual and found == usual and all(one.dtype in FLOATS for one in stored.values()):
        return []
    return _check_by_transformers(folder, config, attention=attention, drawn_from=drawn_from)


def _refuse_kind(config: Any, stored: Mapping[str, Stored], *, where: str) -> None:
    """Raises InputError for what is no causal model, and for weights that are quantized."""
    quantized = [
        f"{name} is stored as {one.dtype}"
        for name, one in stored.items()
        if name.endswith("weight") and one.dtype not in FLOATS
    ]
    if getattr(config, "quantization_config", None) is not None:
        quantized.insert(0, "config.json has quantization_config")
    if quantized:
        raise InputError(
            f"{where}: {quantized[0]}: quantized weights cannot be trained; give the model that they were made from"
        )
    if config.is_encoder_decoder:
        raise InputError(f"{where}: {config.model_type} has an encoder and a decoder; expected a causal language model")


def usual_weights(config: Any) -> dict[str, tuple[int, ...]] | None:
    """Name -> shape of the weights of the commonest models, written out; None for any other.

    It spares the start of nearly every run two seconds, in which transformers would import and make the model to say
    the same.

    config: the transformers configuration.
    """
    kind = config.model_type
    own = USUAL.get(kind)
    has_bias = getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False)
    if own is None or has_bias or own not in (config.architectures or [own]):
        return None
    width, inner = config.hidden_size, config.intermediate_size
    head = getattr(config, "head_dim", None) or width // config.num_attention_heads
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    block: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj.weight": (queries, width),
        "self_attn.k_proj.weight": (keys, width),
        "self_attn.v_proj.weight": (keys, width),
        "self_attn.o_proj.weight": (width, queries),
        "mlp.gate_proj.weight": (inner, width),
        "mlp.up_proj.weight": (inner, width),
        "mlp.down_proj.weight": (width, inner),
        "input_layernorm.weight": (width,),
        "post_attention_layernorm.weight": (width,),
    }
    if kind == "qwen2":
        block |= {f"self_attn.{name}_proj.bias": (size,) for name, size in (("q", queries), ("k", keys), ("v", keys))}
    if kind == "qwen3":
        block |= {"self_attn.q_norm.weight": (head,), "self_attn.k_norm.weight": (head,)}
    weights: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config.vocab_size, width),
        "model.norm.weight": (width,),
    }
    for layer in range(config.num_hidden_layers):
        weights |= {f"model.layers.{layer}.{name}": shape for name, shape in block.items()}
    if not config.tie_word_embeddings:
        weights["lm_head.weight"] = (config.vocab_size, width)
    return weights


def _check_by_transformers(folder: Path, config: Any, *, attention: str, drawn_from: bool) -> list[str]:
    """The same by transformers' own loading, of a model that has shapes and no numbers."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    where = f"model.path={folder}"
    # This machine may have neither GPU nor flash-attn.
    kind = None if attention == "flash_attention_2" else attention
    loader: Any = AutoModelForCausalLM
    settings: Any = {"config": config, "device_map": "meta", "attn_implementation": kind}
    try:
        with _quiet():
            model, report = loader.from_pretrained(
                folder, output_loading_info=True, ignore_mismatched_sizes=True, **settings
            )
    except UnpicklingError:
        raise InputError(f"{where}: its PyTorch file holds more than weights, or is damaged: not loaded") from None
    except (OSError, ValueError, ImportError, RuntimeError, KeyError, SafetensorError) as error:
        raise InputError(f"{where}: cannot be loaded: {_first_line(error)}") from None
    _refuse_architecture(model, where, drawn_from=drawn_from)
    refuse_unusual_head(model, where=where)
    if misfits := sorted(report["mismatched_keys"]):
        name, theirs, ours = misfits[0]
        raise InputError(
            f"{where}: {name} is {list(theirs)}, by config.json {list(ours)}{_and_more(misfits)}: they do not belong "
            "together"
        )
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"{where}: holds no {missing[0]}{_and_more(missing)}, which the model of config.json has; is the download "
            "whole, and config.json the right one?"
        )
    unused = sorted(name for name in report["unexpected_keys"] if not name.endswith(OUTLIVED))
    # What stands where the model has layers of its own is of a larger model, or of another form of it.
    own = {name for name, _ in model.named_children()}
    of_model = [name for name in unused if name.partition(".")[0] in own]
    if of_model:
        raise InputError(
            f"{where}: the model of config.json has no place for {of_model[0]}{_and_more(of_model)}: they do not"
            " belong together"
        )
    if unused:
        return [f"{where}: {unused[0]}{_and_more(unused)} is no part of the model, and the learner leaves it out"]
    return []


def _refuse_architecture(model: Any, where: str, *, drawn_from: bool) -> None:
    """Raises InputError where config.json names another class than the causal model, or one that vLLM cannot draw from.

    model: as transformers makes it for config.json's model_type.
    where: what the message begins with.
    drawn_from: whether vLLM is to draw from it.
    """
    mine = type(model).__name__
    named = getattr(model.config, "architectures", None) or [mine]
    if mine.lower() not in [name.lower() for name in named]:
        raise InputError(
            f"{where}: config.json says {', '.join(named)}; expected a causal language model ({mine}, of this kind)"
        )
    if drawn_from and mine not in _served() and not type(model).is_backend_compatible():
        raise InputError(f"{where}: vLLM has no {mine}, so that no engine could draw from it")


def _served() -> set[str]:
    """Architectures that vLLM has code for, read in its source: importing it takes seconds."""
    vllm = find_spec("vllm")
    folders = (vllm and vllm.submodule_search_locations) or []
    found = [Path(folder) / REGISTRY for folder in folders]
    return {
        name for file in found if file.is_file() for name in re.findall(r'^    "(\w+)": \(', file.read_text(), re.M)
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar and its table of weights, which is told in one line."""
    from transformers.utils import logging as spoken

    level, bar = spoken.get_verbosity(), spoken.is_progress_bar_enabled()
    spoken.set_verbosity(logging.CRITICAL)
    spoken.disable_progress_bar()
    try:
        yield
    finally:
        spoken.set_verbosity(level)
        if bar:
            spoken.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _and_more(names: list) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
