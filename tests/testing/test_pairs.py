"""Every pair of the strategies that claim figures, built-in ones included: both keep them, or they are refused by name.

The claims are in tests/kits/claims.py, each checked on a step of the real Trainer. Every other method stands beside a
representative of each family in test_method_pairs.py, and `python scripts/check_pairs.py` holds the claims beside all.
"""

import itertools
import re

import numpy as np
import pytest
from claims import CLAIMS, SHARES, Seen, check_claims, normalisers_hold

from analysis.errors import InputError
from explore_rl import strategies
from explore_rl.strategies import builtin
from explore_rl.testing import digits_config, run_steps

STEP = ("run.steps=1", "algorithm.importance_cap=null")
UNBIASED = ("algorithm.advantage=rloo", "algorithm.aggregation=constant")
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
    "reinforce_pp": {"share": 0.0},
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
    ("remax", "rs_grpo"): "makes the advantages too",
    ("remax", "ppo"): "makes the advantages too",
    ("kl in the loss", "kl in the reward"): "",  # one setting, algorithm.kl_place
}
NAMES = [*METHODS, *BUILTIN]
PAIRS = [pair for pair in itertools.combinations(NAMES, 2) if pair not in REFUSED]
OF_METHODS = [pair for pair in itertools.permutations(METHODS, 2) if not {pair, pair[::-1]} & REFUSED.keys()]


def config_of(names, *more):
    settings = [setting for name in names for setting in (METHODS[name][1] if name in METHODS else BUILTIN[name])]
    if "rs_grpo" in names:  # which makes the advantages
        settings = [setting for setting in settings if not setting.startswith("algorithm.advantage=")]
    return digits_config(*STEP, *settings, *more)


def run(folder, names, *, config=None, off=()):
    """A step with the strategies of `names` in this order, those of `off` switched off; and the groups learnt from."""
    made = strategies.make([METHODS[n][0] | (OFF[n] if n in off else {}) for n in names if n in METHODS])
    seen = Seen()
    outcome = run_steps(folder, [*seen.watch(made), seen], config=config or config_of(names))
    return outcome, seen.groups


def test_the_cases_are_all_that_is_shipped():
    assert METHODS.keys() == OFF.keys() and METHODS.keys() < strategies.STRATEGIES.keys()
    everything = digits_config(*(setting for settings in BUILTIN.values() for setting in settings))
    kinds = {type(strategy) for strategy in builtin.around([], everything)} | {builtin.KLInLoss}
    named = {getattr(builtin, name) for name in builtin.__all__ if name != "around"}
    assert kinds == named and len(named) == len(BUILTIN) + 1  # and what gives groups their advantages


# --- what both claim --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_both_keep_what_they_claim(tmp_path, one, other):
    orders = [(one, other), (other, one)] if other in METHODS else [(one, other)]
    for number, names in enumerate(orders):
        outcome, groups = run(tmp_path / str(number), names)
        assert np.abs(outcome.updates[0].gradient).max() > 0
        check_claims(outcome, groups, names)


@pytest.mark.parametrize("name", NAMES)
def test_each_alone_keeps_what_it_claims(tmp_path, name):
    outcome, groups = run(tmp_path, (name,))
    check_claims(outcome, groups, (name,))


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


@pytest.mark.parametrize(
    ("of_mixture", "other", "settings"),
    [
        ({}, METHODS["reinforce_pp"][0] | {"whiten": False}, ()),
        ({}, METHODS["ppo"][0] | {"whiten": False}, ()),
        ({"share_base": 0.0, "share_hot": 0.5}, METHODS["prorl"][0], METHODS["prorl"][1]),
        *(
            ({"weight": "power"}, METHODS[name][0], METHODS[name][1])
            for name in ("reinforce_pp", "rs_grpo", "ppo", "flow_rl")
        ),
        ({"weight": "none"}, None, BUILTIN["overlong"]),
        ({"weight": "none"}, None, BUILTIN["dynamic_sampling"]),
    ],
)
def test_what_goes_with_exact_weights_in_place_of_what_does_not(tmp_path, of_mixture, other, settings):
    """As the page has it; exact weights stay exact."""
    names = ("mixture_policy", *([other["name"]] if other else []))
    made = strategies.make([METHODS["mixture_policy"][0] | of_mixture, *([other] if other else [])])
    seen = Seen()
    outcome = run_steps(tmp_path, [*seen.watch(made), seen], config=config_of(names, *settings))
    assert np.abs(outcome.updates[0].gradient).max() > 0
    if not of_mixture:
        CLAIMS["mixture_policy"](outcome, seen.groups, names)
    normalisers_hold(outcome, seen.groups)
