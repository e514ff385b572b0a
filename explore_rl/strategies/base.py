"""The interface of an exploration strategy: one file, eight places, and needs that are declared beforehand.

The places, in the order of a step. A strategy overrides the ones it uses and inherits the rest, which do nothing:

    choose        which problems the next draw is about
    plan          who draws each sample of a group; runs in rounds and sees what came back
    inject        put traces or replays into a group
    reward        change Sample.reward, before the group is normalised; the learner's columns are filled by now
    advantage     change Sample.advantage, .weight, .terms, or write Sample.columns["advantage"], one number a token
    keep          which groups count, and how many problems to draw besides
    terms         declared before the run: loss terms (`explore_rl.objectives`); samples name the ones they feed
    after_update  once the weights have changed: refresh the base, reset the optimizer

Up to `keep` they may run several times in a step (dynamic sampling), each time on the groups of one draw; `keep` of a
strategy whose `turn` is last or end runs once. GRPO itself, KL, entropy bonus, engine correction, overlong filter and
dynamic sampling are strategies too (strategies/builtin/).
Strategies compose: each place runs them in the order of `explore_rl.strategies.together.assemble`.

A strategy keeps nothing on itself between places but what `state` declares; what one place has to tell the next goes
into `context.kept`, which lasts for the step. It never sees seeds. `context.rng`, metrics and state are kept under
`self.key`: the name, and name-2 for a second instance, which also names its terms so (`self.term_name`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from explore_rl.objectives.readouts import Readout
from explore_rl.types import Group, Problem, Request, Rollout, Verdict

if TYPE_CHECKING:
    from explore_rl.config.schema import Config
    from explore_rl.objectives.terms import LossTerm

AT_THE_END = ("last", "end")  # turns whose `keep` comes when all draws of a step are done
PLACES = ("choose", "plan", "inject", "reward", "advantage", "keep", "terms", "after_update")


@dataclass(frozen=True)
class Column:
    """What the learner fills in for every sample, from its own forward pass, before `reward`.

    name: the column's key in Sample.columns.
    model: "policy" (weights at the start of the step), "base" (frozen), or "critic" if `Needs` asks for one.
    readout: what is read of the model; see `explore_rl.objectives.readouts`.
    """

    name: str
    model: str
    readout: Readout


@dataclass(frozen=True)
class Needs:
    """What a strategy needs, read before any actor starts.

    base_engine: whether it draws from an engine with the frozen base model.
    columns: what the learner is to fill; one under "base" needs the frozen base.
    critic: a model with a value head of its own.
    heads: names of heads on the policy.
    writes: columns that it writes into samples itself, for its loss terms to read; see `strategies.columns`.
    """

    base_engine: bool = False
    columns: tuple[Column, ...] = ()
    critic: bool = False
    heads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()

    @property
    def base_model(self) -> bool:
        return any(column.model == "base" for column in self.columns)


def _not_here(*_: Any) -> Any:
    raise RuntimeError("there is no learner here: this context was made without one")


@dataclass
class StepContext:
    """What a strategy may use in a step, besides the groups.

    number: the step, from 0.
    rng: seeded by run, step and the strategy's key, so that it is the same after a resume.
    config: the run's.
    encode_prompt: encode_prompt(problem) -> token ids int32, by the policy's own template.
    encode_completion: encode_completion(text) -> token ids int32 with the end token, by the policy's own template.
    verify: verify([(problem, text), ...]) -> a Verdict for each.
    read: read(sequences, readouts, *, model="policy"), as `Learner.read`.
    refresh_base: sets the frozen base to the present policy, after an update.
    reset_optimizer: forgets the optimizer's moments, after an update.
    problems: all that are trained on.
    terms: every loss term of the run by its name.
    free_terms: names of those that pull without an advantage, regularisers left out; see `strategies.signal`.
    metrics: what is put here is logged under the strategy's key.
    kept: what one place tells the next; empty at the start of a step.
    """

    number: int
    rng: np.random.Generator
    config: Config
    encode_prompt: Callable[[Problem], np.ndarray]
    encode_completion: Callable[[str], np.ndarray]
    verify: Callable[[list[tuple[Problem, str]]], list[Verdict]]
    read: Callable[..., list[tuple[np.ndarray, ...]]] = _not_here
    refresh_base: Callable[[], None] = _not_here
    reset_optimizer: Callable[[], None] = _not_here
    problems: list[Problem] = field(default_factory=list)
    terms: dict[str, LossTerm] = field(default_factory=dict)
    free_terms: frozenset[str] = frozenset()
    metrics: dict[str, float] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """How the tests of `explore_rl.strategies.checks` run a strategy.

    on: the constructor's arguments.
    off: those that switch it off; None: `on` with the first of coefficient, rate, scale, strength and size set to 0.
    settings: overrides of the run's config, as on the command line.
    left: overrides besides, of the run without it that it leaves alone where it is switched off.
    """

    on: dict[str, Any] = field(default_factory=dict)
    off: dict[str, Any] | None = None
    settings: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Strategy:
    """Base of all strategies: does nothing at each of the places.

    name: as recipes, metrics and messages have it; by default the class's own name in small letters.
    key: the name, made different for each instance of a run (`explore_rl.strategies.together`).
    regulariser: whether its terms hold the policy where it is, and are no reason to learn from a group.
    acts_on_draws: whether it does nothing for a group that nobody draws for.
    own_baseline: whether it weighs each draw without the others of its group, so that a group may be a single draw.
    biases: why exact importance weights are biased beside it, in a few words; empty: they are not.
    reads_policy: whether a place reads Sample.columns["old_logprob"] or ["entropy"]; None: it is taken to if it has a
        place that could. False spares a forward pass (`algorithm.old_logprob`), and the columns are not there then.
    turn: "first" acts before the others of a recipe wherever it stands there, since they add to what it makes; "scale"
        right after those, since it multiplies what they made; "last" acts after all others and the built-in ones, and
        its `keep` is called once a step, when all draws are done, with the groups alone that count; "end" is like
        "last", and after those, since it reads what they made.
    trial: how `explore_rl.strategies.checks` runs it.
    """

    name = "strategy"
    key = ""
    regulariser = False
    acts_on_draws = False
    own_baseline = False
    biases = ""
    reads_policy: bool | None = None
    turn = ""
    trial = Trial()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.name == "strategy":
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def term_name(self, name: str) -> str:
        """The name of its loss term `name`: that itself for a first instance, else with the instance's key before."""
        return name if self.key in ("", self.name) else f"{self.key}.{name}"

    def needs(self, config: Config) -> Needs:
        return Needs()

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        """Refuses settings and strategies that make no sense together, before any actor starts. Raises InputError.

        others: every other strategy of the run, in order.
        """

    def terms(self, config: Config) -> list[LossTerm]:
        """The strategy's loss terms, named by `term_name`."""
        return []

    def choose(self, problems: list[Problem], context: StepContext) -> list[Problem]:
        """`problems` are the next in the order of the data; returns those that get a group in their place."""
        return problems

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        """Round 0: `requests` are the draft, group_size a problem from the policy; returns what to draw in its place.

        Round 1 and on: `requests` is empty, and `groups[i].samples` is what has come back for the problem so far;
        returns what to draw in addition (Request.group = i), for example `replace(sample.rollout.request, ...)`. The
        rounds end when no strategy asks for more. Every request gets a seed of its own afterwards.

        requests: the draft, or what strategies before this one made of it.
        groups: the step's, in the order of Request.group.
        round: 0, 1, ...
        context: the step's.
        """
        return requests

    def inject(self, groups: list[Group], context: StepContext) -> None:
        """Adds samples to the groups, or takes some out. An added sample names its source in rollout.request.source."""

    def reward(self, groups: list[Group], context: StepContext) -> None:
        """Changes Sample.reward, before the group is normalised."""

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        """Changes Sample.advantage, .weight or .terms, after normalisation.

        Sample.columns["advantage"], float32 [T], stands in place of the scalar where it is set; the weight multiplies
        either.
        """

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        """The groups of this draw that count, and for how many problems more to draw (the most that any asks for).

        Of a strategy whose `turn` is last or end: of all draws, with none to ask for.
        """
        return groups, 0

    def after_update(self, groups: list[Group], context: StepContext) -> None:
        """Called when the weights have changed, before the engines get them. groups: those that were learnt from."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep: plain JSON."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned when the checkpoint was made."""


