"""A mixture of behaviour policies with importance weights per sequence.

The weights are the balance heuristic of multiple importance sampling.

Acts at: plan (which component draws each sample), advantage (the weight). Needs: the base engine, and the
log-probabilities of every component.

The components are the current policy at the training temperature, the frozen base, and the current policy at a hotter
temperature. The first rewards.min_group samples of a group always come from the policy: a smaller group would have no
baseline and be dropped, and that would weigh components unevenly. Each other sample draws its component at random, such
that share_j of a group comes from component j in expectation. Every request carries the chances that it had
(`Request.share`), and the share_j of a weight is their mean over the draws that the group really made: it stays right
where another strategy takes draws out. With q_j(y) a component's probability of the whole
sequence, end token included,

    w(y) = exp( log pi_old(y) - logsumexp_j( log share_j + log q_j(y) ) )        <= 1 / share_policy

in float64, from the learner's own forward passes. The weight stays fixed over the updates of the batch and multiplies
the advantage. The ratio stays pi / pi_old, and no other correction is applied on top.

weight "exact" estimates the on-policy gradient without bias, so that by itself it adds no mass to lost answers: it only
changes the variance of their estimate. "power" raises w to lambda < 1 and "none" sets it to 1: those do add mass, with
bias.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.objectives import readouts
from explore_rl.objectives.corrections import mixture_weight
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Column, Needs, StepContext, Strategy, Trial
from explore_rl.types import Group, Problem, Request, Sample

log = logging.getLogger(__name__)

WEIGHTS = ("exact", "power", "none")

# In bfloat16 the hidden states are rounded, and a token's log-probability is off by about so much (nats, standard
# deviation) even with a head in float32. Of random states and weights with largest logits of 17 to 23, where the last
# state alone was rounded; a deep network rounds in every layer, so that this is the least to expect.
NOISE = 0.007
LONG = 256  # tokens beyond which a user is told what that makes of a sequence's weight


_STREAMING = ("rollout.streaming=true", "rollout.streaming=false")


class MixturePolicy(Strategy):
    """Draws from a mixture of policies, weighted back to the current one.

    share_policy, share_base, share_hot: probabilities of the components, share_policy above 0, sum 1.
    hot_temperature: temperature of the hot component, 1.5 if not given.
    weight: "exact", "power" or "none".
    power: the lambda of w^lambda for weight "power", in (0, 1), .5 if not given.
    """

    name = "mixture_policy"
    acts_on_draws = True
    trial = Trial(
        off={"share_policy": 1.0, "share_base": 0.0, "share_hot": 0.0},
        settings=("algorithm.importance_cap=null", "algorithm.advantage=rloo", "algorithm.aggregation=constant"),
    )

    def __init__(
        self,
        *,
        share_policy: float = 0.5,
        share_base: float = 0.25,
        share_hot: float = 0.25,
        hot_temperature: float | None = None,
        weight: str = "exact",
        power: float | None = None,
    ):
        shares = {
            "policy": parameters.share("share_policy", share_policy),
            "base": parameters.share("share_base", share_base),
            "hot": parameters.share("share_hot", share_hot),
        }
        if abs(sum(shares.values()) - 1) > 1e-9:
            raise ValueError(f"shares {shares}: expected numbers with sum 1")
        if not shares["policy"] > 0:
            raise ValueError("share_policy: expected above 0, or the weights have no bound")

        # Settings without effect are refused, since a user takes them for a change.
        if hot_temperature is not None and not shares["hot"]:
            raise ValueError(f"hot_temperature={hot_temperature!r} has no effect with share_hot=0")
        self.weight = parameters.choice("weight", weight, choices=WEIGHTS)
        if power is not None and weight != "power":
            raise ValueError(f"power={power!r} has no effect with weight={weight}; for w^lambda use weight=power")

        self.shares = {name: share for name, share in shares.items() if share > 0}
        hot_temperature = 1.5 if hot_temperature is None else hot_temperature
        self.hot_temperature = parameters.number("hot_temperature", hot_temperature, above=0)
        power = parameters.number("power", 0.5 if power is None else power, above=0, below=1)
        self.exponent = {"exact": 1.0, "power": power, "none": 0.0}[weight]

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        algorithm = config.algorithm
        if any(isinstance(other, MixturePolicy) for other in others):
            raise InputError("strategies: mixture_policy: stands there twice; one mixture has all components")
        if algorithm.importance_cap is not None:
            raise InputError(
                "strategies: mixture_policy: its weight is the whole correction; set algorithm.importance_cap=null"
            )

        ahead, not_ahead = ("run.ahead=1", "run.ahead=0") if config.run.ahead else _STREAMING
        if (config.run.ahead or config.rollout.streaming) and self.weight != "none":
            raise InputError(
                f"strategies: mixture_policy: {ahead}: its weights want the probability under the policy that drew,"
                f" and the learner has moved on by then; set weight=none, or {not_ahead}"
            )

        # The policy's share of a group has to suffice for the draws that are always its own.
        expected = self.shares["policy"] * algorithm.group_size
        least = config.rewards.min_group
        if expected < least - 1e-9:
            raise InputError(
                f"strategies: mixture_policy: share_policy={self.shares['policy']:g} of"
                f" algorithm.group_size={algorithm.group_size} is {expected:g} draws, below rewards.min_group={least}:"
                f" groups would have no baseline; expected share_policy of at least {least / algorithm.group_size:.3g}"
            )

        # What else would bias the weighted gradient: a baseline or a scale that looks at the sample, a divisor that
        # follows the lengths drawn, a choice of groups or of samples by what came back.
        made_by_another = any(other.turn == "first" for other in others)  # which is judged by its `biases` below
        exact_needs = {
            "advantage=rloo": algorithm.advantage == "rloo" or made_by_another,
            "divide_by_std=null": not algorithm.divide_by_std,
            "aggregation=constant": algorithm.aggregation == "constant",
            "dynamic_sampling_rounds=0": algorithm.dynamic_sampling_rounds == 0,
            "mask_truncated=false": not algorithm.mask_truncated,
        }
        wrong = [f"algorithm.{setting}" for setting, holds in exact_needs.items() if not holds]
        if self.weight == "exact" and wrong:
            raise InputError(
                f"strategies: mixture_policy: weight=exact would not be unbiased; set {' '.join(wrong)},"
                " or weight=power or none"
            )

        for other in others:
            if self.weight == "exact" and other.biases:
                raise InputError(
                    f"strategies: mixture_policy: weight=exact would not be unbiased beside {other.name}, since"
                    f" {other.biases}; change that, or set weight=power or none"
                )
        self._tell_of_rounding(config)

        if "hot" in self.shares and self.hot_temperature <= config.rollout.temperature:
            raise InputError(
                f"strategies: mixture_policy: hot_temperature={self.hot_temperature}:"
                f" expected above rollout.temperature={config.rollout.temperature}"
            )

    def _tell_of_rounding(self, config: Config) -> None:
        """Warns where a sequence's weight is the exponential of a sum of many rounded numbers."""
        tokens = config.rollout.max_new_tokens
        weighs = self.weight != "none" and len(self.shares) > 1
        if not weighs or config.model.dtype != "bfloat16" or tokens <= LONG:
            return
        log.warning(
            "mixture_policy: weight=%s multiplies the ratios of all tokens, and model.dtype=bfloat16 rounds each of"
            " them: at rollout.max_new_tokens=%d the rounding of hidden states alone moves a weight's logarithm by"
            " %.1f nats or more (standard deviation), so that a weight is off by a factor of %.2f and the estimate is"
            " no longer unbiased; use model.dtype=float32, weight=none, or at most %d tokens, and watch"
            " engine/logprob_difference_mean: it times the root of the length is the noise of a weight",
            self.weight,
            tokens,
            self.exponent * NOISE * math.sqrt(tokens),
            math.exp(self.exponent * NOISE * math.sqrt(tokens)),
            LONG,
        )

    def needs(self, config: Config) -> Needs:
        columns = []
        if "base" in self.shares:
            columns.append(Column("base_logprob", "base", readouts.logprob(config.rollout.temperature)))
        if "hot" in self.shares:
            columns.append(Column("hot_logprob", "policy", readouts.logprob(self.hot_temperature)))
        return Needs(base_engine="base" in self.shares, columns=tuple(columns))

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round > 0:
            return requests
        places_of_group: dict[int, list[int]] = {}
        for i, request in enumerate(requests):
            if request.temperature:  # a greedy draw is no sample of the mixture
                places_of_group.setdefault(request.group, []).append(i)

        # The first requests of a group stay the policy's; each of the others draws its component.
        components = ["policy"] * len(requests)
        shares = [{"policy": 1.0} if request.temperature else None for request in requests]
        for places in places_of_group.values():
            fixed, chances = self.allocation(len(places), context.config.rewards.min_group)
            free = places[fixed:]
            if free:
                drawn = context.rng.choice(list(chances), size=len(free), p=list(chances.values()))
                for i, name in zip(free, drawn, strict=True):
                    components[i] = str(name)
                    shares[i] = chances
        planned = zip(components, shares, requests, strict=True)
        return [replace(self.drawn_by(component, request), share=share) for component, share, request in planned]

    def allocation(self, size: int, at_least: int) -> tuple[int, dict[str, float]]:
        """Draws of a group of `size` that are the policy's for sure, and each component's chance at each of the others.

        at_least: rewards.min_group.
        """
        fixed = min(at_least, int(size * self.shares["policy"] + 1e-9))
        left = {}  # component -> draws that it is still owed, in expectation
        for name, share in self.shares.items():
            left[name] = max(0.0, size * share - (fixed if name == "policy" else 0))
        total = max(sum(left.values()), 1e-9)
        return fixed, {name: amount / total for name, amount in left.items()}

    def drawn_by(self, component: str, request: Request) -> Request:
        """The request as `component` draws it.

        Only the current policy's draws are in the group's baseline. Any baseline that does not look at the sample
        leaves the weighted gradient unbiased.
        """
        if component == "base":
            return replace(request, source="base", engine="base", in_baseline=False)
        if component == "hot":
            return replace(request, source="hot", temperature=self.hot_temperature, in_baseline=False)
        return request

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        samples = []
        shares = []
        for group in groups:
            of_group = self.shares_of(group)
            for sample in group.samples:
                if is_weighted(sample):
                    samples.append(sample)
                    shares.append(of_group)
        if not samples:
            return

        # Each sample's log-probability under every component that could have drawn it, summed over the sequence.
        columns = {"policy": "old_logprob", "base": "base_logprob", "hot": "hot_logprob"}
        totals = {}
        for name in self.shares:
            of_drawn = [s.columns[columns[name]][~s.rollout.given] for s in samples]  # a given prefix is everybody's
            totals[name] = np.array([logprobs.sum(dtype=np.float64) for logprobs in of_drawn])
        exact = mixture_weight(totals["policy"], np.stack(list(totals.values())), shares=np.array(shares).T)
        used = exact**self.exponent
        for sample, weight in zip(samples, used, strict=True):
            sample.weight = float(weight)

        # How well these draws stand for the policy's own: of the exact weights, whatever the exponent.
        context.metrics["effective_sample_size"] = float(exact.sum() ** 2 / (exact**2).sum() / len(exact))
        for name in self.shares:
            of_source = np.array([s.rollout.request.source == name for s in samples])
            if of_source.any():
                context.metrics[f"exact_weight_{name}"] = float(exact[of_source].mean())
                context.metrics[f"weight_{name}"] = float(used[of_source].mean())

    def shares_of(self, group: Group) -> list[float]:
        """What part of the group's draws each component makes in expectation, whether they count in the end or not."""
        planned = [s.rollout.request.share for s in group.samples]
        planned = [share for share in planned if share is not None]
        return [sum(share.get(name, 0.0) for share in planned) / max(len(planned), 1) for name in self.shares]


def is_weighted(sample: Sample) -> bool:
    """Whether the mixture planned the sample, the learner scored it, and it counts for its group."""
    drawn = sample.rollout.drawn and sample.rollout.request.share is not None
    return sample.reward is not None and drawn and "old_logprob" in sample.columns
