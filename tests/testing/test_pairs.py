"""Every pair of shipped strategies, built-in ones included: both keep what they claim, or they are refused by name.

A claim is checked on a step of the real Trainer, with figures that the test computes itself: exact weights from the
table's probabilities and the shares that each group really drew, counts from the records, normalisers from the lengths.
"""

import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from analysis.errors import InputError
from explore_rl import strategies
from explore_rl.objectives import divergences
from explore_rl.strategies import builtin
from explore_rl.strategies.base import Strategy
from explore_rl.testing import digit_table, digits_config, run_steps

REPOSITORY = Path(__file__).resolve().parents[2]
STEP = ("run.steps=1", "algorithm.importance_cap=null")
UNBIASED = ("algorithm.advantage=rloo", "algorithm.aggregation=constant")
SHARES = {"policy": 0.5, "base": 0.25, "hot": 0.25}
KL = ("algorithm.kl=k3", "algorithm.kl_coefficient=0.25")

# Name -> how it is switched on in a recipe, and the settings of the run that it needs or consists of.
METHODS = {
    "trace_injection": ({"name": "trace_injection", "statistics": "on_policy"}, ()),
    "diversity_bonus": ({"name": "diversity_bonus", "kind": "ucb"}, ()),
    "likelihood": ({"name": "likelihood", "coefficient": 0.5}, ()),
    "mixture_policy": ({"name": "mixture_policy"} | {f"share_{name}": s for name, s in SHARES.items()}, UNBIASED),
    "soft_overlong": ({"name": "soft_overlong", "buffer": 1}, ()),
    "remax": ({"name": "remax"}, ()),
    "reinforce_pp": ({"name": "reinforce_pp", "baseline": "group"}, ("algorithm.advantage=rloo",)),
    "rs_grpo": ({"name": "rs_grpo", "beta": 2.0}, ()),
    "simko": ({"name": "simko", "alpha": 0.2, "penalty": 1.5, "quantile": 0.5}, ()),
    "prorl": ({"name": "prorl", "every": 1}, (*KL, "learner.optimizer=adamw", "learner.learning_rate=0.1")),
    "ppo": ({"name": "ppo"}, ()),
    "flow_rl": ({"name": "flow_rl", "beta": 2.0}, ()),
}
OFF = {
    "trace_injection": {"rate": 0.0},
    "diversity_bonus": {"coefficient": 0.0},
    "likelihood": {"rate": 0.0},
    "mixture_policy": {"share_policy": 1.0, "share_base": 0.0, "share_hot": 0.0},
    "soft_overlong": {"coefficient": 0.0},
    "remax": {"share": 0.0},
    "reinforce_pp": {"whiten": False},
    "rs_grpo": {"beta": 0.0},  # Dr. GRPO
    "simko": {"alpha": 0.0, "penalty": 1.0},
    "prorl": {"every": None},
    "ppo": {"share": 0.0},
    "flow_rl": {"share": 0.0},
}
BUILTIN = {
    "kl in the loss": KL,
    "kl in the reward": (*KL, "algorithm.kl_place=reward"),
    "entropy": ("algorithm.entropy_coefficient=0.125",),
    "engine_correction": ("algorithm.importance_cap=2.0",),
    "overlong": ("algorithm.mask_truncated=true",),
    "dynamic_sampling": ("algorithm.dynamic_sampling_rounds=6",),
}
# What is refused, as docs/strategies.md has it.
REFUSED = {
    ("mixture_policy", "engine_correction"): "its weight is the whole correction; set algorithm.importance_cap=null",
    ("mixture_policy", "overlong"): "weight=exact would not be unbiased; set algorithm.mask_truncated=false",
    (
        "mixture_policy",
        "dynamic_sampling",
    ): "weight=exact would not be unbiased; set algorithm.dynamic_sampling_rounds=0",
    ("mixture_policy", "reinforce_pp"): "the spread that it divides by is that of what was drawn",
    ("mixture_policy", "rs_grpo"): "it divides by the group's mean, which looks at the sample itself",
    ("mixture_policy", "prorl"): "resets the base, and an engine draws from the initial one",
    ("mixture_policy", "ppo"): "whiten=true divides by a spread that looks at the sample itself",
    ("mixture_policy", "flow_rl"): "the balance is no policy gradient",
    ("rs_grpo", "ppo"): "makes the advantages too",
    ("remax", "rs_grpo"): "remax makes the advantages too",
    ("remax", "ppo"): "remax makes the advantages too",
    ("kl in the loss", "kl in the reward"): "",  # one setting, algorithm.kl_place
}
NAMES = [*METHODS, *BUILTIN]
PAIRS = [pair for pair in itertools.combinations(NAMES, 2) if pair not in REFUSED]
OF_METHODS = [pair for pair in itertools.permutations(METHODS, 2) if not {pair, pair[::-1]} & REFUSED.keys()]


