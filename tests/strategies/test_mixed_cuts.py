"""Mixed-CUTS: which draws are flat, the density that they are recorded with, and the gradient with it and without."""

import numpy as np
import pytest
from one_step import OneStep, drawn, problem

from analysis.errors import InputError
from explore_rl.strategies.methods.mixed_cuts import MixedCuts
from explore_rl.testing import digits_config, run_steps
from explore_rl.types import Flat, Request

ROW = [[0.5, 0.3, 0.15, 0.05]]
SETTINGS = ("algorithm.advantage=dr_grpo", "algorithm.group_size=2", *MixedCuts.trial.settings)


def test_the_published_gradient_does_not_weigh_flat_draws():
    one = OneStep(MixedCuts(top=2, plain=0), ROW, SETTINGS, [problem()])
    update = one.play(["0", "1"], right="1")
    assert update.gradient[0] == pytest.approx([0.25, -0.25, 0, 0], abs=1e-6)


def test_the_engines_density_weighs_them_where_the_config_says_so():
    """Two likely tokens: the flat draw of probability .3 weighs .6."""
    one = OneStep(MixedCuts(top=2, plain=0), ROW, (*SETTINGS, "algorithm.importance_cap=2.0"))
    by_policy, flat = drawn([0], 0), drawn([1], 1)
    for sample in (by_policy, flat):
        sample.rollout.logprobs = np.log([0.5]).astype(np.float32)
    assert one.step([by_policy, flat]).gradient[0] == pytest.approx([0.2, -0.18, -0.015, -0.005], abs=1e-6)


def test_a_part_of_each_group_is_flat_and_its_density_is_recorded(tmp_path):
    config = digits_config("run.steps=1", *MixedCuts.trial.settings)
    outcome = run_steps(tmp_path, [MixedCuts(share=0.4, top=2, least=0.0, plain=1)], config=config)
    samples = outcome.samples(0)
    flat = [s for s in samples if s["source"] == "flat"]
    assert len(flat) == 12 and len(samples) == 32
    for sample in flat:
        logprobs = np.array(sample["logprobs"])
        assert logprobs[0] == pytest.approx(sample["old_logprobs"][0], abs=1e-6)
        assert logprobs[1:] == pytest.approx(np.log(0.5)) and (logprobs[1:] != sample["old_logprobs"][1:]).all()


def test_where_no_engine_draws_flat_the_run_is_refused():
    with pytest.raises(InputError, match="no engine draws flat"):
        OneStep(MixedCuts(), ROW)
    with pytest.raises(ValueError, match="top=1: expected a whole number of at least 2"):
        MixedCuts(top=1)
    assert Request("p", 0, [0], max_tokens=1).flat is None and Flat(5, 0.03, 5) == MixedCuts().flat
