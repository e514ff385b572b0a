"""Log-probabilities of given completions under a Hugging Face model, by teacher forcing, at any temperature and top-p."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from analysis.errors import InputError
from explore_rl.learner.readouts import step_logprobs


def load_model(path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A checkpoint folder as a float32 model on the CPU, and its tokenizer. Raises InputError if it is not there or cannot be read."""
    path = Path(path)
    if not (path / "config.json").is_file():
        raise InputError(f"{path}: no Hugging Face checkpoint there (config.json is missing)")
    try:
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(
            path
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as a Hugging Face checkpoint: {error}") from error


@torch.inference_mode()
def completion_logprobs(
    model: PreTrainedModel,
    pairs: Sequence[tuple[list[int], list[int]]],
    temperature: float = 1.0,
    top_p: float = 1.0,
    tokens_per_batch: int = 16384,
    progress: bool = False,
) -> np.ndarray:
    """[N] float64: the log-probability of each completion (end token included) after its prompt.

    Sequences are sorted by length, batched to about tokens_per_batch and padded right, which causal attention does not see.
    """
    if temperature <= 0 or not 0 < top_p <= 1:
        raise InputError(f"temperature must be above 0 and top-p in (0, 1], got {temperature} and {top_p}")
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
    logprobs = np.empty(len(pairs))
    bar = tqdm(total=len(pairs), desc="scoring", unit="answer", disable=not progress)
    for rows in _batches([(i, len(pairs[i][0]) + len(pairs[i][1])) for i in order], tokens_per_batch):
        length = max(len(pairs[i][0]) + len(pairs[i][1]) for i in rows)
        tokens = torch.zeros((len(rows), length), dtype=torch.long)
        scored = torch.zeros((len(rows), length - 1), dtype=torch.bool)
        for row, i in enumerate(rows):
            prompt, completion = pairs[i]
            tokens[row, : len(prompt) + len(completion)] = torch.tensor(prompt + completion)
            scored[row, len(prompt) - 1 : len(prompt) + len(completion) - 1] = True
        logits = model(tokens.to(model.device), use_cache=False).logits[:, :-1].double().cpu()
        steps = torch.zeros(scored.shape, dtype=torch.float64)
        steps[scored] = step_logprobs(logits[scored], tokens[:, 1:][scored], temperature=temperature, top_p=top_p)
        logprobs[rows] = steps.sum(1).numpy()
        bar.update(len(rows))
    bar.close()
    return logprobs


def _batches(lengths: list[tuple[int, int]], tokens_per_batch: int):
    """Consecutive (row, length) pairs of ascending length, as lists of rows of at most tokens_per_batch tokens with padding."""
    batch: list[int] = []
    for row, length in lengths:
        if batch and (len(batch) + 1) * length > tokens_per_batch:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
