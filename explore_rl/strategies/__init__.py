"""Exploration strategies by name. One file each; `make` builds the list that a config asks for, `of` all of a run's."""

from __future__ import annotations

import difflib
from types import ModuleType
from typing import Any

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.own_code import line_of, load_module
from explore_rl.strategies.base import Strategy
from explore_rl.strategies.parameters import names_of
from explore_rl.strategies.together import assemble, check_class

# name -> "module:Class"
STRATEGIES = {
    "trace_injection": "explore_rl.strategies.methods.trace_injection:TraceInjection",
    "diversity_bonus": "explore_rl.strategies.methods.diversity_bonus:DiversityBonus",
    "mixture_policy": "explore_rl.strategies.methods.mixture_policy:MixturePolicy",
    "likelihood": "explore_rl.strategies.methods.likelihood:Likelihood",
    "reinforce_pp": "explore_rl.strategies.methods.reinforce_pp:ReinforcePP",
    "remax": "explore_rl.strategies.methods.remax:Remax",
    "soft_overlong": "explore_rl.strategies.methods.soft_overlong:SoftOverlong",
    "rs_grpo": "explore_rl.strategies.methods.rs_grpo:RsGrpo",
    "simko": "explore_rl.strategies.methods.simko:SimKO",
    "prorl": "explore_rl.strategies.methods.prorl:ProRL",
    "ppo": "explore_rl.strategies.methods.ppo:Ppo",
    "flow_rl": "explore_rl.strategies.methods.flow_rl:FlowRL",
    "pass_at_k": "explore_rl.strategies.methods.pass_at_k:PassAtK",
    "pkpo": "explore_rl.strategies.methods.pkpo:Pkpo",
    "w_reinforce": "explore_rl.strategies.methods.w_reinforce:WReinforce",
    "f_grpo": "explore_rl.strategies.methods.f_grpo:FGrpo",
    "bbg": "explore_rl.strategies.methods.bbg:Bbg",
    "ucpo": "explore_rl.strategies.methods.ucpo:Ucpo",
    "mode_partition": "explore_rl.strategies.methods.mode_partition:ModePartition",
    "unlikeliness": "explore_rl.strategies.methods.unlikeliness:Unlikeliness",
    "darling": "explore_rl.strategies.methods.darling:Darling",
    "rep_exp": "explore_rl.strategies.methods.rep_exp:RepExp",
    "entropy_advantage": "explore_rl.strategies.methods.entropy_advantage:EntropyAdvantage",
    "adaptive_entropy": "explore_rl.strategies.methods.adaptive_entropy:AdaptiveEntropy",
    "rl_plus": "explore_rl.strategies.methods.rl_plus:RlPlus",
    "srft": "explore_rl.strategies.methods.srft:Srft",
    "hpt": "explore_rl.strategies.methods.hpt:Hpt",
    "relift": "explore_rl.strategies.methods.relift:Relift",
    "prefix_rl": "explore_rl.strategies.methods.prefix_rl:PrefixRL",
    "prefix_rft": "explore_rl.strategies.methods.prefix_rft:PrefixRft",
    "bread": "explore_rl.strategies.methods.bread:Bread",
    "hints": "explore_rl.strategies.methods.hints:Hints",
    "rlep": "explore_rl.strategies.methods.rlep:Rlep",
    "ex_grpo": "explore_rl.strategies.methods.ex_grpo:ExGrpo",
    "dph_rl": "explore_rl.strategies.methods.dph_rl:DphRl",
    "pba": "explore_rl.strategies.methods.pba:Pba",
    "witness_floor": "explore_rl.strategies.methods.witness_floor:WitnessFloor",
    "rlpr": "explore_rl.strategies.methods.rlpr:Rlpr",
    "soft_judge": "explore_rl.strategies.methods.soft_judge:SoftJudge",
    "uft": "explore_rl.strategies.methods.uft:Uft",
    "ds_grpo": "explore_rl.strategies.methods.ds_grpo:DsGrpo",
    "mara": "explore_rl.strategies.methods.mara:Mara",
    "polychromic": "explore_rl.strategies.methods.polychromic:Polychromic",
    "alpha_dpg": "explore_rl.strategies.methods.alpha_dpg:AlphaDpg",
    "mentor": "explore_rl.strategies.methods.mentor:Mentor",
    "pope": "explore_rl.strategies.methods.pope:Pope",
    "curriculum": "explore_rl.strategies.methods.curriculum:Curriculum",
    "siren": "explore_rl.strategies.methods.siren:Siren",
    "trajectory_balance": "explore_rl.strategies.methods.trajectory_balance:TrajectoryBalance",
    "novelty": "explore_rl.strategies.methods.novelty:Novelty",
    "mixed_cuts": "explore_rl.strategies.methods.mixed_cuts:MixedCuts",
    "detours": "explore_rl.strategies.methods.detours:Detours",
    "lift": "explore_rl.strategies.methods.lift:Lift",
}


