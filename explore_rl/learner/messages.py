"""What the learner is asked for and what it answers, and what of it makes no sense."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from explore_rl.learner.packing import Shard
from explore_rl.objectives.readouts import HEAD, LOG_P, VALUE, Readout
from explore_rl.objectives.terms import LossTerm
from explore_rl.types import Row

TRAINED = ("policy", "critic")


@dataclass(frozen=True)
class LearnerNeeds:
    """Which models the learner holds.

    policy: the one that is trained, with its optimizer; False: nothing is trained, the base is read alone.
    base: a frozen copy of the initial model, read as "base".
    critic: a trunk of its own with a value head and an optimizer, read as "critic".
    heads: names of heads on the policy.
    """

    policy: bool = True
    base: bool = False
    critic: bool = False
    heads: tuple[str, ...] = ()

    def has(self, model: str) -> bool:
        return {"policy": self.policy, "base": self.base, "critic": self.critic}.get(model, False)


POLICY_ALONE = LearnerNeeds()


@dataclass
class Part:
    """One rank's part of an optimizer step of one model.

    model: "policy" or "critic".
    terms: names of the model's loss terms that the mini-batch feeds, on whatever rank.
    shard: the rank's rows, those that feed one of the terms; of the columns, those that the terms read.
    """

    model: str
    terms: tuple[str, ...]
    shard: Shard[Row]


@dataclass
class UpdateReport:
    """One optimizer step, over all ranks.

    finite: loss and gradient of every model were finite on every rank; otherwise loss and grad_norm are NaN. A model
        whose own were not finite made no step.
    loss: the policy's minimised sum. A critic's is the "<term>/loss" of its terms.
    grad_norm: the policy's gradient's norm before clipping; the critic's is the metric "critic/gradient_norm".
    learning_rate: this step's.
    metrics: "<term>/loss" is the term's part of the loss, "<term>/<figure>" a mean over its unmasked tokens.
    tokens: unmasked completion tokens that the policy was trained on.
    padding_fraction: share of padding among the tokens that went through the model.
    read: what, of each row, `Learner.update` was asked to read of the policy, at its unmasked tokens; None for a row
        that feeds no term of the policy. Empty where nothing was asked, or no step was made.
    """

    finite: bool
    loss: float
    grad_norm: float
    learning_rate: float
    metrics: dict[str, float]
    tokens: int
    padding_fraction: float
    read: list[tuple[np.ndarray, ...] | None] = field(default_factory=list)


# --- what is refused --------------------------------------------------------------------------------------------------


def check_readouts(readouts: tuple[Readout, ...], model: str, *, needs: LearnerNeeds) -> None:
    """Raises ValueError for readouts that `model` cannot give."""
    if not needs.has(model):
        raise ValueError(
            f'the model "{model}" was not announced: name the column in Strategy.needs, or start or reset the learner '
            f"with LearnerNeeds({model}=True)"
        )
    own_heads = {"policy": needs.heads, "critic": (VALUE.head,)}.get(model, ())
    for readout in readouts:
        if readout.reads == HEAD and readout.head not in own_heads:
            raise ValueError(f'the model "{model}" has no head {readout.head!r}: name it in LearnerNeeds.heads')
        if readout.reads == LOG_P and model == "critic":
            raise ValueError(f"{readout.name} of the critic: it gives values, and no distribution over tokens")


def check_terms(terms: list[LossTerm], needs: LearnerNeeds) -> None:
    """Raises ValueError for loss terms that the learner's models cannot give the columns of."""
    for term in terms:
        if term.model not in TRAINED:
            raise ValueError(f'loss term {term.name!r}: model="{term.model}": expected {" or ".join(TRAINED)}')
        check_readouts(tuple(term.readouts), term.model, needs=needs)
        for readout in term.readouts:
            if not readout.per_token:
                raise ValueError(f"loss term {term.name!r}: {readout.name} is no number a token")


def check_row(row: Row, terms: dict[str, LossTerm]) -> None:
    """Raises ValueError for a row that the ranks could not compute."""
    completion = len(row.tokens) - row.prompt_length
    if row.prompt_length < 1 or completion < 1 or len(row.mask) != completion:
        raise ValueError(
            f"a row of {len(row.tokens)} tokens with prompt_length={row.prompt_length} and a mask of {len(row.mask)}"
        )
    for name in row.terms:
        if name not in terms:
            raise ValueError(f"a row feeds the loss term {name!r}; declared are {', '.join(terms)}")
        for column in terms[name].row_columns:
            if column not in row.columns or len(row.columns[column]) != completion:
                has = ", ".join(sorted(row.columns))
                raise ValueError(
                    f"loss term {name!r} reads the column {column!r} of {completion} tokens; the row has {has}"
                )