class Seen(Strategy):
    """Keeps the groups that were drawn, a draw at a time, and those that were learnt from."""

    def __init__(self):
        self.groups, self.draws = [], []

    def keep(self, groups, context):
        self.draws.append(groups)
        return groups, 0

    def after_update(self, groups, context):
        self.groups = groups


def config_of(names, *more):
    settings = [setting for name in names for setting in (METHODS[name][1] if name in METHODS else BUILTIN[name])]
    if "rs_grpo" in names:  # which makes the advantages
        settings = [setting for setting in settings if not setting.startswith("algorithm.advantage=")]
    return digits_config(*STEP, *settings, *more)


def run(folder, names, *, config=None, off=()):
    """A step with the strategies of `names` in this order, those of `off` switched off; and the groups learnt from."""
    made = strategies.make([METHODS[n][0] | (OFF[n] if n in off else {}) for n in names if n in METHODS])
    seen = Seen()
    outcome = run_steps(folder, [*made, seen], config=config or config_of(names))
    return outcome, seen.groups


def test_the_cases_are_all_that_is_shipped():
    assert METHODS.keys() == OFF.keys() == strategies.STRATEGIES.keys()
    everything = digits_config(*(setting for settings in BUILTIN.values() for setting in settings))
    kinds = {type(strategy) for strategy in builtin.around([], everything)} | {builtin.KLInLoss}
    named = {getattr(builtin, name) for name in builtin.__all__ if name != "around"}
    assert kinds == named and len(named) == len(BUILTIN) + 1  # and what gives groups their advantages


# --- what each claims -------------------------------------------------------------------------------------------------


def samples_of(groups):
    return [sample for group in groups for sample in group.samples]


def learnt_from(groups):
    """Samples that have a row, in the order of the rows."""
    return [
        s for s in samples_of(groups) if s.reward is not None and s.terms and s.columns.get("mask", np.ones(1)).any()
    ]


def drawn_of(group):
    """Samples of the group that an engine drew; a greedy draw is none."""
    return [s for s in group.samples if s.rollout.drawn and s.rollout.request.source != "greedy"]


def of_source(groups, source):
    return [sample for sample in samples_of(groups) if sample.rollout.request.source == source]


def drawn_before(outcome):
    """Samples of the step in baselines, a list a draw, those of dropped groups included."""
    (seen,) = [s for s in outcome.trainer.strategies if isinstance(s, Seen)]
    every = [samples_of(groups) for groups in seen.draws]
    return [[s for s in draw if s.rollout.drawn and s.rollout.request.in_baseline] for draw in every]


def bonus_of(sample, names):
    """What the diversity bonus adds in the first step, in which every answer is new."""
    return 0.2 if "diversity_bonus" in names and sample.rollout.drawn and sample.verdict.is_evidence else 0.0


def injects_a_trace_in_place_of_a_draw(outcome, groups, names):
    for group in groups:
        shaped = [sample for sample in group.samples if sample.terms.get("shaped_trace") == 1.0]
        assert len(shaped) == 1 and shaped[0].rollout.given.all() and not shaped[0].rollout.request.in_baseline
        assert len(drawn_of(group)) == 7
        counted = [s.reward for s in group.samples if s.rollout.request.in_baseline and s.reward is not None]
        if not {"diversity_bonus", "remax", "rs_grpo"} & {*names}:  # measured against the draws, and not one of them
            spread = np.std(counted, ddof=1)
            divided = outcome.trainer.config.algorithm.advantage == "grpo" and spread > 1e-6
            expected = (shaped[0].reward - np.mean(counted)) / (spread + 1e-6 if divided else 1.0)
            assert shaped[0].advantage == pytest.approx(expected)


