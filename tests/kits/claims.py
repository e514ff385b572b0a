"""What the strategies that claim figures claim of the first step of a run over digits, alone and beside any other.

A claim is a function(outcome, groups, names): groups are those learnt from, names the run's strategies in order. It
computes the figures itself: exact weights from the table's probabilities and the shares that each group really drew,
counts from the records, normalisers from the lengths. What another strategy added to rewards and advantages at its own
places is recorded as it does so (`Seen.watch`), and taken off first.
"""

from collections import Counter

import numpy as np
import pytest

from explore_rl.objectives import divergences
from explore_rl.strategies.base import Strategy
from explore_rl.training.rows import sequence_of, token_advantage

SHARES = {"policy": 0.5, "base": 0.25, "hot": 0.25}


class Seen(Strategy):
    """Keeps the groups that were drawn, a draw at a time, and those that were learnt from; and who added what.

    paid, moved: (name of a strategy, id of a sample) -> what it added to the reward, and to each token's advantage.
    found: the same -> each token's advantage as it found it at `keep`, the first time.
    """

    def __init__(self):
        self.groups, self.draws, self.paid, self.moved, self.found = [], [], {}, {}, {}

    def watch(self, strategies):
        """Records what each of them adds. Returns them."""
        for strategy in strategies:
            self._record(strategy, "reward", self.paid, lambda sample: sample.reward)
            for place in ("advantage", "keep"):
                self._record(strategy, place, self.moved, token_advantage)
        return strategies

    def _record(self, strategy, place, into, read):
        act = getattr(strategy, place)

        def recorded(groups, context):
            before = {id(s): read(s) for s in samples_of(groups) if s.reward is not None}
            result = act(groups, context)
            for s in samples_of(groups):
                if id(s) in before:
                    key = (strategy.name, id(s))
                    into[key] = into.get(key, 0.0) + read(s) - before[id(s)]
                    if place == "keep":
                        self.found.setdefault(key, before[id(s)])
            return result

        object.__setattr__(strategy, place, recorded)  # a frozen dataclass may be a strategy

    def keep(self, groups, context):
        self.draws.append(groups)
        return groups, 0

    def after_update(self, groups, context):
        self.groups = groups


def added(outcome, what, sample, *, own):
    """What all but `own` added to the sample's reward ("paid") or to its tokens' advantages ("moved")."""
    return sum(
        (by for (name, of), by in getattr(seen_of(outcome), what).items() if name != own and of == id(sample)), 0.0
    )


def seen_of(outcome):
    (seen,) = [s for s in outcome.trainer.strategies if isinstance(s, Seen)]
    return seen


def samples_of(groups):
    return [sample for group in groups for sample in group.samples]


def learnt_from(groups):
    """Samples that have a row, in the order of the rows."""
    teaching = [s for s in samples_of(groups) if s.reward is not None and s.terms]
    return [s for s in teaching if mask_of(s).any() and not is_idle(s)]


def is_idle(sample):
    """Whether it feeds the policy gradient alone, and has no advantage there: it is not computed."""
    weighed = {name for name, coefficient in sample.terms.items() if coefficient}
    return weighed <= {"policy_gradient"} and not np.any(sample.columns.get("advantage", sample.advantage))


def drawn_of(group):
    """Samples of the group that an engine drew; a greedy draw is none."""
    return [s for s in group.samples if s.rollout.drawn and s.rollout.request.source != "greedy"]


def of_source(groups, source):
    return [sample for sample in samples_of(groups) if sample.rollout.request.source == source]


def mask_of(sample):
    """1 on the tokens that are learnt from: not on what was given within a draw."""
    mask = sample.columns.get("mask", np.ones(len(sample.rollout.tokens)))
    if not sample.rollout.drawn:
        return mask
    learnt = sample.columns.get("learn_given", np.zeros(len(mask)))
    return np.where(sample.rollout.given, mask * learnt, mask)


def with_draws(groups):
    return [group for group in groups if drawn_of(group)]


def drawn_before(outcome):
    """Samples of the step in baselines, a list a draw, those of dropped groups included."""
    every = [samples_of(groups) for groups in seen_of(outcome).draws]
    return [[s for s in draw if s.rollout.drawn and s.rollout.request.in_baseline] for draw in every]


def own_advantage(outcome, sample, own):
    """Each token's advantage without what the others added to it."""
    return token_advantage(sample) - added(outcome, "moved", sample, own=own)


# What puts samples of its own into a group, or draws some more.
BRING = {"rl_plus", "srft", "hpt", "relift", "bread", "hints", "dph_rl"}


