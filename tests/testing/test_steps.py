"""Strategies through the real Trainer, over a table: what each must and must not do to GRPO's steps."""

import itertools

import numpy as np
import pytest
from pairs import changed_table

from explore_rl import strategies
from explore_rl.cluster.faults import RunStopped
from explore_rl.models import load_tokenizer
from explore_rl.objectives.readouts import logprob
from explore_rl.strategies.base import Column, Needs, Strategy
from explore_rl.testing import digit_problems, digit_table, digits_config, make_trainer, run_steps
from explore_rl.training.actors import ParityError
from explore_rl.training.rows import sequence_of
from explore_rl.types import Status, Verdict

UNBIASED = ("algorithm.advantage=rloo", "algorithm.importance_cap=null", "algorithm.aggregation=constant")
MIXTURE = {"name": "mixture_policy", "share_policy": 0.5, "share_base": 0.25, "share_hot": 0.25}
ON = {
    "trace_injection": {"name": "trace_injection", "statistics": "on_policy"},
    "diversity_bonus": {"name": "diversity_bonus"},
    "likelihood": {"name": "likelihood"},
    "mixture_policy": MIXTURE,
    "soft_overlong": {"name": "soft_overlong", "buffer": 1},
    "remax": {"name": "remax"},
    "reinforce_pp": {"name": "reinforce_pp", "baseline": "group"},
    "rs_grpo": {"name": "rs_grpo", "beta": 2.0},
    "simko": {"name": "simko", "alpha": 0.2, "penalty": 1.5, "quantile": 0.5},
    "prorl": {"name": "prorl", "every": 1},
    "ppo": {"name": "ppo"},
    "flow_rl": {"name": "flow_rl", "beta": 2.0},
}
OFF = {
    "trace_injection": {"name": "trace_injection", "rate": 0.0},
    "diversity_bonus": {"name": "diversity_bonus", "coefficient": 0.0},
    "likelihood": {"name": "likelihood", "rate": 0.0},
    "mixture_policy": {"name": "mixture_policy", "share_policy": 1.0, "share_base": 0.0, "share_hot": 0.0},
    "soft_overlong": {"name": "soft_overlong", "buffer": 1, "coefficient": 0.0},
    "remax": {"name": "remax", "share": 0.0},
    "reinforce_pp": {"name": "reinforce_pp", "baseline": "group", "whiten": False},
    "rs_grpo": {"name": "rs_grpo", "beta": 0.0},
    "simko": {"name": "simko", "alpha": 0.0, "penalty": 1.0},
    "prorl": {"name": "prorl"},
    "ppo": {"name": "ppo", "share": 0.0},
    "flow_rl": {"name": "flow_rl", "share": 0.0},
}
# Of every pair, what each claims is in test_pairs.py, with those that are refused.
PAIRS = list(itertools.combinations(["trace_injection", "diversity_bonus", "likelihood", "simko", "soft_overlong"], 2))


def config_for(*names):
    if "reinforce_pp" in names:
        return digits_config("algorithm.advantage=dr_grpo")
    if "prorl" in names:
        return digits_config("algorithm.kl=k2", "algorithm.kl_coefficient=2.0")
    return digits_config(*UNBIASED) if "mixture_policy" in names else digits_config()


def run(folder, *settings, config=None, **options):
    """Steps with the strategies of these settings, under what their names need."""
    config = config or config_for(*(given["name"] for given in settings))
    return run_steps(folder, strategies.make(list(settings)), config=config, **options)


def test_the_cases_are_shipped_strategies():
    assert ON.keys() == OFF.keys() and ON.keys() < strategies.STRATEGIES.keys()


# --- GRPO itself ------------------------------------------------------------------------------------------------------


def test_a_step_of_grpo_is_the_one_by_hand(tmp_path):
    config = digits_config("run.steps=1", "learner.learning_rate=0.5")
    outcome = run(tmp_path, config=config)
    start = digit_table(config=config)
    samples = outcome.samples(0)
    advantages = []
    for index in range(4):
        rewards = np.array([s["reward"] for s in samples if s["group"] == index])
        spread = rewards.std(ddof=1)
        advantages += list((rewards - rewards.mean()) / (spread + 1e-6) if spread > 0 else rewards - rewards.mean())
    assert any(advantages), "some group needs signal"
    tokens_in_all = sum(len(s["tokens"]) for s in samples)
    expected = start.logits.copy()
    for sample, advantage in zip(samples, advantages, strict=True):
        prompt, tokens = tuple(sample["prompt_tokens"]), tuple(sample["tokens"])
        for row, token in zip(start.rows(prompt, tokens), tokens, strict=True):
            p = np.exp(start.logits[row]) / np.exp(start.logits[row]).sum()
            expected[row] += 0.5 * advantage / tokens_in_all * (np.eye(len(p))[token] - p)
    np.testing.assert_allclose(outcome.table, expected, atol=1e-7)
    assert np.abs(outcome.table - start.logits).max() > 1e-3


