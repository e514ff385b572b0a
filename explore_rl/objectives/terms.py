"""What the learner is told to minimise: a pure function a term, and the names of the columns it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

ENTROPY = "entropy"  # the one column that the learner computes itself, with gradient


@dataclass(frozen=True)
class LossTerm:
    """A component of the loss, named as rows name it (Row.terms).

    name: its key in Row.terms.
    function: function(logprob [N], *columns [N], **params) -> loss [N], per token. It is module-level, so that it can
        be sent to the ranks. logprob carries the gradient. Columns are constants, except "entropy" (of the
        full-vocabulary distribution, nats), which carries gradient too.
    columns: names of Row.columns, or "entropy", in the order of the function's arguments after logprob.
    params: keyword arguments of function and metrics.
    normaliser: terms that name the same normaliser share one global denominator. Whoever makes the rows divides by it.
    metrics: takes the same arguments and returns figures per token [N]. The learner averages them over all unmasked
        tokens and ranks.
    """

    name: str
    function: Callable[..., torch.Tensor]
    columns: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    normaliser: str = "policy_gradient"
    metrics: Callable[..., dict[str, torch.Tensor]] | None = None
