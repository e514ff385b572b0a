"""algorithm.old_logprob: what is read before the update, what is exact, and what is refused."""

import numpy as np
import pytest

from analysis.errors import InputError
from explore_rl import strategies
from explore_rl.strategies import builtin, together
from explore_rl.strategies.base import Strategy
from explore_rl.strategies.old_logprob import choose_old_logprob
from explore_rl.testing import digits_config, make_trainer, run_steps

AUTO = "algorithm.old_logprob=auto"


def chosen(*settings, given=()):
    config = digits_config(AUTO, *settings)
    every = together.assemble(list(given), config)
    return choose_old_logprob(every, together.terms_of(every, config)[0], config=config)


def count_reads(trainer):
    """Sequences that the learner reads, apart from the parity probe's."""
    learner, counted = trainer.actors.learner, []
    real = learner.read
    probe = {tokens.tobytes() for tokens, _ in trainer.parity.sequences}

    def read(sequences, *arguments, **options):
        counted.extend(s for s in sequences if s[0].tobytes() not in probe)
        return real(sequences, *arguments, **options)

    trainer.learning.learner.read = read
    return counted


class Guesses(Strategy):
    """Does not say whether it reads the column."""

    def reward(self, groups, context):
        pass


class Blind(Guesses):
    reads_policy = False


class SeesAfterAll(Blind):
    def advantage(self, groups, context):
        pass


@pytest.mark.parametrize(
    ("settings", "given", "mode", "why"),
    [
        ((), [], "none", "one update a batch"),
        (("algorithm.epochs=2",), [], "score", "2 updates"),
        (("algorithm.kl=k3", "algorithm.kl_coefficient=0.1"), [], "none", ""),
        (("algorithm.kl=k3", "algorithm.kl_coefficient=0.1", "algorithm.kl_place=reward"), [], "score", "kl reads"),
        (("algorithm.loss=kl_cov", "algorithm.loss_options={share: 0.2, coefficient: 1.0}"), [], "score", "whole mini"),
        ((), [Guesses()], "score", "guesses reads"),
        ((), [Blind()], "none", ""),
        ((), [SeesAfterAll()], "score", "guesses reads"),
        ((), strategies.make([{"name": "simko"}]), "score", "simko reads"),
        ((), strategies.make([{"name": "trace_injection"}, {"name": "diversity_bonus"}]), "none", ""),
    ],
)
def test_the_default_is_the_cheapest_exact_one(settings, given, mode, why):
    found, said = chosen(*settings, given=given)
    assert found == mode and why in said


@pytest.mark.parametrize(
    ("settings", "given", "said"),
    [
        (("algorithm.old_logprob=none", "algorithm.minibatches=2"), [], "a batch has 2 updates"),
        (("algorithm.old_logprob=none",), [Guesses()], "guesses reads old_logprob or entropy before the update"),
        (("algorithm.old_logprob=engine",), [Guesses()], "guesses reads what the learner says"),
    ],
)
def test_what_is_not_exact_is_refused_when_it_is_asked_for(settings, given, said):
    with pytest.raises(InputError, match=said):
        chosen(*settings, given=given)


CASES = {
    "plain": ([], ()),
    "with KL": ([], ("algorithm.kl=k3", "algorithm.kl_coefficient=0.5")),
    "traces": ([{"name": "trace_injection", "statistics": "on_policy"}], ()),
    "flow_rl": ([{"name": "flow_rl", "beta": 2.0}], ()),
    "gspo": ([], ("algorithm.loss=gspo",)),
    "ahead, corrected": ([], ("run.ahead=1", "run.steps=3")),
}


@pytest.mark.parametrize("case", CASES)
def test_without_a_pass_before_the_update_the_gradient_is_the_same(tmp_path, case):
    given, settings = CASES[case]
    score = run_steps(tmp_path / "score", strategies.make(given), config=digits_config(*settings))
    none = run_steps(tmp_path / "none", strategies.make(given), config=digits_config(*settings, AUTO))
    assert none.trainer.old_logprob == "none" and score.trainer.old_logprob == "score"
    for mine, theirs in zip(none.updates, score.updates, strict=True):
        assert mine.gradient == pytest.approx(theirs.gradient, abs=1e-6) and mine.gradient.any()
    for mine, theirs in zip(none.samples(1), score.samples(1), strict=True):
        assert mine["tokens"] == theirs["tokens"]
        if mine["old_logprobs"] is not None:
            assert mine["old_logprobs"] == pytest.approx(theirs["old_logprobs"], abs=1e-5)
    assert any(sample["old_logprobs"] for sample in none.samples(1))
    for figure in ("engine/logprob_difference_mean", "entropy/token"):
        assert none.metrics[1][figure] >= 0


def test_a_stale_draw_is_corrected_within_the_loss_as_before_it(tmp_path):
    """One version behind, the ratios differ from 1; the cap holds some of them."""
    settings = ("run.ahead=1", "run.steps=4", "learner.learning_rate=20", "algorithm.importance_cap=1.1")
    score = run_steps(tmp_path / "score", config=digits_config(*settings))
    ratios = [row.columns["advantage"] for row in score.updates[2].rows]
    assert any(np.ptp(ratio) > 0.01 for ratio in ratios)
    none = run_steps(tmp_path / "none", config=digits_config(*settings, AUTO))
    assert none.updates[2].gradient == pytest.approx(score.updates[2].gradient, abs=1e-5)
    off = run_steps(tmp_path / "off", config=digits_config(*settings, AUTO, "algorithm.importance_cap=null"))
    assert np.abs(off.updates[2].gradient - none.updates[2].gradient).max() > 1e-3


def test_nothing_is_read_and_traces_are_where_the_engine_says_the_rest(tmp_path):
    """none reads no completion; engine reads those alone that it did not draw at the training settings."""
    for mode, expected in (("none", 0), ("engine", 4)):
        made = strategies.make([{"name": "trace_injection"}])
        trainer = make_trainer(
            tmp_path / mode, made, config=digits_config(f"algorithm.old_logprob={mode}", "run.steps=1")
        )
        trainer.start()
        counted = count_reads(trainer)
        trainer.run()
        assert len(counted) == expected


def test_the_engines_own_log_probabilities_stand_for_the_old_ones(tmp_path):
    settings = ("run.ahead=1", "run.steps=3", "learner.learning_rate=20", "algorithm.old_logprob=engine")
    outcome = run_steps(tmp_path, config=digits_config(*settings))
    assert all(sample["old_logprobs"] == sample["logprobs"] for sample in outcome.samples(2))
    assert "engine/logprob_difference_mean" not in outcome.metrics[2]  # it would be 0, and say nothing
    assert outcome.metrics[2]["update/policy_gradient/ratio"] != pytest.approx(1.0, abs=1e-4)  # it holds the staleness


def test_the_built_in_strategies_say_what_they_read():
    everything = ("algorithm.kl=k3", "algorithm.kl_coefficient=1", "algorithm.entropy_coefficient=1")
    more = ("algorithm.mask_truncated=true", "algorithm.dynamic_sampling_rounds=2")
    assert chosen(*everything, *more)[0] == "none"
    assert builtin.KLInReward.reads_policy is None
