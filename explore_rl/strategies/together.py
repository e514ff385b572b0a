"""The strategies of a run as one list: in order, each with a key of its own, and checked for what they do together."""

from __future__ import annotations

import difflib
import inspect
from collections import Counter

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.objectives.readouts import Readout
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies.base import PLACES, Column, Needs, Strategy
from explore_rl.strategies.builtin import around
from explore_rl.strategies.columns import MADE, refuse_unmade
from explore_rl.strategies.old_logprob import choose_old_logprob
from explore_rl.strategies.signal import free_terms
from explore_rl.types import Problem

OTHERS = ("needs", "check", "state", "load_state", "term_name")  # what a strategy may override besides the places
HOOKS = ("on_", "before_", "after_")  # what others name their hooks
ALIKE = 0.8  # how like the name of a place another has to be to be taken for it


def assemble(strategies: list[Strategy], config: Config) -> list[Strategy]:
    """`strategies` with the built-in ones around them, each with its key: the name, and name-2, name-3 after that."""
    every = around(strategies, config)
    seen: Counter[str] = Counter()
    for strategy in every:
        seen[strategy.name] += 1
        key = strategy.name if seen[strategy.name] == 1 else f"{strategy.name}-{seen[strategy.name]}"
        object.__setattr__(strategy, "key", key)  # a frozen dataclass may be a strategy
    return every


def is_builtin(strategy: Strategy) -> bool:
    return type(strategy).__module__.startswith("explore_rl.strategies.builtin.")


def terms_of(strategies: list[Strategy], config: Config) -> tuple[list[LossTerm], frozenset[str]]:
    """All loss terms, and the names of those that pull without an advantage, regularisers left out."""
    by_strategy = [(strategy, strategy.terms(config)) for strategy in strategies]
    terms = [term for _, own in by_strategy for term in own]
    return terms, free_terms(term for strategy, own in by_strategy if not strategy.regulariser for term in own)


def check(strategies: list[Strategy], config: Config, *, problems: list[Problem]) -> None:
    """Refuses what one strategy, or several together, cannot mean. Raises InputError.

    strategies: as `assemble` gives them.
    """
    for strategy in strategies:
        check_class(type(strategy))
    for strategy in strategies:
        _check_needs(strategy, strategy.needs(config))
        _check_lora(strategy, config)
    _check_columns(strategies, config)
    _check_terms(strategies, config)
    refuse_unmade(strategies, config)
    choose_old_logprob(strategies, terms_of(strategies, config)[0], config=config)
    for strategy in strategies:
        strategy.check(config, problems, [other for other in strategies if other is not strategy])


def check_class(kind: object) -> None:
    """Refuses a class that is no strategy, or that does nothing because a place is misspelt. Raises InputError."""
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise InputError(f"strategies: {kind!r}: expected a subclass of explore_rl.strategies.base.Strategy")
    own = [name for cls in kind.__mro__ if issubclass(cls, Strategy) and cls is not Strategy for name in vars(cls)]
    for name in own:
        method = getattr(kind, name)
        if name.startswith("_") or not callable(method) or isinstance(method, type):
            continue
        if name in (*PLACES, *OTHERS):
            _check_arguments(kind, name)
        elif near := difflib.get_close_matches(name, PLACES, n=1, cutoff=ALIKE):
            raise InputError(
                f"strategies: {kind.name}: {name} is no place of a step, and would never be called; did you mean"
                f" {near[0]}? A helper of that name wants a leading underscore"
            )
        elif name.startswith(HOOKS) or _takes_groups(method):
            raise InputError(
                f"strategies: {kind.name}: {name} is no place of a step, and would never be called; the places are"
                f" {', '.join(PLACES)}. A helper wants a leading underscore"
            )


def _takes_groups(method: object) -> bool:
    """Whether it has the arguments of a place."""
    return inspect.isfunction(method) and list(inspect.signature(method).parameters)[-2:] == ["groups", "context"]


