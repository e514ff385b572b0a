"""Exploration strategies by name. One file each; `make` builds the list that a config asks for."""

from __future__ import annotations

import difflib
import importlib
import inspect
from typing import Any

from analysis.errors import InputError
from explore_rl.strategies.base import Strategy

# name -> "module:Class"
STRATEGIES = {
    "trace_injection": "explore_rl.strategies.methods.trace_injection:TraceInjection",
    "diversity_bonus": "explore_rl.strategies.methods.diversity_bonus:DiversityBonus",
    "mixture_policy": "explore_rl.strategies.methods.mixture_policy:MixturePolicy",
    "likelihood": "explore_rl.strategies.methods.likelihood:Likelihood",
}


def make(settings: list[dict[str, Any]]) -> list[Strategy]:
    """The strategies of a config, in order. A name with ":" is the user's own, "module:Class". Raises InputError."""
    built = []
    for i, given in enumerate(settings):
        options = dict(given)
        name = options.pop("name")
        where = f"strategies[{i}]"
        target = STRATEGIES.get(name, name)
        if ":" not in target:
            near = difflib.get_close_matches(name, STRATEGIES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(
                f"{where}.name: no strategy {name!r}{hint} Known: {', '.join(STRATEGIES)}, or module:Class of your own"
            )
        module_name, _, class_name = target.partition(":")
        try:
            kind = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"{where}.name: {target} cannot be imported: {error}") from None
        known = [p for p in inspect.signature(kind.__init__).parameters if p != "self"]
        for key in options:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise InputError(f"{where}: {name} has no parameter {key!r}{hint} Known: {', '.join(known) or 'none'}")
        try:
            built.append(kind(**options))
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: {name}: {error}") from None
    return built