def injects_a_trace_in_place_of_a_draw(outcome, groups, names):
    config = outcome.trainer.config.algorithm
    size = config.group_size
    seen = 0
    for group in with_draws(groups):
        shaped = [sample for sample in group.samples if sample.terms.get("shaped_trace") == 1.0]
        if not BRING & {*names}:
            assert len(shaped) == 1 and len(drawn_of(group)) == size - 1
        assert all(s.rollout.given.all() and not s.rollout.request.in_baseline for s in shaped)
        seen += len(shaped)
        counted = [s.reward for s in group.samples if s.rollout.request.in_baseline and s.reward is not None]
        if not {"remax", "rs_grpo"} & {*names}:  # measured against the draws, and not one of them
            spread = np.std(counted, ddof=1)
            divides = config.advantage == "grpo" if config.divide_by_std is None else config.divide_by_std
            divided = divides and spread > 1e-6
            for sample in shaped:
                expected = (sample.reward - np.mean(counted)) / (spread + 1e-6 if divided else 1.0)
                assert own_advantage(outcome, sample, "trace_injection") == pytest.approx(expected, abs=1e-5)
    assert seen, "no group has a trace"


def counts_every_answer_that_was_drawn(outcome, groups, names):
    given = ("trace", "detour")
    drawn = [s for s in outcome.samples(0) if s["source"] not in given and s["verdict"] in ("correct", "wrong")]
    expected = {problem: Counter() for problem in {s["problem_id"] for s in outcome.samples(0)}}
    for sample in drawn:
        expected[sample["problem_id"]][sample["mode"] or sample["answer"]] += 1
    (bonus,) = [s for s in outcome.trainer.strategies if s.key == "diversity_bonus"]
    assert bonus.counts == expected
    assert outcome.metrics[0]["diversity_bonus/bonus_mean"] == 1.0  # every answer is new in the first step


def learns_traces_beside_the_draws(outcome, groups, names):
    for group in with_draws(groups):
        (sample,) = [sample for sample in group.samples if "likelihood" in sample.terms]
        assert sample.terms == {"likelihood": 0.5} and not sample.rollout.request.in_baseline


def weights_are_exact(outcome, groups, names):
    """pi over the mixture that the group really drew from; in the first step policy and base are the first table."""
    table = outcome.learner.start
    for group in with_draws(groups):
        drawn = drawn_of(group)
        shares = {name: np.mean([s.rollout.request.share.get(name, 0.0) for s in drawn]) for name in SHARES}
        tracing = {"trace_injection", "rl_plus"} & {*names}
        if tracing and names.index("mixture_policy") < names.index(*tracing):
            # 2 of 8 are the policy's; of the other 6 a third is each one's, and a trace took the place of one of them.
            assert shares == pytest.approx({"policy": (2 + 5 / 3) / 7, "base": 5 / 21, "hot": 5 / 21})
        else:
            assert shares == pytest.approx(SHARES)
        for sample in drawn:
            prompt, tokens = (tuple(x.tolist()) for x in (sample.rollout.request.prompt_ids, sample.rollout.tokens))
            at = table.rows(prompt, tokens)
            log_pi, log_hot = (
                table.log_probabilities(at, t)[np.arange(len(tokens)), list(tokens)][~sample.rollout.given].sum()
                for t in (1.0, 1.5)
            )
            mixture = (shares["policy"] + shares["base"]) * np.exp(log_pi) + shares["hot"] * np.exp(log_hot)
            assert sample.weight == pytest.approx(np.exp(log_pi) / mixture, rel=1e-5)


def beside(row):
    """The coefficient of what goes with the policy gradient: its own, or that of what has taken its place."""
    return row.terms["policy_gradient"] + row.terms.get("flow_balance", 0.0) + row.terms.get("trajectory_balance", 0.0)


def is_fed_by_every_row_of_the_policy_gradient(term, coefficient):
    def claim(outcome, groups, names):
        for row, sample in zip(outcome.updates[0].rows, learnt_from(groups), strict=True):
            assert (term in row.terms) == ("policy_gradient" in row.terms)
            if term in row.terms:
                expected = coefficient * sample.weight * beside(row)
                assert row.terms[term] == pytest.approx(expected)
        assert any(term in row.terms for row in outcome.updates[0].rows)

    return claim


def is_paid_by_every_member(outcome, groups, names):
    for sample in samples_of(with_draws(groups)):
        paid = -added(outcome, "paid", sample, own="soft_overlong")
        if "kl in the reward" in names:
            paid += 0.25 * divergences.in_reward(
                "k3", sample.columns["old_logprob"], reference_logprob=sample.columns["base_logprob"]
            )
        if "soft_overlong" in names:
            paid += 0.5 * max(0, len(sample.rollout.tokens) - outcome.trainer.config.rollout.max_new_tokens + 1)
        assert sample.verdict.score - sample.reward == pytest.approx(paid, abs=1e-9)


