"""Where the log-probabilities of the policy at the start of a step come from: `algorithm.old_logprob`.

score    the learner reads every completion before the update, in a forward pass of its own
engine   those that the engine gave while it drew; the ratio then holds the engine's rounding and staleness too
none     with one update a batch they are the update's own: nothing is read beforehand, and the loss is the same
auto     none where that is exact and no strategy reads the column beforehand, else score
"""

from __future__ import annotations

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.objectives.first_update import OLD, on_first_update
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies.base import Strategy
from explore_rl.types import Rollout

READS = ("reward", "advantage", "keep", "after_update")  # places that may look at columns


def choose_old_logprob(strategies: list[Strategy], terms: list[LossTerm], *, config: Config) -> tuple[str, str]:
    """score, engine or none, and why in a few words. Raises InputError where the config asks for what is not exact."""
    asked = config.algorithm.old_logprob
    obstacle = _obstacle(strategies, terms, config=config)
    if asked == "none" and obstacle:
        raise InputError(f"algorithm.old_logprob=none: {obstacle}; use score, or auto")
    reader = next((s for s in strategies if reads_policy(s)), None)
    if asked == "engine" and reader is not None:
        raise InputError(
            f"algorithm.old_logprob=engine: {reader.key} reads what the learner says of every token; use score"
        )
    if asked != "auto":
        return asked, "as algorithm.old_logprob says"
    return ("score", obstacle) if obstacle else ("none", "one update a batch, and nothing reads the column beforehand")


def _obstacle(strategies: list[Strategy], terms: list[LossTerm], *, config: Config) -> str:
    """Why the update's own log-probabilities will not do; empty if they do."""
    updates = config.algorithm.minibatches * config.algorithm.epochs
    if updates > 1:
        return f"a batch has {updates} updates (algorithm.minibatches x algorithm.epochs), and the policy moves between"
    for strategy in strategies:
        if reads_policy(strategy):
            return f"{strategy.key} reads old_logprob or entropy before the update"
    for term in terms:
        if term.sums is not None or term.gathered is not None:
            return f"the loss term {term.name} looks at the whole mini-batch in a pass of its own"
        if term.model != "policy" and OLD in term.columns:
            return f"the loss term {term.name} of the {term.model} reads old_logprob"
    return ""


def reads_policy(strategy: Strategy) -> bool:
    """Whether it reads the columns old_logprob or entropy; one that does not say so and might, does.

    What a class says of itself does not hold for a place that a class made of it adds.
    """
    if "reads_policy" in vars(strategy):
        return bool(strategy.reads_policy)
    for kind in type(strategy).__mro__:
        if kind is Strategy:
            return False
        if vars(kind).get("reads_policy") is not None:
            return bool(strategy.reads_policy)
        if any(place in vars(kind) for place in READS):
            return True
    return False


def terms_for(mode: str, terms: list[LossTerm], *, config: Config) -> list[LossTerm]:
    """The terms as the learner gets them."""
    if mode != "none":
        return terms
    return [on_first_update(term, config.algorithm.importance_cap) for term in terms]


def of_the_policy(rollout: Rollout, config: Config) -> np.ndarray | None:
    """The engine's log-probabilities where they are those of the policy at the training settings; else None."""
    request = rollout.request
    at_temperature = request.temperature == config.rollout.temperature and request.top_p == config.rollout.top_p
    is_plain = request.limit is None and request.flat is None
    is_policy = request.engine == "policy" and is_plain and at_temperature
    return rollout.logprobs if is_policy else None
