"""The base model's card: what it was made of and its exact numbers, computed when it is built."""

from __future__ import annotations

import platform

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from explore_rl.lab import exact, logprobs, problems
from explore_rl.lab.base import Recipe

MEASURED = (
    "lab:countdown?level=3&split=audit&size=500",
    "lab:countdown?level=3&split=train&size=300",
    "lab:countdown?level=4&split=audit&size=500",
)
KS = (1, 4, 16, 64, 256, 1024, 8192)


def write(recipe: Recipe, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> str:
    """The card as Markdown."""
    # A row of pass@k for each set of problems, and one for each of its regions.
    passes = []
    regions = []
    for name in MEASURED:
        asked = problems.load(name)
        pairs, index = exact.sequences(asked, tokenizer)
        audit = exact.summarise(asked, index, logprobs=logprobs.completion_logprobs(model, pairs))
        short = name.partition("?")[2].replace("&", ", ")
        passes.append(f"| {short} | " + " | ".join(f"{value:.4f}" for value in audit.pass_at_k(KS).values()) + " |")
        for region, figures in audit.regions().items():
            counts = f"{figures['problems']} | {figures['modes']}"
            masses = f"{figures['mass']:.3g} | {figures['correct_in_a_million_draws']:.4g}"
            regions.append(f"| {short} | {region} | {counts} | {masses} |")
    # What it was made of.
    size = sum(parameter.numel() for parameter in model.parameters())
    operators = ", ".join(f"`{name}` {weight:g}" for name, weight in recipe.operator_weights.items())
    levels = ", ".join(f"{weight:.0%} with {count} numbers" for count, weight in recipe.level_weights.items())
    # A backslash joins lines that are one in the card.
    return f"""# The laboratory's base model

A Qwen2 of {size:,} parameters ({recipe.layers} layers, {recipe.hidden_size} wide, tied embeddings, float32, \
one character a token) that
answers countdown prompts: `5 3 10=8:` is to be continued by an expression such as `10+3-5` that uses each number \
once and equals 8.

Made by `explore-rl lab build-base --seed {recipe.seed} --steps {recipe.steps} --threads {recipe.threads}`
(torch {torch.__version__}, transformers {transformers.__version__}, {platform.machine()}); \
the recipe is in `recipe.json`.

## Pre-training

{recipe.steps:,} steps of {recipe.batch_size} random expressions in minimal writing: {levels}, numbers 1 to 12, \
random order and tree,
operators drawn with weights {operators}. Only expressions whose value is a target of their level are kept.

- **Division is left out**: no expression holds one.
- **A product with a bracketed sum is rare**: such an expression is kept with probability \
{recipe.product_of_sum:g}.
- With probability {recipe.wrong_target:g} the prompt shows a random target in place of the value, \
so the model is often wrong.

## Exact pass@k (temperature 1, no top-p)

| problems | {" | ".join(f"@{k}" for k in KS)} |
|---|{"---|" * len(KS)}
{chr(10).join(passes)}

## Exact mass of each region

Mass: probability that one draw at a random problem is a correct answer of the region. The last column is the expected \
number of such
draws in a million spread evenly over the problems; below 0.01 the region is out of reach of on-policy training, \
which draws
some 50,000 to a million completions.

| problems | region | problems with one | modes | mass | correct in a million draws |
|---|---|---|---|---|---|
{chr(10).join(regions)}

Computed by the build itself; `explore-rl lab exact` on this folder prints them again.
"""