def measures_against_the_greedy_draw(outcome, groups, names):
    for group in with_draws(groups):
        (greedy,) = [sample for sample in group.samples if sample.rollout.request.source == "greedy"]
        assert not greedy.terms and not greedy.rollout.request.in_baseline
        for sample in (sample for sample in group.samples if sample is not greedy):
            expected = sample.reward - greedy.reward
            assert own_advantage(outcome, sample, "remax") == pytest.approx(expected, abs=1e-5)


def normalises_over_the_batch(outcome, groups, names):
    seen = seen_of(outcome)
    counted = [s for s in samples_of(groups) if s.rollout.request.in_baseline]
    found = np.concatenate([seen.found["reinforce_pp", id(s)][~s.rollout.given] for s in counted])
    after = "entropy_advantage" in names  # which adds to what it makes
    made = [token_advantage(s) - (added(outcome, "moved", s, own="reinforce_pp") if after else 0.0) for s in counted]
    made = np.concatenate([values[~s.rollout.given] for values, s in zip(made, counted, strict=True)])
    assert made == pytest.approx((found - found.mean()) / found.std(), abs=1e-5)


def gives_the_risk_sensitive_advantage(outcome, groups, names):
    for group in with_draws(groups):
        rewarded = [s for s in group.samples if s.reward is not None and "policy_gradient" in s.terms]
        mean = np.mean([np.exp(2 * s.reward) for s in rewarded if s.rollout.request.in_baseline])
        for sample in rewarded:
            expected = (np.exp(2 * sample.reward) / mean - 1) / 2
            assert own_advantage(outcome, sample, "rs_grpo") == pytest.approx(expected, abs=1e-5)


def lifts_candidates_at_forks(outcome, groups, names):
    """On every row of the policy gradient; a token forks if its entropy, by the table, is above the median."""
    table = outcome.learner.start
    for row, sample in zip(outcome.updates[0].rows, learnt_from(groups), strict=True):
        assert ("simko" in row.terms) == ("policy_gradient" in row.terms)
        if "simko" in row.terms:
            assert row.terms["simko"] == pytest.approx(beside(row) / (sample.weight if "flow_rl" in names else 1.0))
            prompt, tokens = (tuple(x.tolist()) for x in (sample.rollout.request.prompt_ids, sample.rollout.tokens))
            log_p = table.log_probabilities(table.rows(prompt, tokens))
            entropy = -(np.exp(log_p) * log_p).sum(1)
            assert (sample.columns["forks"] == (entropy > np.median(entropy) + 1e-6)).all()
    assert any("simko" in row.terms for row in outcome.updates[0].rows)


def moves_the_base_and_forgets(outcome, groups, names):
    """And follows the mean score of all that the policy drew, of groups that were dropped as well."""
    learner = outcome.learner
    assert learner.base_refreshed and (learner.base.logits == learner.policy.logits).all()
    assert not learner.optimizers["policy"].state and (learner.policy.logits != learner.start.logits).any()
    (prorl,) = [s for s in outcome.trainer.strategies if s.key == "prorl"]
    scores = [s.verdict.score for draw in drawn_before(outcome) for s in draw if s.verdict.score is not None]
    assert prorl.smoothed == pytest.approx(np.mean(scores)) and outcome.metrics[0]["prorl/resets"] == 1


def worth_by_the_critic(outcome, names):
    """id of a sample -> advantage of each of its tokens; the critic says 0 everywhere in the first step."""
    worth = {}
    for draw in drawn_before(outcome):
        rewards = np.concatenate([np.full(len(s.rollout.tokens), s.reward) for s in draw])
        for s in draw:
            worth[id(s)] = (s.reward - rewards.mean()) / (rewards.std() + 1e-8)
    return worth


def gives_the_advantage_that_the_critic_sees(outcome, groups, names):
    assert outcome.learner.values.detach().any()
    if "dph_rl" in names:  # takes easy groups out, so that others are left to normalise over
        return
    worth = worth_by_the_critic(outcome, names)
    for row, sample in zip(outcome.updates[0].rows, learnt_from(groups), strict=True):
        assert ("value" in row.terms) == (id(sample) in worth) == sample.rollout.drawn
        if sample.rollout.drawn:
            assert sample.columns["return"] == pytest.approx(sample.reward)
            if "reinforce_pp" not in names:  # which normalises it over the batch
                assert own_advantage(outcome, sample, "ppo") == pytest.approx(worth[id(sample)], abs=1e-5)


