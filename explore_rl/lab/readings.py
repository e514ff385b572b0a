"""What is read of a model for an exact audit, and the audit from it; the same for the learner in training and for a
checkpoint.

    readouts = readouts_for(problems, tokenizer, temperature=1.0)
    values = model(asked(pairs), readouts)           per sequence and readout, of every token from its `begin` on
    audit = audit_from(problems, index, pairs=pairs, values=values)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from explore_rl.lab import exact
from explore_rl.lab.families import family_of
from explore_rl.objectives.readouts import Readout, logprob, mass_of, nucleus_logprob
from explore_rl.real.tokens import digit_ids
from explore_rl.types import Problem

SEVERAL = 4  # so many answers a prompt, on average, and each prompt is computed once for all of its answers


def readouts_for(
    problems: Sequence[Problem], tokenizer: Any, *, temperature: float = 1.0, top_p: float = 1.0
) -> tuple[Readout, ...]:
    """The log-probability of each token, and, where answers end with a newline, the mass of the digits in its place.

    problems: whose answers are read; their families say how answers end.
    tokenizer: the model's.
    temperature, top_p: what the probabilities are taken at.
    """
    first = nucleus_logprob(temperature, top_p) if top_p < 1 else logprob(temperature)
    if top_p < 1 or not all(family_of(problem).end for problem in problems):
        return (first,)
    return first, mass_of(digit_ids(tokenizer), temperature)


def asked(pairs: Sequence[tuple[list[int], list[int]]]) -> list[tuple[np.ndarray, int]]:
    """(token ids, begin) of each sequence: sequences with the same beginning up to `begin` compute it once.

    That is the prompt where prompts have several answers each, else what all prompts begin with (their shots).

    pairs: (prompt ids, completion ids) each.
    """
    prompts = {tuple(prompt) for prompt, _ in pairs}
    shared = len(os.path.commonprefix(list(prompts)))  # of any sequences, whatever its name says
    by_prompt = len(pairs) >= SEVERAL * len(prompts) or shared == 0
    tokens = [np.array([*prompt, *completion], dtype=np.int32) for prompt, completion in pairs]
    begins = [len(prompt) if by_prompt else min(shared, len(prompt)) for prompt, _ in pairs]
    return list(zip(tokens, begins, strict=True))


def audit_from(
    problems: Sequence[Problem],
    index: exact.Index,
    *,
    pairs: Sequence[tuple[list[int], list[int]]],
    values: Sequence[tuple[np.ndarray, ...]],
    settings: dict[str, Any] | None = None,
) -> exact.ExactAudit:
    """The audit of what was read.

    problems, index, pairs: as `exact.sequences` takes and gives them.
    values: for each sequence, for each readout of `readouts_for`, one number a token; at least of the completion's.
    settings: what it was read under.
    """
    logprobs = []
    any_end = []
    for (_, completion), of_readouts in zip(pairs, values, strict=True):
        own = of_readouts[0][-len(completion) :].astype(np.float64)
        logprobs.append(own.sum())
        if len(of_readouts) > 1:
            # The answer's tokens, and then anything but a further digit.
            digit_next = np.exp(np.float64(of_readouts[1][-1]))
            any_end.append(own[:-1].sum() + np.log1p(-min(digit_next, 1.0)))
    return exact.summarise(problems, index, logprobs=logprobs, settings=settings, any_end=any_end or None)