def test_grpo_finds_the_right_answers(tmp_path):
    outcome = run(tmp_path, config=digits_config("run.steps=25", "learner.learning_rate=20"))
    rewards = [step["reward/mean"] for step in outcome.metrics]
    assert np.mean(rewards[-5:]) > 0.8 > 0.4 > np.mean(rewards[:2])


def test_every_rollout_is_recorded_with_the_version_of_its_weights(tmp_path):
    outcome = run(tmp_path)
    for step in range(2):
        samples = outcome.samples(step)
        assert len(samples) == 32 and {s["weight_version"] for s in samples} == {step}
        assert len({s["seed"] for s in samples}) == 32
        assert all(np.allclose(s["logprobs"], s["old_logprobs"], atol=1e-6) for s in samples)
    assert len(outcome.updates) == len(outcome.metrics) == 2


def test_kl_and_entropy_pull_too(tmp_path):
    plain = run(tmp_path / "plain")
    kl = run(tmp_path / "kl", config=digits_config("algorithm.kl=k3", "algorithm.kl_coefficient=0.5"))
    entropy = run(tmp_path / "entropy", config=digits_config("algorithm.entropy_coefficient=0.5"))
    assert kl.metrics[1]["kl/base"] > 0 == kl.metrics[0]["kl/base"]
    assert kl.updates[0].gradient == pytest.approx(plain.updates[0].gradient, abs=1e-6)
    assert np.abs(kl.updates[1].gradient - plain.updates[1].gradient).max() > 1e-4
    assert np.abs(entropy.updates[0].gradient - plain.updates[0].gradient).max() > 1e-3


# --- each strategy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OFF)
def test_a_strategy_switched_off_leaves_grpo_bit_for_bit(tmp_path, name):
    config = config_for(name)
    table = changed_table(("lengths",), config)
    left = digits_config("algorithm.advantage=dr_grpo") if name == "rs_grpo" else config
    plain = run(tmp_path / "plain", config=left, table=table)
    off = run(tmp_path / "off", OFF[name], table=table)
    assert len(plain.updates) == 2
    for mine, theirs in zip(plain.updates, off.updates, strict=True):
        assert mine.gradient.any() and (mine.gradient == theirs.gradient).all()
    assert (plain.table == off.table).all()


@pytest.mark.parametrize("name", ON)
def test_a_strategy_moves_the_table_in_a_way_of_its_own(tmp_path, name):
    config = config_for(name)
    table = changed_table(("lengths",), config)
    plain = run(tmp_path / "plain", config=config, table=table)
    mine = run(tmp_path / "mine", ON[name], table=table)
    moved = zip(plain.updates, mine.updates, strict=True)
    assert max(np.abs(one.gradient - other.gradient).max() for one, other in moved) > 1e-3
    assert any(key.startswith(f"{name}/") for key in mine.metrics[0])


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_strategies_compose_and_each_leaves_its_mark(tmp_path, one, other):
    config = config_for(one, other)
    table = changed_table(("lengths",), config)
    both = run(tmp_path / "both", ON[one], ON[other], config=config, table=table)
    for name in (one, other):
        alone = run(tmp_path / name, ON[name], config=config, table=table)
        assert np.abs(both.updates[0].gradient - alone.updates[0].gradient).max() > 5e-4
        marks = {key for key in alone.metrics[0] if key.startswith(f"{name}/")}
        assert marks and marks <= both.metrics[0].keys()


@pytest.mark.parametrize("given", [*ON.values(), {"name": "trace_injection", "which": "least_likely", "rate": 0.5}])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, given):
    config = config_for(given["name"])
    config.run.steps, config.learner.optimizer, config.learner.learning_rate = 4, "adamw", 0.1
    whole = run(tmp_path / "whole", given, config=config)
    run(tmp_path / "broken", given, config=config, stop_after=2)
    resumed = run(tmp_path / "broken", given, config=config)
    assert len(resumed.updates) == 2
    assert (resumed.table == whole.table).all()
    assert [step["reward/mean"] for step in resumed.metrics] == [step["reward/mean"] for step in whole.metrics]
    for step in range(4):
        assert resumed.samples(step) == whole.samples(step)


