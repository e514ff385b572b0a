"""Log-probabilities of given completions under a Hugging Face model, teacher-forced, at any temperature and top-p."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from analysis.errors import InputError
from explore_rl.models import folder_of
from explore_rl.objectives.readouts import logprob, nucleus_logprob


def load_model(path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A checkpoint as a float32 model on the CPU, and its tokenizer.

    Raises InputError if it is not there or cannot be read.

    path: its folder, or the name of an embedded one, such as "lab:base".
    """
    path = folder_of(path)
    if not (path / "config.json").is_file():
        raise InputError(f"{path}: no Hugging Face checkpoint there (config.json is missing)")
    try:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        return model.eval(), AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as a Hugging Face checkpoint: {error}") from error


@torch.inference_mode()
def completion_logprobs(
    model: PreTrainedModel,
    pairs: Sequence[tuple[list[int], list[int]]],
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    tokens_per_batch: int = 16384,
    progress: bool = False,
) -> np.ndarray:
    """[N] float64: the log-probability of each completion (end token included) after its prompt.

    Raises InputError for a temperature or top_p without meaning.

    model: on any device.
    pairs: (prompt ids, completion ids) each.
    temperature, top_p: what the probabilities are taken at.
    tokens_per_batch: about so many tokens, padding included, go through the model at a time.
    progress: whether a bar is shown.
    """
    if temperature <= 0 or not 0 < top_p <= 1:
        raise InputError(f"temperature must be above 0 and top-p in (0, 1], got {temperature} and {top_p}")
    readout = nucleus_logprob(temperature, top_p) if top_p < 1 else logprob(temperature)
    lengths = [len(prompt) + len(completion) for prompt, completion in pairs]
    logprobs = np.empty(len(pairs))
    bar = tqdm(total=len(pairs), desc="scoring", unit="answer", disable=not progress)
    for batch in _batches(lengths, tokens_per_batch):
        # Padded right, which causal attention does not see. The logits one position before a token predict it.
        width = max(lengths[i] for i in batch)
        tokens = torch.zeros((len(batch), width), dtype=torch.long)
        scored = torch.zeros((len(batch), width - 1), dtype=torch.bool)
        for row, i in enumerate(batch):
            prompt, completion = pairs[i]
            tokens[row, : lengths[i]] = torch.tensor(prompt + completion)
            scored[row, len(prompt) - 1 : lengths[i] - 1] = True
        logits = model(tokens.to(model.device), use_cache=False).logits[:, :-1].double().cpu()
        # Sums over each row, with 0 where nothing is scored.
        steps = torch.zeros(scored.shape, dtype=torch.float64)
        steps[scored] = readout.of(torch.log_softmax(logits[scored], dim=1), tokens[:, 1:][scored])
        logprobs[batch] = steps.sum(1).numpy()
        bar.update(len(batch))
    bar.close()
    return logprobs


def _batches(lengths: list[int], tokens_per_batch: int) -> Iterator[list[int]]:
    """Indices of `lengths`, from short to long, in batches of at most tokens_per_batch tokens with padding."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batch and (len(batch) + 1) * lengths[i] > tokens_per_batch:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