def _check_arguments(kind: type[Strategy], name: str) -> None:
    expected = list(inspect.signature(getattr(Strategy, name)).parameters)
    mine = inspect.signature(getattr(kind, name))
    try:
        mine.bind(*expected)
    except TypeError:
        raise InputError(
            f"strategies: {kind.name}: {name}({', '.join(mine.parameters)}): expected {name}({', '.join(expected)})"
        ) from None


def _check_needs(strategy: Strategy, needs: Needs) -> None:
    models = ("policy", "base", "critic") if needs.critic else ("policy", "base")
    for column in needs.columns:
        where = f"strategies: {strategy.name}: column {column.name!r}"
        if column.model not in models:
            known = ", ".join(models) + ("" if needs.critic else ", or critic with Needs.critic=True")
            raise InputError(f"{where} is of the model {column.model!r}; known are {known}")
        if not isinstance(column.readout, Readout):
            raise InputError(f"{where}: {column.readout!r} is no readout of explore_rl.objectives.readouts")
        if column.name in MADE:
            raise InputError(f"{where} is made by others; choose another name than {', '.join(MADE)}")
        head = column.readout.head
        if head is not None and column.model == "policy" and head not in needs.heads:
            raise InputError(f"{where} reads the head {head!r}; name it in Needs.heads")


def _check_lora(strategy: Strategy, config: Config) -> None:
    """LoRA trains the policy's adapters and nothing else."""
    needs = strategy.needs(config)
    if config.learner.lora is not None and (needs.critic or needs.heads):
        what = "a critic" if needs.critic else f"the head {needs.heads[0]}"
        raise InputError(
            f"strategies: {strategy.name}: trains {what} besides, and with learner.lora adapters alone are trained; set"
            " learner.lora=null"
        )


def _check_columns(strategies: list[Strategy], config: Config) -> None:
    asked: dict[str, tuple[Column, Strategy]] = {}
    for strategy in strategies:
        for column in strategy.needs(config).columns:
            other, by = asked.setdefault(column.name, (column, strategy))
            if other != column:
                raise InputError(
                    f"strategies: {by.name} and {strategy.name} both fill the column {column.name!r}, with"
                    f" {other.readout.name} of {other.model} and {column.readout.name} of {column.model}"
                )


def _check_terms(strategies: list[Strategy], config: Config) -> None:
    declared: dict[str, Strategy] = {}
    for strategy in strategies:
        for term in strategy.terms(config):
            _check_term(strategy, term, needs=strategy.needs(config))
            if term.name not in declared:
                declared[term.name] = strategy
                continue
            first = declared[term.name]
            if first is strategy:
                raise InputError(
                    f"strategies: {strategy.name}: declares the loss term {term.name!r} twice, and both would be learnt"
                )
            if is_builtin(first) or is_builtin(strategy):
                theirs = strategy if is_builtin(first) else first
                raise InputError(
                    f"strategies: {theirs.name}: the loss term {term.name!r} is built in;"
                    " choose another name (algorithm.loss replaces the policy gradient's loss)"
                )
            raise InputError(
                f"strategies: {first.key} and {strategy.key} both declare the loss term {term.name!r}; name it"
                f" self.term_name({term.name!r}), which differs between instances"
            )


def _check_term(strategy: Strategy, term: LossTerm, *, needs: Needs) -> None:
    """Refuses what the learner could not compute. Which columns samples bring is known to the strategy alone."""
    where = f"strategies: {strategy.name}: loss term {term.name!r}"
    models = ("policy", "critic") if needs.critic else ("policy",)
    if term.model not in models:
        known = ", ".join(models) + ("" if needs.critic else ", or critic with Needs.critic=True")
        raise InputError(f"{where} moves the model {term.model!r}; it can be {known}")
    for column in term.columns:
        if not isinstance(column, str | Readout):
            raise InputError(
                f"{where}: column {column!r} is neither a name nor a readout of explore_rl.objectives.readouts"
            )
        head = column.head if isinstance(column, Readout) else None
        if head is not None and term.model == "policy" and head not in needs.heads:
            raise InputError(f"{where} reads the head {head!r}; name it in Needs.heads")