def balances_in_place_of_the_policy_gradient(outcome, groups, names):
    """Policy and base are one in the first step and log Z is 0: a completion costs (beta x its mean advantage)^2."""
    loss = 0.0
    for row, sample in zip(outcome.updates[0].rows, learnt_from(groups), strict=True):
        assert ("flow_balance" in row.terms) == ("policy_gradient" in row.terms)
        if "flow_balance" in row.terms:
            assert row.terms["policy_gradient"] == 0
            worth = np.mean(sample.columns.get("advantage", sample.advantage))
            loss += row.terms["flow_balance"] * mask_of(sample).sum() * (2 * worth) ** 2
    assert loss > 0 and outcome.updates[0].report.metrics["flow_balance/loss"] == pytest.approx(loss, rel=1e-4)


def corrects_what_the_policy_drew(outcome, groups, names):
    """Engine and learner are the same table here, so the factor is 1; and only where an engine drew."""
    for sample in samples_of(groups):
        is_drawn = sample.rollout.drawn and sample.rollout.request.source not in ("greedy", "anchor")
        assert ("correction" in sample.columns) == is_drawn
        if "mixed_cuts" not in names:  # which has its own draws corrected
            assert sample.columns.get("correction", np.ones(1)) == pytest.approx(1.0, abs=1e-6)


def masks_what_was_cut_off(outcome, groups, names):
    cut = [sample for sample in samples_of(groups) if sample.rollout.truncated]
    assert cut or "uft" in names  # whose prefixes bring them all to the end
    rows = {row.tokens.tobytes() for row in outcome.updates[0].rows}
    assert len(outcome.updates[0].rows) == len(learnt_from(groups))
    assert not rows & {sequence_of(sample.rollout)[0].tobytes() for sample in cut}
    assert all(sample.reward is not None for sample in cut)  # they stay in the baseline


def fills_the_batch_with_what_pulls(outcome, groups, names):
    assert len(with_draws(groups)) == 4
    if "relift" not in names:  # whose buffer is groups without a draw
        assert outcome.metrics[0]["signal/groups_without"] == 0
    kept = {sample["group"] for sample in outcome.samples(0) if sample["kept"]}
    assert kept == set(range(len(groups))) and outcome.metrics[0]["dynamic_sampling/draws"] >= 1


CLAIMS = {
    "trace_injection": injects_a_trace_in_place_of_a_draw,
    "diversity_bonus": counts_every_answer_that_was_drawn,
    "likelihood": learns_traces_beside_the_draws,
    "mixture_policy": weights_are_exact,
    "soft_overlong": is_paid_by_every_member,
    "remax": measures_against_the_greedy_draw,
    "reinforce_pp": normalises_over_the_batch,
    "rs_grpo": gives_the_risk_sensitive_advantage,
    "simko": lifts_candidates_at_forks,
    "prorl": moves_the_base_and_forgets,
    "ppo": gives_the_advantage_that_the_critic_sees,
    "flow_rl": balances_in_place_of_the_policy_gradient,
    "kl in the loss": is_fed_by_every_row_of_the_policy_gradient("kl", 0.25),
    "kl in the reward": is_paid_by_every_member,
    "entropy": is_fed_by_every_row_of_the_policy_gradient("entropy", 0.125),
    "engine_correction": corrects_what_the_policy_drew,
    "overlong": masks_what_was_cut_off,
    "dynamic_sampling": fills_the_batch_with_what_pulls,
}


def check_claims(outcome, groups, names):
    """What the run's strategies claim, of those that claim figures, and its normalisers."""
    assert with_draws(groups), "nothing was drawn that could be looked at"
    for name in names:
        if name in CLAIMS:
            CLAIMS[name](outcome, groups, names)
    normalisers_hold(outcome, groups)


def normalisers_hold(outcome, groups):
    """Each normaliser divides over the samples that feed one of its terms, and over no others."""
    config = outcome.trainer.config
    normaliser_of = {term.name: term.normaliser for term in outcome.trainer.terms}
    counted = [sample for sample in samples_of(groups) if sample.reward is not None and sample.terms]
    learnt = learnt_from(groups)
    if not learnt:  # a row that pulls at nothing stands for all
        return
    rows = dict(zip(map(id, learnt), outcome.updates[0].rows, strict=True))
    for normaliser in set(normaliser_of.values()):
        feeding = [s for s in counted if any(normaliser_of[name] == normaliser for name in s.terms)]
        tokens = sum(mask_of(s).sum() for s in feeding)
        divisor = {"token": tokens, "constant": len(feeding) * config.rollout.max_new_tokens}
        for sample in feeding:
            for name, coefficient in sample.terms.items() if id(sample) in rows else ():
                if normaliser_of[name] == normaliser:
                    expected = coefficient / divisor[config.algorithm.aggregation]
                    assert rows[id(sample)].terms[name] == pytest.approx(expected)
