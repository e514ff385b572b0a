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
}
OFF = {
    "trace_injection": {"rate": 0.0},
    "diversity_bonus": {"coefficient": 0.0},
    "likelihood": {"rate": 0.0},
    "mixture_policy": {"share_policy": 1.0, "share_base": 0.0, "share_hot": 0.0},
    "soft_overlong": {"coefficient": 0.0},
    "remax": {"share": 0.0},
    "reinforce_pp": {"whiten": False},
}
BUILTIN = {
    "kl in the loss": KL,
    "kl in the reward": (*KL, "algorithm.kl_place=reward"),
    "entropy": ("algorithm.entropy_coefficient=0.125",),
    "engine_correction": ("algorithm.importance_cap=2.0",),
    "overlong": ("algorithm.mask_truncated=true",),
    "dynamic_sampling": ("algorithm.dynamic_sampling_rounds=6",),
}
OWN = {"rs_grpo", "simko", "prorl", "ppo", "flow_rl"}  # they have it in tests/strategies/test_methods_together.py
# What is refused, as docs/strategies.md has it.
REFUSED = {
    ("mixture_policy", "engine_correction"): "its weight is the whole correction; set algorithm.importance_cap=null",
    ("mixture_policy", "overlong"): "weight=exact would not be unbiased; set algorithm.mask_truncated=false",
    (
        "mixture_policy",
        "dynamic_sampling",
    ): "weight=exact would not be unbiased; set algorithm.dynamic_sampling_rounds=0",
    ("mixture_policy", "reinforce_pp"): "the spread that it divides by is that of what was drawn",
    ("reinforce_pp", "dynamic_sampling"): "reinforce_pp normalises over the batch",
    ("kl in the loss", "kl in the reward"): "",  # one setting, algorithm.kl_place
}
NAMES = [*METHODS, *BUILTIN]
PAIRS = [pair for pair in itertools.combinations(NAMES, 2) if pair not in REFUSED]
OF_METHODS = [pair for pair in itertools.permutations(METHODS, 2) if not {pair, pair[::-1]} & REFUSED.keys()]


class Seen(Strategy):
    """Keeps the groups that were learnt from."""

    def __init__(self):
        self.groups = []

    def after_update(self, groups, context):
        self.groups = groups


def config_of(names):
    settings = [setting for name in names for setting in (METHODS[name][1] if name in METHODS else BUILTIN[name])]
    return digits_config(*STEP, *settings)


def run(folder, names, *, config=None, off=()):
    """A step with the strategies of `names` in this order, those of `off` switched off; and the groups learnt from."""
    made = strategies.make([METHODS[n][0] | (OFF[n] if n in off else {}) for n in names if n in METHODS])
    seen = Seen()
    outcome = run_steps(folder, [*made, seen], config=config or config_of(names))
    return outcome, seen.groups


def test_the_cases_are_all_that_is_shipped():
    assert METHODS.keys() == OFF.keys() == strategies.STRATEGIES.keys() - OWN
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


def injects_a_trace_in_place_of_a_draw(outcome, groups, names):
    for group in groups:
        shaped = [sample for sample in group.samples if sample.terms.get("shaped_trace") == 1.0]
        assert len(shaped) == 1 and shaped[0].rollout.given.all() and not shaped[0].rollout.request.in_baseline
        assert len(drawn_of(group)) == 7
        counted = [s.reward for s in group.samples if s.rollout.request.in_baseline and s.reward is not None]
        if not {"diversity_bonus", "remax"} & {*names}:  # measured against the draws, and not one of them
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


def is_fed_by_every_row_of_the_policy_gradient(term, coefficient):
    def claim(outcome, groups, names):
        for row, sample in zip(outcome.updates[0].rows, learnt_from(groups), strict=True):
            assert (term in row.terms) == ("policy_gradient" in row.terms)
            if term in row.terms:
                expected = coefficient * sample.weight * row.terms["policy_gradient"]
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
            bonus = 0.2 if "diversity_bonus" in names and sample.rollout.drawn and sample.verdict.is_evidence else 0.0
            assert sample.advantage == pytest.approx(sample.reward - greedy.reward + bonus)


def normalises_over_the_batch(outcome, groups, names):
    counted = [s for s in samples_of(groups) if s.rollout.request.in_baseline]
    tokens = np.concatenate([s.columns["advantage"][~s.rollout.given] for s in counted])
    values = np.concatenate([np.full(len(s.rollout.tokens), s.advantage)[~s.rollout.given] for s in counted])
    assert tokens == pytest.approx((values - values.mean()) / values.std(), abs=1e-5)


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
    alone, _ = run(tmp_path / "alone", (on,), config=config)
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