class Forgetful(Strategy):
    """Counts its steps and does not tell."""

    name = "forgetful"

    def __init__(self):
        self.steps = 0

    def reward(self, groups, context):
        self.steps += 1
        for group in groups:
            group.samples[0].reward += self.steps


def test_a_strategy_that_does_not_save_its_state_is_seen(tmp_path):
    config = digits_config("run.steps=4", "algorithm.divide_by_std=false")
    whole = run_steps(tmp_path / "whole", [Forgetful()], config=config)
    run_steps(tmp_path / "broken", [Forgetful()], config=config, stop_after=2)
    assert (run_steps(tmp_path / "broken", [Forgetful()], config=config).table != whole.table).any()


class Undeclared(Strategy):
    """Asks for scores that it did not announce."""

    name = "undeclared"
    columns = ()

    def needs(self, config):
        return Needs(columns=self.columns)

    def reward(self, groups, context):
        context.read([sequence_of(groups[0].samples[0].rollout)], [logprob()], model="base")


def test_what_a_strategy_uses_it_has_to_announce(tmp_path):
    with pytest.raises(ValueError, match="not announced"):
        run_steps(tmp_path / "undeclared", [Undeclared()])
    declared = Undeclared()
    declared.columns = (Column("base_logprob", "base", logprob()),)
    assert len(run_steps(tmp_path / "declared", [declared]).metrics) == 2


# --- what they draw and inject ----------------------------------------------------------------------------------------


def test_a_mixture_draws_from_the_base_and_a_hotter_policy(tmp_path):
    config = digits_config(*UNBIASED, "algorithm.group_size=16")
    outcome = run(tmp_path, MIXTURE, config=config)
    samples = outcome.samples(1)
    assert {s["source"] for s in samples} == {"policy", "base", "hot"}
    assert {s["temperature"] for s in samples if s["source"] == "hot"} == {1.5}
    assert {s["weight_version"] for s in samples if s["source"] == "base"} == {-1}
    assert {s["weight_version"] for s in samples if s["source"] != "base"} == {1}
    weights = [s["weight"] for s in samples]
    assert max(weights) <= 2 + 1e-9 and len(set(weights)) > 10
    assert 0 < outcome.metrics[0]["mixture_policy/effective_sample_size"] <= 1


def test_traces_and_a_bonus_in_one_step(tmp_path):
    outcome = run(tmp_path, ON["trace_injection"], ON["diversity_bonus"])
    sources = [s["source"] for s in outcome.samples(0)]
    assert sources.count("trace") == 4 and sources.count("policy") == 28
    metrics = outcome.metrics[0]
    assert metrics["trace_injection/injected"] == 4
    assert metrics["diversity_bonus/revisited"] == 0 < metrics["diversity_bonus/rewarded"]


def test_likelihood_alone_learns_from_traces_and_draws_nothing(tmp_path):
    outcome = run(tmp_path, {"name": "likelihood", "only": True})
    samples = outcome.samples(0)
    assert {s["source"] for s in samples} == {"trace"} and {s["verdict"] for s in samples} == {"correct"}
    assert outcome.updates[0].gradient.any()


def test_regions_that_are_left_out_are_not_injected(tmp_path):
    outcome = run(tmp_path, {"name": "trace_injection", "leave_out": ["mixed"]})
    traces = [s["text"] for step in range(2) for s in outcome.samples(step) if s["source"] == "trace"]
    assert traces and all(text[0] == text[1] for text in traces)


def test_dynamic_sampling_fills_the_batch_with_groups_that_have_signal(tmp_path):
    config = digits_config("algorithm.dynamic_sampling_rounds=6", "algorithm.group_size=4", "run.steps=1")
    outcome = run(tmp_path, config=config)
    metrics = outcome.metrics[0]
    kept = [s for s in outcome.samples(0) if s["kept"]]
    assert metrics["signal/groups_without"] == 0 < metrics["signal/groups_dropped"]
    assert len(kept) == 16 and len(outcome.samples(0)) == 4 * (4 + metrics["signal/groups_dropped"])


def test_several_updates_of_a_batch_take_whole_groups(tmp_path):
    config = digits_config("algorithm.minibatches=2", "algorithm.epochs=2", "run.steps=1")
    outcome = run(tmp_path, config=config)
    prompts = [{row.tokens[: row.prompt_length].tobytes() for row in update.rows} for update in outcome.updates]
    assert len(prompts) == 4
    assert not prompts[0] & prompts[1] and not prompts[2] & prompts[3]
    assert prompts[0] | prompts[1] == prompts[2] | prompts[3]


