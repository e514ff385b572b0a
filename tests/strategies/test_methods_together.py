"""RS-GRPO, SimKO, ProRL, PPO and FlowRL beside others: they act, switched off they leave the others, or are refused."""

import itertools

import numpy as np
import pytest

from analysis.errors import InputError
from explore_rl.strategies import make
from explore_rl.testing import digits_config, run_steps

KL = ("algorithm.kl=k2", "algorithm.kl_coefficient=0.25")
# Name -> switched on, switched off, what it needs.
MINE = {
    "rs_grpo": ({"beta": 2.0}, {"beta": 0.0}, ()),
    "simko": ({"alpha": 0.2, "quantile": 0.5}, {"alpha": 0.0, "penalty": 1.0}, ()),
    "prorl": ({"every": 1}, {}, KL),
    "ppo": ({}, {"share": 0.0}, ()),
    "flow_rl": ({"beta": 2.0}, {"share": 0.0}, ()),
}
OTHERS = {
    "trace_injection": ({"name": "trace_injection", "statistics": "on_policy"}, ()),
    "diversity_bonus": ({"name": "diversity_bonus"}, ()),
    "likelihood": ({"name": "likelihood"}, ()),
    "entropy": (None, ("algorithm.entropy_coefficient=0.125",)),
    "dynamic_sampling": (None, ("algorithm.dynamic_sampling_rounds=4",)),
}
UNBIASED = ("algorithm.advantage=rloo", "algorithm.aggregation=constant", "algorithm.importance_cap=null")


def steps(folder, settings, config):
    return run_steps(folder, make(settings), config=digits_config("run.steps=2", *config))


@pytest.mark.parametrize(("name", "other"), list(itertools.product(MINE, OTHERS)))
def test_beside_another(tmp_path, name, other):
    on, off, needs = MINE[name]
    beside, settings = OTHERS[other]
    config = [*needs, *settings]
    theirs = [beside] if beside else []
    if name == "rs_grpo":  # at beta = 0 it is Dr. GRPO
        alone = steps(tmp_path / "alone", theirs, [*config, "algorithm.advantage=dr_grpo"])
    else:
        alone = steps(tmp_path / "alone", theirs, config)
    acting = steps(tmp_path / "on", [*theirs, {"name": name, **on}], config)
    assert np.isfinite(acting.table).all() and (acting.table != alone.table).any()
    silent = steps(tmp_path / "off", [{"name": name, **off}, *theirs], config)
    if (name, other) == ("rs_grpo", "diversity_bonus"):
        assert silent.table == pytest.approx(alone.table, abs=1e-12)
    else:
        assert (silent.table == alone.table).all()


SAID = {
    "rs_grpo": "looks at the sample itself",
    "ppo": "whiten=true",
    "prorl": "draws from the initial one",
    "flow_rl": "no policy gradient",
}


@pytest.mark.parametrize("name", SAID)
def test_beside_exact_weights_they_are_refused(tmp_path, name):
    on, _, needs = MINE[name]
    with pytest.raises(InputError, match=SAID[name]):
        steps(tmp_path, [{"name": "mixture_policy"}, {"name": name, **on}], [*needs, *UNBIASED])


def test_two_that_make_the_advantages_are_refused(tmp_path):
    with pytest.raises(InputError, match="makes the advantages too"):
        steps(tmp_path, [{"name": "ppo"}, {"name": "rs_grpo"}], [])
