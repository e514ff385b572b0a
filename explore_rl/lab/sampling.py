"""The exact audit held against sampling.

Draws by another road (step by step, with a cache) must fit the probabilities that the audit states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import stats
from tqdm import tqdm
from transformers import DynamicCache, PreTrainedModel, TopPLogitsWarper

from explore_rl.lab.exact import ExactAudit
from explore_rl.lab.families import max_tokens_of
from explore_rl.types import Problem, Status
from explore_rl.verifiers.base import make_verifier


@torch.inference_mode()
def draw(
    model: PreTrainedModel,
    prompt_ids: list[int],
    *,
    count: int,
    max_tokens: int,
    top_p: float,
    generator: torch.Generator,
    temperature: float = 1.0,
) -> list[tuple[int, ...]]:
    """Completions of one prompt, as token ids.

    The end token is kept; it is missing where max_tokens cut a completion off.

    model: on the CPU.
    prompt_ids: the prompt.
    count: completions.
    max_tokens: limit on new tokens.
    top_p: nucleus mass.
    generator: what is drawn from.
    temperature: the softmax's.
    """
    # The prompt goes through the model once, and its cache is copied for every completion.
    end = model.config.eos_token_id
    warp: Any = TopPLogitsWarper(top_p)
    cache = DynamicCache()
    logits = model(torch.tensor([prompt_ids]), past_key_values=cache).logits[:, -1].expand(count, -1)
    cache.batch_repeat_interleave(count)
    tokens = torch.full((count, max_tokens), end)
    alive = torch.ones(count, dtype=torch.bool)
    lengths = 0
    for step in range(max_tokens):
        # One token of every completion; one that has ended goes on with end tokens.
        probabilities = torch.softmax(warp(None, logits.double() / temperature), dim=-1)
        drawn = torch.multinomial(probabilities, 1, generator=generator)
        tokens[:, step] = torch.where(alive, drawn[:, 0], end)
        lengths = step + 1
        alive &= drawn[:, 0] != end
        if not alive.any() or step + 1 == max_tokens:
            break
        logits = model(tokens[:, step : step + 1], past_key_values=cache).logits[:, -1]
    rows = tokens[:, :lengths].tolist()
    return [tuple(row[: row.index(end) + 1]) if end in row else tuple(row) for row in rows]


@torch.inference_mode()
def draw_counts(
    model: PreTrainedModel,
    prompt_ids: list[int],
    *,
    count: int,
    max_tokens: int,
    top_p: float,
    rng: np.random.Generator,
    temperature: float = 1.0,
) -> Counter[tuple[int, ...]]:
    """As `draw`, but how often each completion came: those that have begun alike are computed once.

    At every step the number of completions with one beginning is split multinomially over the next token, which is the
    same distribution.

    model: the checkpoint.
    prompt_ids: the prompt's tokens.
    count: completions drawn.
    max_tokens: the longest completion, the end token counted.
    top_p: nucleus mass.
    rng: what the draws depend on.
    temperature: the softmax's.
    Returns how often each completion came; its tokens include the end token where it has one.
    """
    end = model.config.eos_token_id
    warp: Any = TopPLogitsWarper(top_p)
    cache = DynamicCache()
    logits = model(torch.tensor([prompt_ids]), past_key_values=cache).logits[:, -1]
    found: Counter[tuple[int, ...]] = Counter()
    # Beginnings that still go on, one a row of the cache, and how many completions have each.
    begun = [()]
    counts = np.array([count])
    for step in range(max_tokens):
        chances = torch.softmax(warp(None, logits.double() / temperature), dim=-1).numpy()
        split = rng.multinomial(counts, chances / chances.sum(axis=1, keepdims=True))
        rows, tokens = np.nonzero(split)
        came = split[rows, tokens]
        # What has ended, by its end token or at the limit, is counted; the rest are the next step's beginnings.
        goes_on = (tokens != end) & (step + 1 < max_tokens)
        for row, token, times in zip(*(part[~goes_on].tolist() for part in (rows, tokens, came)), strict=True):
            found[(*begun[row], token)] += times
        rows = rows[goes_on]
        tokens = tokens[goes_on]
        counts = came[goes_on]
        if not len(rows):
            break
        begun = [(*begun[row], token) for row, token in zip(rows.tolist(), tokens.tolist(), strict=True)]
        # A beginning that splits takes its keys and values along, once a branch.
        cache.batch_select_indices(torch.from_numpy(rows))
        logits = model(torch.from_numpy(tokens)[:, None], past_key_values=cache).logits[:, -1]
    return found


def draw_all(
    model: PreTrainedModel,
    tokenizer: Any,
    *,
    problems: Sequence[Problem],
    draws: int,
    top_p: float = 1.0,
    temperature: float = 1.0,
    seed: int = 0,
    progress: bool = False,
) -> list[Counter[tuple[int, ...]]]:
    """Token sequences and how often each came, problem by problem.

    model, tokenizer: the checkpoint's.
    problems: from the laboratory.
    draws: in all, equally many (rounded down) for each problem.
    top_p: nucleus mass.
    temperature: the softmax's.
    seed: what all draws depend on.
    progress: whether a bar is shown.
    """
    rng = np.random.default_rng(seed)
    return [
        draw_counts(
            model,
            tokenizer(problem.prompt).input_ids,
            count=draws // len(problems),
            max_tokens=max_tokens_of(problem),
            top_p=top_p,
            rng=rng,
            temperature=temperature,
        )
        for problem in tqdm(problems, desc="sampling", unit="problem", disable=not progress)
    ]


@dataclass
class Check:
    """What the comparison found.

    draws, correct: how many there were.
    expected_correct, standard_deviation: of one such sample's correct draws, by the audit.
    unlisted: texts that the verifier accepts and the enumeration has not, or the other way round (must be empty).
    odd: draws whose text is a correct answer but whose tokens are not its one sequence (a padding token drawn inside).
    g, degrees, p_value: likelihood-ratio test of all counts against the exact probabilities.
    """

    draws: int = 0
    correct: int = 0
    expected_correct: float = 0.0
    standard_deviation: float = 0.0
    unlisted: list[str] = field(default_factory=list)
    odd: int = 0
    g: float = 0.0
    degrees: int = 0

    @property
    def p_value(self) -> float:
        return float(stats.chi2.sf(self.g, self.degrees))


def check(
    drawn: Sequence[Counter[tuple[int, ...]]],
    audit: ExactAudit,
    *,
    tokenizer: Any,
    problems: Sequence[Problem],
) -> Check:
    """Compares draws with an audit.

    drawn: what `draw_all` returned.
    audit: at the same temperature and top-p.
    tokenizer, problems: that were drawn with.
    """
    verifiers = {name: make_verifier(name) for name in {problem.verifier for problem in problems}}
    result = Check()
    variance = 0.0
    for position, (problem, counts) in enumerate(zip(problems, drawn, strict=True)):
        # Every text is judged twice, by the verifier and by the list of answers; correct ones are counted.
        answers = np.flatnonzero(audit.index.problem == position)
        listed = {audit.index.answers[i]: float(audit.answer_probabilities[i]) for i in answers}
        seen: Counter[str] = Counter()
        for tokens, count in counts.items():
            ended = tokens[-1] == tokenizer.eos_token_id
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            accepted = verifiers[problem.verifier](text, problem, truncated=not ended).status is Status.CORRECT
            if accepted != (ended and text in listed):
                result.unlisted.append(f"{problem.prompt}{text}")
            if accepted and len(tokens) != len(text) + 1:
                result.odd += count
            elif accepted:
                seen[text] += count
        # The problem's share of the sums.
        success = float(audit.success[position])
        draws = counts.total()
        variance += draws * success * (1 - success)
        result.draws += draws
        result.correct += seen.total()
        result.expected_correct += draws * success
        g, degrees = g_statistic(seen, listed, draws=draws)
        result.g += g
        result.degrees += degrees
    result.standard_deviation = variance**0.5
    return result


def g_statistic(seen: Counter[str], probabilities: dict[str, float], *, draws: int) -> tuple[float, int]:
    """G = 2 sum of observed * log(observed / expected) over one multinomial, and its degrees of freedom.

    The cells are each answer with at least 5 expected draws, all other answers together, and everything else. A cell of
    these last two that expects less than 5 is merged into its neighbour.

    seen: correct draws of each answer.
    probabilities: every answer's.
    draws: correct or not.
    """
    # Cells as (observed, expected).
    cells = [(seen[text], p * draws) for text, p in probabilities.items() if p * draws >= 5]
    rare = (
        sum(seen[text] for text, p in probabilities.items() if p * draws < 5),
        sum(p * draws for p in probabilities.values() if p * draws < 5),
    )
    rest = (draws - sum(seen.values()), draws * max(0.0, 1 - sum(probabilities.values())))
    for cell in (rare, rest):
        if cell[1] >= 5 or not cells:
            cells.append(cell)
        else:
            cells[-1] = (cells[-1][0] + cell[0], cells[-1][1] + cell[1])
    if len(cells) > 1 and cells[0][1] < 5:  # no answer was frequent: the rare ones came first
        cells[:2] = [(cells[0][0] + cells[1][0], cells[0][1] + cells[1][1])]
    g = 2 * sum(observed * np.log(observed / expected) for observed, expected in cells if observed)
    return float(g), len(cells) - 1