def test_dual_clip_caps_what_a_few_tokens_pull(tmp_path):
    """The first update is large, and makes some wrong answers much likelier; the second would pull at them alone."""
    steps = ("algorithm.minibatches=1", "algorithm.epochs=2", "run.steps=1", "learner.learning_rate=60")
    plain = run(tmp_path / "plain", config=digits_config(*steps))
    capped = run(tmp_path / "capped", config=digits_config(*steps, "algorithm.dual_clip=1.5"))
    assert (plain.updates[0].gradient == capped.updates[0].gradient).all()
    assert plain.updates[1].report.loss > capped.updates[1].report.loss
    assert capped.metrics[0]["update/policy_gradient/clip_fraction_dual"] > 0
    assert "update/policy_gradient/clip_fraction_dual" not in plain.metrics[0]


# --- when it goes wrong -----------------------------------------------------------------------------------------------


def test_an_engine_that_dies_is_replaced_and_the_run_ends_as_if_it_had_not(tmp_path):
    whole = run(tmp_path / "whole")
    trainer = make_trainer(tmp_path / "killed", config=digits_config())
    trainer.start()
    trainer.run(on_step=lambda number, metrics: trainer.actors.engines.kill())
    assert (trainer.actors.learner.policy.logits == whole.table).all()
    assert trainer.actors.engines.version == 2


def test_what_was_finished_when_an_engine_died_is_not_drawn_again(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    trainer = make_trainer(tmp_path / "killed", config=digits_config())
    trainer.start()
    engines = trainer.actors.engines
    asked = []
    real = engines.generate
    monkeypatch.setattr(
        engines, "generate", lambda requests, **o: (asked.append(len(requests)), real(requests, **o))[1]
    )
    engines.kill(after=20)
    trainer.run()
    assert asked == [32, 12, 32]
    assert (trainer.actors.learner.policy.logits == whole.table).all()
    assert trainer.actors.engines.version == 2


def test_a_checkpoint_that_lacks_a_part_is_not_marked_and_no_older_one_goes(tmp_path, monkeypatch):
    config = digits_config("run.steps=4", "run.checkpoint_every=1", "run.keep_checkpoints=1")
    trainer = make_trainer(tmp_path, config=config)
    trainer.start()
    real = trainer.actors.learner.save_checkpoint

    def lacks_a_part(folder):
        real(folder)
        if trainer.next_step == 2:
            raise RunStopped("parts of this checkpoint are missing")

    monkeypatch.setattr(trainer.actors.learner, "save_checkpoint", lacks_a_part)
    with pytest.raises(RunStopped, match="parts of this checkpoint are missing"):
        trainer.run()
    assert trainer.folder.checkpoints() == [1]
    assert make_trainer(tmp_path, config=config).resume() == 1


def test_an_error_of_the_verifier_is_no_reward_of_zero(tmp_path):
    trainer = make_trainer(tmp_path)

    def fails_on_doubles(completion, problem, *, truncated=False):
        if completion[:1] == completion[1:2]:
            raise RuntimeError("no doubles today")
        return Verdict(Status.WRONG, 0.0, completion)

    trainer.actors.verifiers.made["digits"] = fails_on_doubles
    trainer.start()
    metrics = trainer.step(0)
    assert metrics["verdict/error"] > 0 and metrics["signal/samples_left_out"] == metrics["verdict/error"]


class Poison(Strategy):
    name = "poison"

    def advantage(self, groups, context):
        groups[0].samples[0].advantage = float("nan")


def test_a_loss_that_is_not_finite_stops_the_run_and_its_state_is_not_kept(tmp_path):
    config = digits_config("run.steps=12", "run.max_bad_steps=2")
    with pytest.raises(RunStopped, match="not finite in 2 steps in a row"):
        run_steps(tmp_path, [Poison()], config=config)
    assert not any((tmp_path / "checkpoints").glob("step-000002/COMPLETE"))


def test_groups_without_signal_for_many_steps_stop_the_run(tmp_path):
    table = digit_table()
    zero = load_tokenizer("lab:base").convert_tokens_to_ids("0")
    table.logits[:, zero] = 60.0  # "000" and no end, always
    with pytest.raises(RunStopped, match="no group had any signal in 2 steps"):
        run(tmp_path, config=digits_config("run.steps=9", "run.max_silent_steps=2"), table=table)
    assert any((tmp_path / "checkpoints").glob("step-000002/COMPLETE"))


def test_weights_that_did_not_arrive_are_noticed_at_the_start(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    engines = trainer.actors.engines
    other = digit_table(digit_problems(), seed=1)
    monkeypatch.setattr(engines, "receive", lambda table, version: setattr(engines, "policy", other))
    with pytest.raises(ParityError, match="disagree"):
        trainer.start()
