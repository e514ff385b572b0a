"""Draws that begin with a part of a trace: it is given, not drawn, and the policy goes on from there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from explore_rl.strategies.base import StepContext
from explore_rl.strategies.trace_options import FromTraces
from explore_rl.strategies.traces import UsableTrace, chosen_groups, without_success
from explore_rl.types import Group, Request


def beginning(tokens: np.ndarray, share: float) -> np.ndarray:
    """The first floor(share x T) tokens of a trace of T, its end token among them; never all of it. int32.

    >>> beginning(np.array([5, 6, 7, 2]), 0.5).tolist(), beginning(np.array([5, 6, 7, 2]), 1.0).tolist()
    ([5, 6], [5, 6, 7])
    """
    length = math.floor(share * len(tokens) + 1e-9)
    return np.asarray(tokens[: min(length, len(tokens) - 1)], dtype=np.int32)


def go_on(
    group: Group,
    index: int,
    *,
    prefix: np.ndarray,
    source: str,
    context: StepContext,
    prompt_ids: np.ndarray | None = None,
) -> Request:
    """A draw of the policy that begins with `prefix`.

    group: whose problem it is.
    index: the group's place in the draw.
    prefix: int32 [P], the tokens of the completion that are given.
    source: as records name it; each strategy has a name of its own, by which it knows its draws again.
    context: the step's.
    prompt_ids: another prompt than the problem's; None: that one.
    """
    rollout = context.config.rollout
    return Request(
        problem=group.problem.id,
        group=index,
        prompt_ids=context.encode_prompt(group.problem) if prompt_ids is None else prompt_ids,
        max_tokens=rollout.max_new_tokens,
        temperature=rollout.temperature,
        source=source,
        prefix_ids=prefix,
    )


def begin_with(prefixes: Mapping[int, np.ndarray], requests: list[Request], *, source: str) -> list[Request]:
    """Gives all requests of a group its prefix. prefixes: by the group's place in the draw.

    source: what the policy's own are called; a component of a mixture, or a greedy draw, keeps its name.
    """
    return [
        replace(
            request,
            prefix_ids=prefixes[request.group],
            source=source if request.source == "policy" else request.source,
        )
        if request.group in prefixes
        else request
        for request in requests
    ]


def traces_of_failed(strategy: FromTraces, groups: list[Group], *, context: StepContext) -> dict[int, UsableTrace]:
    """One trace for each group that was drawn and failed as a whole, as far as `strategy.rate` reaches; by index."""
    strategy.source.prepare([g.problem for g in groups], context)
    chosen = chosen_groups(groups, strategy.rate, context=context)
    failed = {i: 1 for i, group in enumerate(groups) if chosen[i] and group.samples and without_success(group)}
    picked = strategy.source.pick(groups, failed, context=context)
    return {index: traces[0] for index, traces in picked.items() if traces}
