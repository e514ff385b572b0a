"""Loss terms for the only update of a batch, in which the policy still is the one at the start of the step.

There the old log-probability is the present one without its gradient: no forward pass has to be made for it beforehand.
The correction for what the engine computes otherwise is made from it, within the loss. What the terms see is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from explore_rl.objectives.corrections import MAX_LOG_RATIO
from explore_rl.objectives.readouts import Readout
from explore_rl.objectives.terms import LossTerm

OLD = "old_logprob"
ADVANTAGE = "advantage"
ENGINE = "engine_logprob"  # the engine's log-probability of each token, in rows; +inf where nothing is to be corrected


def on_first_update(term: LossTerm, cap: float | None) -> LossTerm:
    """`term` without the column "old_logprob", and, where it reads an advantage, with the correction inside.

    cap: the importance ratio's, as `corrections.truncated_importance` has it; None: no correction.

    >>> from explore_rl.objectives.losses import ppo_clip
    >>> term = LossTerm("policy_gradient", ppo_clip, ("old_logprob", "advantage"), {"clip_low": 0.2, "clip_high": 0.2})
    >>> first = on_first_update(term, cap=2.0)
    >>> first.columns
    ('advantage', 'engine_logprob')
    >>> drawn, engine = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.1, torch.inf]).log()
    >>> [round(x, 6) for x in first.function(drawn, torch.tensor([1.0, 1.0]), engine, **first.params).tolist()]
    [-2.0, -1.0]
    """
    corrected = cap is not None and ADVANTAGE in term.columns
    if OLD not in term.columns and not corrected:
        return term
    columns = tuple(column for column in term.columns if column != OLD)

    def wrapped(function: Callable[..., Any] | None) -> Any:
        return None if function is None else FirstUpdate(function, term.columns, cap if corrected else None)

    return replace(
        term,
        function=wrapped(term.function),
        columns=(*columns, ENGINE) if corrected else columns,
        metrics=wrapped(term.metrics),
        sums=wrapped(term.sums),
        gathered=wrapped(term.gathered),
    )


@dataclass(frozen=True)
class FirstUpdate:
    """A function of a term, called with the columns that are left.

    function: the term's, as it was declared.
    columns: that it takes.
    cap: the correction's; None: none is made, and no engine's log-probability comes along.
    """

    function: Callable[..., Any]
    columns: tuple[str | Readout, ...]
    cap: float | None

    def __call__(self, logprob: Tensor, *given: Tensor, **params: Any) -> Any:
        now = logprob.detach()
        columns = iter(given)
        whole = [now if column == OLD else next(columns) for column in self.columns]
        if self.cap is not None:
            place = self.columns.index(ADVANTAGE)
            whole[place] = whole[place] * correction(now, next(columns), cap=self.cap)
        return self.function(logprob, *whole, **params)


def correction(now: Tensor, engine: Tensor, *, cap: float) -> Tensor:
    """min(pi / pi_engine, cap) of each token; 1 where `engine` is +inf. [N], [N] -> [N]."""
    ratio = torch.exp((now - engine).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)).clamp(max=cap)
    return torch.where(torch.isposinf(engine), torch.ones_like(ratio), ratio)