def counts_every_answer_that_was_drawn(outcome, groups, names):
    drawn = [s for s in outcome.samples(0) if s["source"] != "trace" and s["verdict"] in ("correct", "wrong")]
    expected = {problem: Counter() for problem in {s["problem_id"] for s in outcome.samples(0)}}
    for sample in drawn:
        expected[sample["problem_id"]][sample["mode"] or sample["answer"]] += 1
    (bonus,) = [s for s in outcome.trainer.strategies if s.key == "diversity_bonus"]
    assert bonus.counts == expected
    assert outcome.metrics[0]["diversity_bonus/bonus_mean"] == 1.0  # every answer is new in the first step


def learns_traces_beside_the_draws(outcome, groups, names):
    for group in groups:
        (sample,) = [sample for sample in group.samples if "likelihood" in sample.terms]
        assert sample.terms == {"likelihood": 0.5} and not sample.rollout.request.in_baseline


def weights_are_exact(outcome, groups, names):
    """pi over the mixture that the group really drew from; in the first step policy and base are the first table."""
    table = digit_table()
    for group in groups:
        drawn = drawn_of(group)
        shares = {name: np.mean([s.rollout.request.share.get(name, 0.0) for s in drawn]) for name in SHARES}
        if len(drawn) == 7 and names.index("mixture_policy") < names.index("trace_injection"):
            # 2 of 8 are the policy's; of the other 6 a third is each one's, and a trace took the place of one of them.
            assert shares == pytest.approx({"policy": (2 + 5 / 3) / 7, "base": 5 / 21, "hot": 5 / 21})
        else:
            assert shares == pytest.approx(SHARES)
        for sample in drawn:
            prompt, tokens = (tuple(x.tolist()) for x in (sample.rollout.request.prompt_ids, sample.rollout.tokens))
            at = table.rows(prompt, tokens)
            log_pi, log_hot = (
                table.log_probabilities(at, t)[np.arange(len(tokens)), list(tokens)].sum() for t in (1.0, 1.5)
            )
            mixture = (shares["policy"] + shares["base"]) * np.exp(log_pi) + shares["hot"] * np.exp(log_hot)
            assert sample.weight == pytest.approx(np.exp(log_pi) / mixture, rel=1e-5)


def beside(row):
    """The coefficient of what goes with the policy gradient: its own, or that of what has taken its place."""
    return row.terms["policy_gradient"] + row.terms.get("flow_balance", 0.0)


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
    for sample in samples_of(groups):
        paid = 0.0
        if "kl in the reward" in names:
            paid += 0.25 * divergences.in_reward("k3", sample.columns["old_logprob"], sample.columns["base_logprob"])
        if "soft_overlong" in names:
            paid += 0.5 * (len(sample.rollout.tokens) - 2)  # of 3; the last is the buffer
        assert sample.verdict.score - sample.reward == pytest.approx(paid, abs=1e-9)


def measures_against_the_greedy_draw(outcome, groups, names):
    for group in groups:
        (greedy,) = [sample for sample in group.samples if sample.rollout.request.source == "greedy"]
        assert not greedy.terms and not greedy.rollout.request.in_baseline
        for sample in (sample for sample in group.samples if sample is not greedy):
            assert sample.advantage == pytest.approx(sample.reward - greedy.reward + bonus_of(sample, names))


def normalises_over_the_batch(outcome, groups, names):
    counted = [s for s in samples_of(groups) if s.rollout.request.in_baseline]
    tokens = np.concatenate([s.columns["advantage"][~s.rollout.given] for s in counted])
    worth = worth_by_the_critic(outcome, names) if "ppo" in names else {id(s): s.advantage for s in counted}
    values = np.concatenate([np.full(len(s.rollout.tokens), worth[id(s)])[~s.rollout.given] for s in counted])
    assert tokens == pytest.approx((values - values.mean()) / values.std(), abs=1e-5)


