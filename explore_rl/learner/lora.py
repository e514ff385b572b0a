"""LoRA: adapters of low rank are learnt beside weights that stay as they were (arXiv 2106.09685); they are peft's.

    W x + (alpha / rank) B A x        A: [rank, in]; B: [out, rank], zero at first

With its adapters off the policy is the base model, so that no frozen copy of it is held. Whoever takes the model's
weights (engines, `final/`, an export) gets W + (alpha / rank) B A under the checkpoint's own names, added in float32
and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from analysis.errors import InputError
from explore_rl.config.lora import Lora
from explore_rl.models import load_model_config

ADAPTER = "adapter"  # the folder beside the merged weights
NAME = "default"  # peft's name of the one adapter that a model has here
FACTORS = (f".lora_A.{NAME}.weight", f".lora_B.{NAME}.weight")
BASE_LAYER = ".base_layer."  # where peft puts the layer that gets an adapter
NO_PEFT = "the package peft is not installed; requirements/ has its version"
PEFT_PREFIX = "base_model.model."  # of names in peft's files


# --- adapters in a model ----------------------------------------------------------------------------------------------


def targets_of(model: Any, lora: Lora) -> list[str]:
    """The last words of the linear layers that get an adapter. Raises InputError for a target that is none of them."""
    projection = model.get_output_embeddings()
    linear = [
        name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not projection
    ]
    last = sorted({name.rpartition(".")[2] for name in linear})
    for target in lora.targets:
        if not any(name == target or name.endswith(f".{target}") for name in linear):
            raise InputError(
                f"learner.lora: targets: {target}: the model has no linear layer of that name (its output projection"
                f" cannot be one); it has {', '.join(last)}"
            )
    return list(lora.targets) or last


def check_targets(path: str, lora: Lora) -> None:
    """What `add_adapters` would refuse, seen from the model's shape before anything is loaded. Raises InputError.

    path: of the model, or its name.
    """
    from transformers import AutoModelForCausalLM

    if find_spec("peft") is None:
        raise InputError(f"learner.lora: {NO_PEFT}")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(load_model_config(path))
    targets_of(model, lora)


def add_adapters(model: Any, lora: Lora, *, seed: int) -> None:
    """Gives a transformers module its adapters, the only parameters that are learnt then.

    Raises InputError for an unknown target.

    seed: of the A matrices, which are the same on every rank.
    """
    from peft import inject_adapter_in_model

    inject_adapter_in_model(_peft_config(lora, targets=targets_of(model, lora)), model, adapter_name=NAME)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith(FACTORS[0]):
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5), generator=generator)


def _peft_config(lora: Lora, *, targets: list[str], base: str | None = None, inference: bool = False) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft divides by the rank, whole or not
        target_modules=targets,
        base_model_name_or_path=base,
        inference_mode=inference,
    )


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Within it the model is the base model. For reading: no adapter takes a gradient."""
    from peft.tuners.lora import LoraLayer

    layers: list[Any] = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


# --- the weights that others see --------------------------------------------------------------------------------------


def merged(weight: Tensor, *, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """weight + scale B A, added in float32 (float64 of one in float64) and rounded once to the weight's dtype.

    weight: [out, in], any float dtype.
    a: [rank, in].
    b: [out, rank].
    scale: alpha / rank.
    Returns [out, in].

    >>> merged(torch.eye(2), a=torch.tensor([[1.0, 0.0]]), b=torch.tensor([[0.0], [4.0]]), scale=0.5)
    tensor([[1., 0.],
            [2., 1.]])
    """
    precision = torch.promote_types(weight.dtype, torch.float32)
    product = b.to(precision) @ a.to(precision)
    return weight.to(precision).add(product, alpha=scale).to(weight.dtype)


@dataclass(frozen=True)
class Weight:
    """A weight of the model under the name that its checkpoint has for it.

    name: in the checkpoint.
    parameter: the weight, or what stays as it was beside an adapter.
    adapter: its A and B, where it has one.
    scale: alpha / rank.
    """

    name: str
    parameter: nn.Parameter
    adapter: tuple[nn.Parameter, ...] = ()
    scale: float = 1.0

    @property
    def parts(self) -> list[nn.Parameter]:
        """What has to be whole on this rank before `value` is asked for."""
        return [self.parameter, *self.adapter]

    def value(self) -> Tensor:
        """What the model computes with: the parameter's own memory where there is no adapter."""
        weight = self.parameter.data
        if not self.adapter:
            return weight
        a, b = self.adapter
        return merged(weight, a=a.data, b=b.data, scale=self.scale)


def weights_of(model: Any, *, every_name: bool = False) -> list[Weight]:
    """The weights of a transformers module, in their order, each with the adapter that belongs to it.

    every_name: a weight of several names comes under each of them; else under the first.
    """
    named = dict(model.named_parameters(remove_duplicate=not every_name))
    found = []
    for name, parameter in named.items():
        if name.endswith(FACTORS):
            continue
        layer = name.removesuffix(f"{BASE_LAYER}weight")
        adapter = tuple(named[layer + factor] for factor in FACTORS) if layer != name else ()
        scale = model.get_submodule(layer).scaling[NAME] if adapter else 1.0
        found.append(Weight(name.replace(BASE_LAYER, "."), parameter, adapter=adapter, scale=scale))
    return found


def merge_into(weights: dict[str, Tensor], adapter: Mapping[str, Tensor], *, scale: float) -> None:
    """Replaces in a model's weights those that have an adapter.

    weights: by the checkpoint's names.
    adapter: A and B by the names that they have in the model. They are rounded to the weights' dtype first, as a rank
        computes with them. Raises KeyError where a weight is missing.
    """
    for name in [name for name in adapter if name.endswith(FACTORS[0])]:
        layer = name.removesuffix(FACTORS[0])
        weight = weights[f"{layer}.weight"]
        a, b = (adapter[layer + factor].to(weight.dtype) for factor in FACTORS)
        weights[f"{layer}.weight"] = merged(weight, a=a, b=b, scale=scale)


def save_adapter(adapter: Mapping[str, Tensor], folder: Path, *, lora: Lora, base: str) -> None:
    """Writes A and B as peft's own files, which `peft.PeftModel.from_pretrained(base model, folder)` reads.

    adapter: as in `merge_into`.
    folder: is made.
    lora: what the adapters are.
    base: the base model, as the files name it.
    """
    folder.mkdir(parents=True)
    targets = sorted(
        {name.removesuffix(FACTORS[0]).rpartition(".")[2] for name in adapter if name.endswith(FACTORS[0])}
    )
    targets = list(lora.targets) or targets
    _peft_config(lora, targets=targets, base=base, inference=True).save_pretrained(str(folder))
    tensors = {PEFT_PREFIX + name.replace(f".{NAME}.", "."): value.contiguous() for name, value in adapter.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
