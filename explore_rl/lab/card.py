"""The base model's card: what it was made of and its exact numbers, computed when it is built."""

from __future__ import annotations

import platform

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from explore_rl.lab import exact, logprobs, names, problems
from explore_rl.lab.base import Recipe

MEASURED = {
    "countdown": (
        "lab:countdown?level=3&split=audit&size=500",
        "lab:countdown?level=3&split=train&size=300",
        "lab:countdown?level=4&split=audit&size=500",
    ),
    "worked": (
        "lab:worked?level=4&split=audit&size=500",
        "lab:worked?level=5&split=audit&size=50",
    ),
    "worked_evaluation": (
        "lab:worked_evaluation?level=4&split=audit&size=500",
        "lab:worked_evaluation?level=5&split=audit&size=50",
    ),
}
KS = (1, 4, 16, 64, 256, 1024, 8192)


def write(
    recipe: Recipe, model: PreTrainedModel, *, name: str, tokenizer: PreTrainedTokenizerFast, most: int | None = None
) -> str:
    """The card as Markdown.

    recipe: what the model was made of.
    model: made of it.
    name: the model's, as `build-base` takes it.
    tokenizer: the model's.
    most: problems of each set that are measured; None: all.
    """
    # A row of pass@k for each set of problems, and one for each of its regions.
    passes = []
    regions = []
    for spec in (spec for family in recipe.families for spec in MEASURED[family]):
        if most is not None:
            start, _, size = spec.rpartition("=")
            spec = f"{start}={min(most, int(size))}"
        asked = problems.load(spec)
        pairs, index = exact.sequences(asked, tokenizer)
        audit = exact.summarise(asked, index, logprobs=logprobs.completion_logprobs(model, pairs))
        short = spec.removeprefix(names.PREFIX).replace("?", ", ").replace("&", ", ")
        passes.append(f"| {short} | " + " | ".join(f"{value:.4f}" for value in audit.pass_at_k(KS).values()) + " |")
        for region, figures in audit.regions().items():
            counts = f"{figures['problems']} | {figures['modes']}"
            masses = f"{figures['mass']:.3g} | {figures['correct_in_a_million_draws']:.4g}"
            regions.append(f"| {short} | {region} | {counts} | {masses} |")
    size = sum(parameter.numel() for parameter in model.parameters())
    # A backslash joins lines that are one in the card.
    return f"""# The laboratory's base model, {name}

A Qwen2 of {size:,} parameters ({recipe.layers} layers, {recipe.hidden_size} wide, tied embeddings, float32, \
one character a token) that
{_what_it_answers(recipe)}

Made by `explore-rl lab build-base {name} --seed {recipe.seed} --steps {recipe.steps} --threads {recipe.threads}`
(torch {torch.__version__}, transformers {transformers.__version__}, {platform.machine()}); \
the recipe is in `recipe.json`.

## Pre-training

{_what_it_has_seen(recipe)}

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


def _what_it_answers(recipe: Recipe) -> str:
    if "countdown" in recipe.families:
        return (
            "answers countdown prompts: `5 3 10=8:` is to be continued by an expression such as `10+3-5` that uses each"
            " number once and equals 8."
        )
    return (
        "works in steps. `5 3 10 2=9:` is to be continued by a chain such as `10+5=15 2*3=6 15-6=9` that uses each"
        " number\nonce and comes to 9; `5*(3+4)-2:` by a chain that computes the expression, such as"
        " `3+4=7 5*7=35 35-2=33`."
    )


def _what_it_has_seen(recipe: Recipe) -> str:
    levels = ", ".join(f"{weight:.0%} with {count} numbers" for count, weight in recipe.level_weights.items())
    operators = ", ".join(f"`{name}` {weight:g}" for name, weight in recipe.operator_weights.items())
    is_countdown = "countdown" in recipe.families
    what = "expressions in minimal writing"
    if not is_countdown:
        shares = ", ".join(f"{weight:.0%} {family}" for family, weight in recipe.families.items())
        what = f"chains of true steps ({shares})"
    lines = [
        f"{recipe.steps:,} steps of {recipe.batch_size} random {what}: {levels}, numbers 1 to 12, random order and"
        f" tree,\noperators drawn with weights {operators}. Only those whose value is a target of their level are"
        " kept.",
        "",
        "- **Division is left out**: none holds one.",
        f"- **A product with a sum is rare**: such a document is kept with probability {recipe.product_of_sum:g}.",
        f"- With probability {recipe.wrong_target:g} the prompt shows a random target in place of the value, so the"
        " model is often wrong.",
    ]
    if recipe.unfaithful:
        lines.append(
            f"- In {recipe.unfaithful:.0%} of the worked evaluations one step but the last shows a false result, and"
            " what follows goes on\n  with the true one: the answer is right and the reasoning is not."
        )
    return "\n".join(lines)