def gives_the_risk_sensitive_advantage(outcome, groups, names):
    for group in groups:
        rewarded = [s for s in group.samples if s.reward is not None and s.terms]
        mean = np.mean([np.exp(2 * s.reward) for s in rewarded if s.rollout.request.in_baseline])
        for sample in rewarded:
            expected = (np.exp(2 * sample.reward) / mean - 1) / 2 + bonus_of(sample, names)
            assert sample.advantage == pytest.approx(expected)


def lifts_candidates_at_forks(outcome, groups, names):
    """On every row of the policy gradient; a token forks if its entropy, by the table, is above the median."""
    table = digit_table()
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
    assert prorl.score == pytest.approx(np.mean(scores)) and outcome.metrics[0]["prorl/resets"] == 1


def worth_by_the_critic(outcome, names):
    """id of a sample -> advantage of each of its tokens; the critic says 0 everywhere in the first step."""
    worth = {}
    for draw in drawn_before(outcome):
        rewards = np.concatenate([np.full(len(s.rollout.tokens), s.reward) for s in draw])
        for s in draw:
            worth[id(s)] = (s.reward - rewards.mean()) / (rewards.std() + 1e-8) + bonus_of(s, names)
    return worth


def gives_the_advantage_that_the_critic_sees(outcome, groups, names):
    worth = worth_by_the_critic(outcome, names)
    for row, sample in zip(outcome.updates[0].rows, learnt_from(groups), strict=True):
        assert ("value" in row.terms) == (id(sample) in worth) == sample.rollout.drawn
        if sample.rollout.drawn:
            assert sample.columns["return"] == pytest.approx(sample.reward)
            if "reinforce_pp" not in names:  # which normalises it over the batch
                assert sample.columns["advantage"] == pytest.approx(worth[id(sample)], abs=1e-5)
    assert outcome.learner.values.detach().any()


def balances_in_place_of_the_policy_gradient(outcome, groups, names):
    """Policy and base are one in the first step and log Z is 0: a completion costs (beta x its mean advantage)^2."""
    loss = 0.0
    for row, sample in zip(outcome.updates[0].rows, learnt_from(groups), strict=True):
        assert ("flow_balance" in row.terms) == ("policy_gradient" in row.terms)
        if "flow_balance" in row.terms:
            assert row.terms["policy_gradient"] == 0
            worth = np.mean(sample.columns.get("advantage", sample.advantage))
            loss += row.terms["flow_balance"] * len(sample.rollout.tokens) * (2 * worth) ** 2
    assert loss > 0 and outcome.updates[0].report.metrics["flow_balance/loss"] == pytest.approx(loss, rel=1e-4)


def corrects_what_the_policy_drew(outcome, groups, names):
    """Engine and learner are the same table here, so the factor is 1; and only where an engine drew."""
    for sample in samples_of(groups):
        is_drawn = sample.rollout.drawn and sample.rollout.request.source != "greedy"
        assert ("correction" in sample.columns) == is_drawn
        assert sample.columns.get("correction", np.ones(1)) == pytest.approx(1.0, abs=1e-6)


def masks_what_was_cut_off(outcome, groups, names):
    cut = [sample for sample in samples_of(groups) if sample.rollout.truncated]
    assert cut
    teaching = [s for s in samples_of(groups) if s.reward is not None and s.terms]
    assert len(outcome.updates[0].rows) == len(teaching) - len(cut)
    assert all(sample.reward is not None for sample in cut)  # they stay in the baseline


def fills_the_batch_with_what_pulls(outcome, groups, names):
    assert len(groups) == 4 and outcome.metrics[0]["signal/groups_without"] == 0
    kept = {sample["group"] for sample in outcome.samples(0) if sample["kept"]}
    assert kept == set(range(4)) and outcome.metrics[0]["dynamic_sampling/draws"] >= 1


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


