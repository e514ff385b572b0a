"""Who makes which column of a token: the one list of it. A loss term that reads what nobody makes is refused by it.

Columns are float32 [T] in Sample.columns and, those that a row's terms read, in the rows. The engine's own arrays are
the rollout's: `given`, `logprobs`, `versions`.
"""

from __future__ import annotations

import difflib

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.objectives.first_update import ADVANTAGE, ENGINE, OLD
from explore_rl.strategies.base import Strategy
from explore_rl.strategies.signal import WORTH

# In every run, whatever its strategies need.
MADE = {
    OLD: "the learner: of the policy at the start of the step, at the training temperature",
    "entropy": "the learner: of the distribution that the token was drawn from, at the start of the step",
    ENGINE: "the engine; +inf in a sample that is not corrected by it",
    ADVANTAGE: "the rows: Sample.advantage, or what strategies write in its place, times weight and correction",
    WORTH: "the rows: the same without weight and correction",
    "correction": "engine_correction: what multiplies the advantage",
    "mask": "overlong, or a strategy: 0 where nothing is learnt",
    "learn_given": "a strategy: 1 at given tokens of a draw that are learnt from all the same",
}
SHARED = ("advantage", "mask", "correction", "learn_given")  # of these, what strategies may write as well


def makers(strategies: list[Strategy], config: Config) -> dict[str, str]:
    """Every column that a loss term of the run may read, with who makes it.

    Raises InputError for one that the learner is to fill and a strategy to write.

    strategies: all of the run, with their keys.
    config: the run's.
    """
    filled: dict[str, str] = {}
    written: dict[str, str] = {}
    for strategy in strategies:
        needs = strategy.needs(config)
        filled |= {column.name: f"the learner: {column.readout.name} of {column.model}" for column in needs.columns}
        written |= dict.fromkeys(needs.writes, strategy.key)
    for name in written:
        if (name in filled or name in MADE) and name not in SHARED:
            raise InputError(
                f"strategies: {written[name]} writes the column {name!r}, which is made by {(MADE | filled)[name]};"
                " choose another name"
            )
    return MADE | filled | written


def refuse_unmade(strategies: list[Strategy], config: Config) -> None:
    """Raises InputError for a loss term that reads a column which nobody makes.

    strategies, config: as in `makers`.
    """
    made = makers(strategies, config)
    for strategy in strategies:
        for term in strategy.terms(config):
            for column in term.row_columns:
                if column not in made:
                    near = difflib.get_close_matches(column, made, n=1)
                    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(made)}."
                    raise InputError(
                        f"strategies: {strategy.name}: loss term {term.name!r} reads the column {column!r}, which"
                        f" nobody makes; {hint} What a strategy writes itself it names in Needs.writes"
                    )