def needs_of(strategies: list[Strategy], config: Config) -> Needs:
    """Everything that the strategies need, merged. It is read before any actor starts."""
    wanted = [s.needs(config) for s in strategies]
    return Needs(
        base_engine=any(needs.base_engine for needs in wanted),
        columns=tuple(dict.fromkeys(column for needs in wanted for column in needs.columns)),
        critic=any(needs.critic for needs in wanted),
        heads=tuple(dict.fromkeys(head for needs in wanted for head in needs.heads)),
        writes=tuple(dict.fromkeys(name for needs in wanted for name in needs.writes)),
    )


def given(like: Request, *, tokens: np.ndarray, text: str, source: str, in_baseline: bool = True) -> Rollout:
    """A rollout that nobody drew (a trace or a replay), to be put into a group.

    like: a request of the same problem and group: prompt, temperature and budget are taken from it.
    tokens: completion token ids, end token included, int32.
    text: the tokens decoded, without special tokens.
    source: how records and metrics name it.
    in_baseline: whether it counts for the group's mean and spread.
    """
    # no share either: it is no draw of a mixture, and its group's weights are of the draws alone
    request = replace(like, source=source, seed=0, in_baseline=in_baseline, share=None)
    return Rollout(request=request, tokens=tokens, text=text, finish_reason="stop")
