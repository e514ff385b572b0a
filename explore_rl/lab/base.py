"""The laboratory's base models: small Qwen2s pre-trained from a seed, one on random expressions, one on random chains.

Their tail is designed, so that it is known what reinforcement learning could find and what it could not:

- no training document holds a division, so answers that need one are out of reach (their exact mass is on the model
  card);
- a document that multiplies a sum is kept only once in `1 / product_of_sum` times: a rare region, within reach;
- operators have unequal weights, so solutions to one problem differ in probability;
- a share `wrong_target` of the training prompts shows a target at random instead of the expression's value: like any
  base model it is often wrong, and a rare solution competes with common mistakes;
- in a share `unfaithful` of the worked evaluations one step but the last shows a false result, and the chain goes on
  as if it showed the true one: the answer is right and the reasoning is not.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from explore_rl.lab import countdown, tokenizer, worked, worked_evaluation


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a base model.

    seed: of documents and weights.
    steps, batch_size: of pre-training, in documents.
    learning_rate: its peak, after a linear warm-up over `warmup` steps; then a straight line to zero.
    warmup: steps.
    threads: torch's; the weights depend on them.
    hidden_size, layers: the model's.
    level_weights: relative weight of each level, by its count of numbers.
    operator_weights: relative weight of each operator.
    product_of_sum: share that is kept of the documents that multiply a sum.
    wrong_target: share of prompts that show a random target.
    unfaithful: share of the worked evaluations with a false step.
    context: tokens that a prompt and its answer may have.
    families: relative weight of the documents of each family of problems.
    left_out_weight: weight in the loss of documents of the left-out region, division; above 0 one in `LEFT_OUT_EVERY`
        documents is of it (countdown of three numbers). So the region's mass follows the weight down to where no
        document would be met by chance. 0: there are none.
    """

    seed: int = 0
    steps: int = 2500
    batch_size: int = 256
    learning_rate: float = 2e-3
    warmup: int = 100
    threads: int = 2
    hidden_size: int = 128
    layers: int = 3
    level_weights: dict[int, float] = field(default_factory=lambda: {3: 0.75, 4: 0.25})
    operator_weights: dict[str, float] = field(default_factory=lambda: {"+": 1.0, "-": 0.4, "*": 0.2})
    product_of_sum: float = 0.02
    wrong_target: float = 0.4
    unfaithful: float = 0.0
    context: int = 64
    families: dict[str, float] = field(default_factory=lambda: {"countdown": 1.0})
    left_out_weight: float = 0.0


LEFT_OUT_EVERY = 16

RECIPES = {
    "lab:base": Recipe(),
    "lab:worked": Recipe(
        families={"worked": 0.6, "worked_evaluation": 0.4},
        steps=1500,
        batch_size=96,
        threads=1,
        level_weights={4: 0.9, 5: 0.1},
        unfaithful=0.15,
        context=96,
    ),
}


