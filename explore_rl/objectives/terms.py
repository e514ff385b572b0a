"""What the learner is told to minimise: a pure function a term, and the columns it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from explore_rl.objectives.readouts import Readout

SEQUENCE = "sequence"  # the column that the learner makes itself: which tokens are one sequence


@dataclass(frozen=True)
class LossTerm:
    """A component of the loss, named as rows name it (Row.terms).

    name: its key in Row.terms.
    function: function(logprob [N], *columns [N], **params) -> loss [N], per token. It is module-level, so that it can
        be sent to the ranks. logprob carries the gradient; it is taken at rollout.temperature.
    columns: what the function takes after logprob, in its order. A name is a column of the rows (Row.columns), a
        constant. A Readout is computed in the update's own forward pass and carries gradient. SEQUENCE is int64 [N]:
        0, 1, ... of each token's sequence within the micro-batch, which never holds a part of one.
    params: keyword arguments of function, metrics, sums and gathered.
    normaliser: terms that name the same normaliser share one global denominator. Whoever makes the rows divides by it.
    metrics: takes the same arguments and returns figures per token [N]. The learner averages them over all unmasked
        tokens and ranks.
    model: whose outputs it reads, and whose weights it moves: "policy", or "critic", whose value [N] then stands in
        the place of logprob.
    sums: sums(logprob, *columns, **params) -> [k], added up over the whole mini-batch and all ranks before the update,
        without gradient. function and metrics get the total as the keyword `sums`.
    gathered: gathered(logprob, *columns, **params) -> [N] or [N, k], numbers of each token, collected in the same way.
        function and metrics get those of all tokens as the keyword `gathered`, in no particular order (for quantiles).
    vanishes: its gradient is 0 at every token whose column "advantage" is 0. A row that feeds such terms alone, and has
        no advantage, is counted and not computed.
    """

    name: str
    function: Callable[..., torch.Tensor]
    columns: tuple[str | Readout, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    normaliser: str = "policy_gradient"
    metrics: Callable[..., dict[str, torch.Tensor]] | None = None
    model: str = "policy"
    sums: Callable[..., torch.Tensor] | None = None
    gathered: Callable[..., torch.Tensor] | None = None
    vanishes: bool = False

    @property
    def row_columns(self) -> list[str]:
        """Names of the columns that rows bring along."""
        return [column for column in self.columns if isinstance(column, str) and column != SEQUENCE]

    @property
    def readouts(self) -> list[Readout]:
        """What the forward pass has to give besides logprob."""
        return [column for column in self.columns if isinstance(column, Readout)]
