"""Log-probabilities of given completions under a Hugging Face model, teacher-forced, at any temperature and top-p.

What is read of a state is the learner's (learner/head.py), soft-maxed in float64 here. The forward pass is not: an
audit asks one prompt for hundreds of short answers, and the prompt's keys and values, computed once, cost less than
the learner's dense masks over bundles. It also needs no ranks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from analysis.errors import InputError
from explore_rl.learner.head import read_chunks, refuse_unusual_head
from explore_rl.models import folder_of
from explore_rl.objectives.readouts import Readout, logprob, nucleus_logprob

LONG = 16  # tokens from which a shared beginning is computed once


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
    check_settings(temperature, top_p)
    readout = nucleus_logprob(temperature, top_p) if top_p < 1 else logprob(temperature)
    sequences = [(np.array([*prompt, *completion]), len(prompt)) for prompt, completion in pairs]
    values = token_values(model, sequences, readouts=(readout,), tokens_per_batch=tokens_per_batch, progress=progress)
    return np.array([of_tokens.sum() for (of_tokens,) in values])


def check_settings(temperature: float, top_p: float) -> None:
    """Raises InputError for a temperature or top_p without meaning."""
    if temperature <= 0 or not 0 < top_p <= 1:
        raise InputError(f"temperature must be above 0 and top-p in (0, 1], got {temperature} and {top_p}")


@torch.inference_mode()
def token_values(
    model: PreTrainedModel,
    sequences: Sequence[tuple[np.ndarray, int]],
    *,
    readouts: tuple[Readout, ...],
    tokens_per_batch: int = 16384,
    progress: bool = False,
) -> list[tuple[np.ndarray, ...]]:
    """For each sequence, for each readout of log p, float64 [L - begin]: of every token from `begin` on.

    Long beginnings that sequences share go through the model once. What else is in a batch changes a result only by
    float rounding. Raises InputError for a model whose logits are not hidden state times matrix.

    model: on any device.
    sequences: (token ids [L], begin >= 1) each.
    readouts: what is read of each token.
    tokens_per_batch: about so many tokens, padding included, go through the model at a time.
    progress: whether a bar is shown.
    """
    refuse_unusual_head(model, where=model.name_or_path or "the model")
    values: list[Any] = [None] * len(sequences)
    bar = tqdm(total=len(sequences), desc="scoring", unit="answer", disable=not progress)
    for prefix, members in _by_prefix(sequences):
        known = _keys_and_values(model, prefix) if prefix else None
        rest = [(sequences[i][0][len(prefix) :], sequences[i][1] - len(prefix)) for i in members]
        # A beginning's keys and values are there once a row.
        for batch in _batches([len(sequences[i][0]) for i in members], tokens_per_batch):
            found = _values(model, [rest[i] for i in batch], known=known, readouts=readouts)
            for i, of_sequence in zip(batch, found, strict=True):
                values[members[i]] = of_sequence
            bar.update(len(batch))
    bar.close()
    return values


def _by_prefix(sequences: Sequence[tuple[np.ndarray, int]]) -> list[tuple[tuple[int, ...], list[int]]]:
    """Indices of sequences with the same beginning, where it is long and several have it; else all of them together.

    The last token before `begin` is no part of a beginning: what stands behind it is predicted there.
    """
    together: dict[tuple[int, ...], list[int]] = {}
    for i, (tokens, begin) in enumerate(sequences):
        together.setdefault(tuple(map(int, tokens[: begin - 1])), []).append(i)
    groups = [(prefix, members) for prefix, members in together.items() if len(prefix) >= LONG and len(members) > 1]
    taken = {i for _, members in groups for i in members}
    rest = [i for i in range(len(sequences)) if i not in taken]
    return [*groups, *([((), rest)] if rest else [])]


def _keys_and_values(model: PreTrainedModel, prefix: tuple[int, ...]) -> Any:
    """What attention keeps of a beginning."""
    tokens = torch.tensor([prefix], device=model.device)
    return model.base_model(tokens, use_cache=True).past_key_values


def _values(
    model: PreTrainedModel,
    sequences: list[tuple[np.ndarray, int]],
    *,
    known: Any,
    readouts: tuple[Readout, ...],
) -> Iterator[tuple[np.ndarray, ...]]:
    """The values of a batch. sequences: what follows the beginning of which `known` is kept, if any."""
    # Padded right, which causal attention does not see.
    rows = [torch.from_numpy(np.asarray(tokens, dtype=np.int64)) for tokens, _ in sequences]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    options: dict[str, Any] = {"use_cache": False}
    if known is not None:
        cache = copy.deepcopy(known)
        cache.batch_repeat_interleave(len(rows))
        options = {"use_cache": True, "past_key_values": cache}
    hidden = model.base_model(tokens.to(model.device), **options).last_hidden_state
    # The hidden state one position before a token predicts it.
    begins = [begin for _, begin in sequences]
    counts = [len(ids) - begin for ids, begin in zip(rows, begins, strict=True)]
    places = enumerate(zip(begins, counts, strict=True))
    scored = torch.cat([hidden[row, begin - 1 : begin - 1 + count] for row, (begin, count) in places])
    targets = torch.cat([ids[begin:] for ids, begin in zip(rows, begins, strict=True)])
    projection: Any = model.get_output_embeddings()
    found = read_chunks(
        scored,
        projection.weight,
        targets=targets.to(scored.device),
        readouts=readouts,
        precision=torch.float64,
    )
    whole = [of_readout.cpu().split(counts) for of_readout in found]
    for of_sequence in zip(*whole, strict=True):
        yield tuple(part.numpy() for part in of_sequence)


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