def of(config: Config) -> list[Strategy]:
    """Every strategy of a run, in order, the built-in ones included. Raises InputError."""
    return assemble(make(config.strategies), config)


def make(settings: list[dict[str, Any]]) -> list[Strategy]:
    """The strategies of a config, in order. A name with ":" is the user's own, "module:Class". Raises InputError."""
    built = []
    for i, setting in enumerate(settings):
        where = f"strategies[{i}]"
        options = dict(setting)
        name: str = options.pop("name")
        kind = class_of(name, where)
        _refuse_unknown_options(kind, options, where=f"{where}: {name}")
        try:
            built.append(kind(**options))
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: {name}: {error}") from None
    return built


def class_of(name: str, where: str = "strategies") -> type[Strategy]:
    """The class of a strategy's name, or of "module:Class". Raises InputError."""
    target = STRATEGIES.get(name, name)
    if ":" not in target:
        module, dot, last = name.rpartition(".")
        if dot and last[:1].isupper():
            raise InputError(f"{where}.name: no strategy {name!r}; is {module}:{last} meant, with a colon?")
        hint = _nearest(name, list(STRATEGIES))
        own = "or module:Class or path.py:Class of your own"
        raise InputError(f"{where}.name: no strategy {name!r}{hint}; known: {', '.join(STRATEGIES)}, {own}")
    place, _, class_name = target.rpartition(":")
    try:
        module = _load(place)
    except ModuleNotFoundError as error:
        beside = f"{place}.py:{class_name}"
        hint = f"; a file of your own is named as {beside}" if error.name and place.split(".")[0] == error.name else ""
        raise InputError(f"{where}.name: {target} cannot be imported: {error}{hint}") from None
    except (ImportError, OSError, SyntaxError) as error:
        raise InputError(f"{where}.name: {target} cannot be imported: {error}") from None
    except Exception as error:  # noqa: BLE001 - importing the user's code may raise anything; it is reported, not hidden
        said = f"{type(error).__name__}: {error}"
        raise InputError(f"{where}.name: {target} cannot be imported: {said} ({line_of(error)})") from error
    kind = getattr(module, class_name, None)
    if kind is None:
        there = [name for name, value in vars(module).items() if _is_of(value, module)]
        raise InputError(f"{where}.name: {place} holds no {class_name}; strategies in it: {', '.join(there) or 'none'}")
    check_class(kind)
    return kind


def _is_of(value: object, module: ModuleType) -> bool:
    """Whether a module's value is a strategy that is written there."""
    return isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__


def _load(place: str) -> ModuleType:
    module = load_module(place)
    if not place.startswith("explore_rl.") and "site-packages" not in (module.__file__ or "site-packages"):
        _send_whole(module)
    return module


def _send_whole(module: ModuleType) -> None:
    """Lets loss terms of a user's own module travel to the ranks with their code: there nobody finds it by name."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(module)


def _refuse_unknown_options(kind: type[Strategy], options: dict[str, Any], *, where: str) -> None:
    known = names_of(kind)
    for key in options:
        if key not in known:
            hint = _nearest(key, known)
            raise InputError(f"{where} has no parameter {key!r}{hint}; known: {', '.join(known) or 'none'}")


def _nearest(word: str, known: list[str]) -> str:
    """A question after the known word that is most like `word`; empty if none is like it."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