def normalisers_hold(outcome, groups):
    """Each normaliser divides over the samples that feed one of its terms, and over no others."""
    config = outcome.trainer.config
    normaliser_of = {term.name: term.normaliser for term in outcome.trainer.terms}
    counted = [sample for sample in samples_of(groups) if sample.reward is not None and sample.terms]
    rows = dict(zip(map(id, learnt_from(groups)), outcome.updates[0].rows, strict=True))
    for normaliser in set(normaliser_of.values()):
        feeding = [s for s in counted if any(normaliser_of[name] == normaliser for name in s.terms)]
        tokens = sum(len(s.rollout.tokens) for s in feeding if id(s) in rows)
        divisor = {"token": tokens, "constant": len(feeding) * config.rollout.max_new_tokens}
        for sample in feeding:
            for name, coefficient in sample.terms.items() if id(sample) in rows else ():
                if normaliser_of[name] == normaliser:
                    expected = coefficient / divisor[config.algorithm.aggregation]
                    assert rows[id(sample)].terms[name] == pytest.approx(expected)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_both_keep_what_they_claim(tmp_path, one, other):
    orders = [(one, other), (other, one)] if other in METHODS else [(one, other)]
    for number, names in enumerate(orders):
        outcome, groups = run(tmp_path / str(number), names)
        assert np.abs(outcome.updates[0].gradient).max() > 0
        for name in names:
            CLAIMS[name](outcome, groups, names)
        normalisers_hold(outcome, groups)


@pytest.mark.parametrize("name", NAMES)
def test_each_alone_keeps_what_it_claims(tmp_path, name):
    outcome, groups = run(tmp_path, (name,))
    if name == "trace_injection":
        injects_a_trace_in_place_of_a_draw(outcome, groups, (name,))
    CLAIMS[name](outcome, groups, (name,))
    normalisers_hold(outcome, groups)


@pytest.mark.parametrize(
    ("off", "on"), [*OF_METHODS, *((m, b) for m in METHODS for b in BUILTIN if (m, b) not in REFUSED)]
)
def test_one_switched_off_leaves_the_other_bit_for_bit(tmp_path, off, on):
    config = config_of((off, on))
    left = config_of((off, on), "algorithm.advantage=dr_grpo") if off == "rs_grpo" else config
    alone, _ = run(tmp_path / "alone", (on,), config=left)
    beside, _ = run(tmp_path / "beside", (off, on), config=config, off=(off,))
    assert (beside.updates[0].gradient == alone.updates[0].gradient).all() and alone.updates[0].gradient.any()
    assert (beside.table == alone.table).all()


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [pair for pair, said in REFUSED.items() if said])
def test_what_is_refused_says_why(tmp_path, pair):
    with pytest.raises(InputError, match=re.escape(REFUSED[pair])):
        run(tmp_path, pair)


def test_at_most_one_pair_in_ten_is_refused_and_the_page_has_the_reasons():
    assert len(REFUSED) <= len(list(itertools.combinations(NAMES, 2))) / 10
    page = (REPOSITORY / "docs" / "strategies.md").read_text()
    section = page[page.index("## What does not go together") :].split("\n## ")[0]
    table = {
        tuple(cell.strip() for cell in line.split("|")[1:3]) for line in section.splitlines() if line.startswith("| ")
    }
    assert set(REFUSED) <= table


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"name": "trace_injection"}, "statistics=all puts traces into a baseline that then differs"),
        ({"name": "trace_injection", "when": "no_success"}, "injects where the draws failed"),
        ({"name": "diversity_bonus", "kind": "batch"}, "looks at the other draws of a group"),
        ({"name": "likelihood", "only": True}, "only=true draws nothing, so mixture_policy has nothing to act on"),
        (METHODS["mixture_policy"][0], "stands there twice"),
    ],
)
def test_settings_that_bias_exact_weights_or_leave_nothing_to_act_on(tmp_path, other, said):
    made = strategies.make([METHODS["mixture_policy"][0], other])
    with pytest.raises(InputError, match=said):
        run_steps(tmp_path, made, config=config_of(("mixture_policy",)))
    if other["name"] == "trace_injection":
        power = METHODS["mixture_policy"][0] | {"weight": "power"}
        run_steps(tmp_path, strategies.make([power, other]), config=config_of(("mixture_policy",)))