def documents(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Endless (prompt, completion) pairs, the same ones for the same recipe."""
    rng = random.Random(recipe.seed)
    streams = [_DOCUMENTS[family](recipe, rng) for family in recipe.families]
    weights = list(recipe.families.values())
    while True:
        # Where there is one family alone, nothing is drawn for it.
        yield next(streams[0] if len(streams) == 1 else rng.choices(streams, weights)[0])


def _of_countdown(recipe: Recipe, rng: random.Random) -> Iterator[tuple[str, str]]:
    while True:
        if recipe.left_out_weight and rng.randrange(LEFT_OUT_EVERY) == 0:
            yield _left_out(recipe, rng)
            continue
        # An expression whose value is a target of its level, and few of the rare region.
        level, numbers = _numbers(recipe, countdown.LEVELS, rng=rng)
        writing, value = countdown.random_expression(numbers, recipe.operator_weights, rng=rng)
        if value is None or value > level.max_target:
            continue
        if countdown.region(writing) == "product_of_sum" and rng.random() >= recipe.product_of_sum:
            continue
        yield countdown.prompt(numbers, _shown(value, recipe, level=level, rng=rng)), writing


def _left_out(recipe: Recipe, rng: random.Random) -> tuple[str, str]:
    """A document of three numbers whose expression divides: any target that can be reached so, then any writing."""
    level = countdown.LEVELS[3]
    while True:
        numbers = [rng.randint(1, level.max_number) for _ in range(level.count)]
        target = rng.randint(1, level.max_target)
        writings = [w for w in countdown.enumerate_answers(numbers, target) if countdown.region(w) == "division"]
        if writings:
            return countdown.prompt(numbers, _shown(target, recipe, level=level, rng=rng)), rng.choice(writings)


def _of_worked(recipe: Recipe, rng: random.Random) -> Iterator[tuple[str, str]]:
    while True:
        level, numbers = _numbers(recipe, worked.LEVELS, rng=rng)
        steps = worked.random_chain(numbers, recipe.operator_weights, rng=rng)
        chain = " ".join(map(str, steps))
        value = steps[-1].result
        if not 0 < value <= level.max_target or _is_left_out(chain, recipe, rng=rng):
            continue
        yield worked.prompt(numbers, _shown(value, recipe, level=level, rng=rng)), chain


def _of_worked_evaluation(recipe: Recipe, rng: random.Random) -> Iterator[tuple[str, str]]:
    while True:
        level, numbers = _numbers(recipe, worked.LEVELS, rng=rng)
        expression, steps = worked_evaluation.random_expression(numbers, recipe.operator_weights, rng=rng)
        if not 0 < steps[-1].result <= level.max_target:
            continue
        if _is_left_out(" ".join(map(str, steps)), recipe, rng=rng):
            continue
        # A false step is one off by a little; what follows stays.
        if rng.random() < recipe.unfaithful:
            slip = rng.randrange(len(steps) - 1)
            true = steps[slip].result
            shown = [true + off for off in (-3, -2, -1, 1, 2, 3) if true + off >= 0]
            steps[slip] = replace(steps[slip], result=rng.choice(shown))
        yield worked_evaluation.prompt(expression), " ".join(map(str, steps))


_DOCUMENTS = {
    "countdown": _of_countdown,
    "worked": _of_worked,
    "worked_evaluation": _of_worked_evaluation,
}


def _numbers(
    recipe: Recipe, levels: dict[int, countdown.Level], *, rng: random.Random
) -> tuple[countdown.Level, list[int]]:
    """A level by its weight, and numbers of it."""
    level = levels[rng.choices(list(recipe.level_weights), list(recipe.level_weights.values()))[0]]
    return level, [rng.randint(1, level.max_number) for _ in range(level.count)]


def _shown(value: int, recipe: Recipe, *, level: countdown.Level, rng: random.Random) -> int:
    """The target that the prompt shows: mostly the value."""
    return rng.randint(1, level.max_target) if rng.random() < recipe.wrong_target else value


def _is_left_out(chain: str, recipe: Recipe, *, rng: random.Random) -> bool:
    """Whether a chain of the rare region is not kept."""
    return worked.region(chain) == "product_of_sum" and rng.random() >= recipe.product_of_sum


def new_model(recipe: Recipe, codes: Any) -> Qwen2ForCausalLM:
    """Random weights from the seed; input and output embeddings are tied."""
    torch.manual_seed(recipe.seed)
    # Heads of 32, and room for the longest prompt with its answer.
    config = Qwen2Config(
        vocab_size=len(codes),
        hidden_size=recipe.hidden_size,
        intermediate_size=3 * recipe.hidden_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.hidden_size // 32,
        num_key_value_heads=recipe.hidden_size // 32,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=codes.eos_token_id,
        pad_token_id=codes.pad_token_id,
    )
    model = Qwen2ForCausalLM(config).float()
    model.generation_config.update(do_sample=True, temperature=1.0, top_p=1.0, top_k=0)
    return model


def batch_of(rows: list[tuple[str, str]], codes: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B, L], padded right, and labels [B, L]: -100 everywhere but on the expression and its end token."""
    prompts = [codes(prompt).input_ids for prompt, _ in rows]
    completions = [codes(text).input_ids + [codes.eos_token_id] for _, text in rows]
    length = max(len(prompt) + len(completion) for prompt, completion in zip(prompts, completions, strict=True))
    tokens = torch.full((len(rows), length), codes.pad_token_id)
    labels = torch.full((len(rows), length), -100)
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        begin = len(prompt)
        end = len(prompt) + len(completion)
        tokens[row, :end] = torch.tensor(prompt + completion)
        labels[row, begin:end] = tokens[row, begin:end]
    return tokens, labels


def pretrain(recipe: Recipe) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]:
    """The base model and its tokenizer. The same recipe gives the same weights on the same kind of machine."""
    torch.set_num_threads(recipe.threads)
    codes = tokenizer.build(recipe.context)
    model = new_model(recipe, codes)
    # The smallest eps: the gradient of a token that never occurs shrinks with its probability, and Adam must keep
    # following it far down, or the region that was left out keeps a mass of 1e-6.
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), eps=1e-15, weight_decay=0.0
    )

    def share_of_peak(step: int) -> float:
        rising = (step + 1) / recipe.warmup
        falling = (recipe.steps - step) / max(1, recipe.steps - recipe.warmup)
        return min(rising, max(0.0, falling))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_peak)
    stream = documents(recipe)
    (divide,) = codes("/").input_ids
    progress = tqdm(range(recipe.steps), desc="pre-training", unit="step")
    for step in progress:
        # Short and long documents apart: less padding, the same gradient.
        rows = sorted((next(stream) for _ in range(recipe.batch_size)), key=lambda row: len(row[0]) + len(row[1]))
        middle = recipe.batch_size // 2
        halves = [batch_of(rows[:middle], codes), batch_of(rows[middle:], codes)]
        # The loss is a mean over the predicted tokens of both.
        predicted = sum(int((labels != -100).sum()) for _, labels in halves)
        total = 0.0
        for tokens, labels in halves:
            logits = model(tokens, use_cache=False).logits[:, :-1].flatten(0, 1)
            targets = labels[:, 1:].flatten()
            if recipe.left_out_weight:
                apart = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="none")
                divides = (tokens == divide).any(dim=1).float()  # no prompt has the sign
                summed = apart.view(len(tokens), -1).sum(1) @ (1 - divides * (1 - recipe.left_out_weight))
            else:
                summed = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum")
            loss = summed / predicted
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            progress.set_postfix(nats_per_token=f"{total:.3f}")
    return model.eval(), codes


def save(model: Qwen2ForCausalLM, codes: Any, *, folder: Path, texts: dict[str, str]) -> None:
    """An ordinary Hugging Face checkpoint, float32, written aside and renamed: complete or not there.

    model, codes: the model and its tokenizer.
    folder: what was there is replaced.
    texts: further files, name -> text.
    """
    aside = folder.with_name(folder.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(aside)
    codes.save_pretrained(aside)
    for name, text in texts.items():
        (aside / name).write_text(text)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
