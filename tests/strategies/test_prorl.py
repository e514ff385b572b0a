"""ProRL: the KL's pull by hand before and after a reset, GRPO with KL where it never resets, a state that resumes."""

import pytest
from one_step import OneStep, drawn
from resuming import goes_on

from analysis.errors import InputError
from explore_rl.strategies.methods.mixture_policy import MixturePolicy
from explore_rl.strategies.methods.prorl import ProRL
from explore_rl.testing import digits_config, run_steps

KL = ("algorithm.kl=k2", "algorithm.kl_coefficient=1.0")


def test_a_reset_takes_the_pull_of_the_old_base_away():
    """The policy gives the token .25 and the base .5: k2 pulls with log .5 until the base is the policy."""
    one = OneStep(ProRL(every=2), [[0.5, 0.5 / 3, 0.5 / 3, 0.5 / 3]], KL + ("learner.learning_rate=0.0",))
    one.learner.policy.logits[:] = 0.0
    for _ in range(2):
        update = one.step([drawn([0], 0), drawn([0], 0)])
        assert update.gradient[0] == pytest.approx([-0.519860, 0.173287, 0.173287, 0.173287], abs=1e-6)
    assert one.metrics["resets"] == 1
    assert one.step([drawn([0], 0), drawn([0], 0)]).gradient[0] == pytest.approx(0, abs=1e-8)


def test_the_optimizer_forgets():
    settings = (*KL, "learner.optimizer=adamw")
    for every, left in ((None, 1), (1, 0)):
        one = OneStep(ProRL(every=every), [[0.25] * 4], settings)
        one.step([drawn([0], 1), drawn([1], 0)])
        assert len(one.learner.optimizers["policy"].state) == left


def test_patience_counts_from_the_best_score_and_from_a_reset():
    one = OneStep(ProRL(patience=2), [[0.25] * 4], KL)
    resets = []
    for right in (1, 0, 0, 0, 0):  # smoothed: .5, .45, .405, ...
        one.step([drawn([0], right), drawn([1], 0)])
        resets.append(one.metrics["resets"])
    assert resets == [0, 0, 1, 1, 2]


def test_without_resets_it_is_grpo_bit_for_bit(tmp_path):
    config = digits_config("run.steps=4", *KL)
    plain = run_steps(tmp_path / "plain", config=config)
    assert (run_steps(tmp_path / "off", [ProRL()], config=config).table == plain.table).all()
    assert (run_steps(tmp_path / "on", [ProRL(every=2)], config=config).table != plain.table).any()


def test_a_resumed_run_goes_on_as_it_was(tmp_path):
    outcome = goes_on(tmp_path, lambda: [ProRL(every=2, patience=4)], settings=KL)
    (state,) = [s.state() for s in outcome.trainer.strategies if s.name == "prorl"]
    assert state["resets"] >= 3 and state["score"] > 0
    assert (outcome.learner.base.logits != outcome.learner.start.logits).any()


def test_what_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="nothing reads the base"):
        OneStep(ProRL(every=2), [[0.25] * 4])
    config = digits_config(*KL)
    with pytest.raises(InputError, match="draws from the initial one"):
        ProRL(every=2).check(config, [], [MixturePolicy()])
