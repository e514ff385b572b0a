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

    function(logprob [N], *columns [N], **params) -> loss [N], per token; module-level, so that it can be sent to the ranks. logprob
    carries the gradient; columns are constants, except "entropy" (of the full-vocabulary distribution, nats), which carries gradient too.
    columns: names of Row.columns, or "entropy", in the order of the function's arguments after logprob.
    normaliser: terms that share this name share one global denominator, by which whoever makes the rows has already divided.
    metrics: takes the same arguments, returns figures per token [N]; the learner averages them over all unmasked tokens and ranks.
    """

    name: str
    function: Callable[..., torch.Tensor]
    columns: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    normaliser: str = "policy_gradient"
    metrics: Callable[..., dict[str, torch.Tensor]] | None = None
