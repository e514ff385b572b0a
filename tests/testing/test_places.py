"""The places of a step through the real Trainer: who is called when, and what the trainer keeps for itself."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from analysis.errors import InputError
from explore_rl.cluster.faults import RunStopped
from explore_rl.objectives.losses import Loss
from explore_rl.objectives.readouts import HIDDEN_MEAN, logprob, top_logprobs
from explore_rl.strategies import make, together
from explore_rl.strategies.base import Column, Needs, StepContext, Strategy, given
from explore_rl.strategies.builtin import DynamicSampling
from explore_rl.testing import digit_problems, digit_table, digits_config, make_trainer, run_steps
from explore_rl.types import Group, Problem, Request, Rollout, Sample, Status, Verdict

PLAIN = ("algorithm.importance_cap=null", "run.steps=1")


def strategies(*settings):
    return make([dict(setting) for setting in settings])


class Spy(Strategy):
    """Notes which place is called, and keeps the groups that were learnt from."""

    def __init__(self):
        self.called = []
        self.groups = []

    def choose(self, problems, context):
        self.called.append("choose")
        return problems

    def plan(self, requests, groups, round, context):
        self.called.append(f"plan {round}")
        assert all(request.seed == 0 for request in requests)
        return requests

    def inject(self, groups, context):
        self.called.append("inject")
        assert not any(sample.columns for group in groups for sample in group.samples)

    def reward(self, groups, context):
        self.called.append("reward")
        assert all({"old_logprob", "entropy"} <= sample.columns.keys() for g in groups for sample in g.samples)

    def advantage(self, groups, context):
        self.called.append("advantage")

    def keep(self, groups, context):
        self.called.append("keep")
        return groups, 0

    def after_update(self, groups, context):
        self.called.append("after_update")
        self.groups = groups


def test_the_places_are_called_in_their_order(tmp_path):
    spy = Spy()
    run_steps(tmp_path, [spy], config=digits_config("run.steps=1"))
    assert spy.called == ["choose", "plan 0", "plan 1", "inject", "reward", "advantage", "keep", "after_update"]
    assert len(spy.groups) == 4 and all(len(group.samples) == 8 for group in spy.groups)


# --- seeds ------------------------------------------------------------------------------------------------------------


class DrawsAgain(Strategy):
    """Asks once more for everything that is wrong, in the natural way."""

    def plan(self, requests, groups, round, context):
        if round != 1:
            return requests
        return [replace(s.rollout.request) for g in groups for s in g.samples if s.verdict.status is not Status.CORRECT]


def test_a_draw_that_is_asked_for_again_is_another_draw(tmp_path):
    """With the seed of the first draw all of them would be the same tokens again."""
    samples = run_steps(tmp_path, [DrawsAgain()], config=digits_config("run.steps=1")).samples(0)
    assert len({sample["seed"] for sample in samples}) == len(samples) > 40
    same = again = 0
    for group in range(4):
        of_group = [sample for sample in samples if sample["group"] == group]
        wrong = [sample for sample in of_group[:8] if sample["verdict"] != "correct"]
        again += len(wrong)
        same += sum(a["tokens"] == b["tokens"] for a, b in zip(wrong, of_group[8:], strict=True))
    assert again > 10 and same < again / 2


def test_what_a_strategy_writes_as_a_seed_is_never_used(tmp_path):
    class Seeds(Strategy):
        def plan(self, requests, groups, round, context):
            return [replace(request, seed=7) for request in requests]

    plain = run_steps(tmp_path / "plain", config=digits_config(*PLAIN))
    assert run_steps(tmp_path / "seeds", [Seeds()], config=digits_config(*PLAIN)).samples(0) == plain.samples(0)


# --- several instances ------------------------------------------------------------------------------------------------


def test_two_instances_have_their_own_keys_terms_metrics_and_random_streams(tmp_path):
    pair = strategies(
        {"name": "trace_injection", "regions": ["double"], "gamma": 0.1},
        {"name": "trace_injection", "regions": ["mixed"], "gamma": 0.9},
    )
    outcome = run_steps(tmp_path, pair, config=digits_config("run.steps=1", "algorithm.prompts_per_step=5"))
    assert [strategy.key for strategy in pair] == ["trace_injection", "trace_injection-2"]
    gammas = {term.name: term.params["gamma"] for term in outcome.trainer.terms if "gamma" in term.params}
    assert gammas == {"shaped_trace": 0.1, "trace_injection-2.shaped_trace": 0.9}
    fed = {name for row in outcome.updates[0].rows for name in row.terms}
    assert fed == {"policy_gradient", *gammas}
    metrics = outcome.metrics[0]
    assert metrics["trace_injection/injected"] > 0 < metrics["trace_injection-2/injected"]
    streams = [outcome.trainer.context(strategy, 0).rng.random() for strategy in pair]
    assert streams[0] != streams[1]


@dataclass
class Settings(Strategy):
    """A strategy that is a dataclass cannot be hashed, and two with the same settings are equal."""

    size: float = 0.1

    def reward(self, groups, context):
        groups[0].samples[0].reward += self.size
        context.metrics["size"] = self.size

    def state(self):
        return {"size": self.size}

    def load_state(self, state):
        assert state == self.state()


def test_a_strategy_may_be_a_dataclass(tmp_path):
    config = digits_config("run.steps=2")
    run_steps(tmp_path, [Settings(), Settings()], config=config, stop_after=1)
    metrics = run_steps(tmp_path, [Settings(), Settings()], config=config).metrics
    assert metrics[1]["settings/size"] == metrics[1]["settings-2/size"] == 0.1


# --- what a sample is worth -------------------------------------------------------------------------------------------


class PerToken(Strategy):
    """The first token of every completion gets all of the advantage."""

    def advantage(self, groups, context):
        for sample in (s for g in groups for s in g.samples):
            column = np.zeros(len(sample.rollout.tokens), dtype=np.float32)
            column[0] = sample.advantage
            sample.columns["advantage"], sample.weight = column, 0.5


def test_advantages_per_token_stand_in_place_of_the_scalar(tmp_path):
    spy = Spy()
    outcome = run_steps(tmp_path, [PerToken(), spy], config=digits_config(*PLAIN))
    samples = [sample for group in spy.groups for sample in group.samples]
    pulling = [sample for sample in samples if sample.advantage]
    for sample, row in zip(pulling, outcome.updates[0].rows, strict=True):
        assert row.columns["advantage"][0] == pytest.approx(0.5 * sample.advantage)
        assert not row.columns["advantage"][1:].any()
    for sample, record in zip(samples, outcome.samples(0), strict=True):
        assert record["advantage"] == pytest.approx(sample.advantage / len(sample.rollout.tokens))


def test_every_member_of_a_group_pays_the_kl_in_the_reward(tmp_path):
    """Traces and draws alike: they are compared with each other, so one that does not pay wins by the others' KL."""
    kl = ("algorithm.kl=k1", "algorithm.kl_place=reward", "algorithm.kl_coefficient=0.1")
    spy = Spy()
    config = digits_config(*kl, "run.steps=2", "learner.learning_rate=20")
    run_steps(tmp_path, [*strategies({"name": "trace_injection"}), spy], config=config)
    samples = [sample for group in spy.groups for sample in group.samples]
    assert {sample.rollout.request.source for sample in samples} == {"policy", "trace"}
    for sample in samples:
        paid = 0.1 * float((sample.columns["old_logprob"] - sample.columns["base_logprob"]).sum())
        assert sample.verdict.score - sample.reward == pytest.approx(paid, abs=1e-5)
    assert any(abs(s.verdict.score - s.reward) > 0.01 for s in samples if s.rollout.request.source == "trace")


def test_one_pass_of_each_model_fills_all_columns(tmp_path, monkeypatch):
    class Reads(Strategy):
        def needs(self, config):
            readouts = {"sharp": logprob(0.5), "top": top_logprobs(2), "mean": HIDDEN_MEAN}
            of_policy = [Column(name, "policy", readout) for name, readout in readouts.items()]
            return Needs(columns=(*of_policy, Column("base_sharp", "base", logprob(0.5))))

        def reward(self, groups, context):
            self.columns = {frozenset(sample.columns) for group in groups for sample in group.samples}

    reads = Reads()
    trainer = make_trainer(tmp_path, [reads], config=digits_config("algorithm.kl=k3", "algorithm.kl_coefficient=0.1"))
    trainer.start()
    learner, passes = trainer.actors.learner, []
    real = learner.read

    def noted(sequences, readouts, *, model="policy"):
        passes.append((model, len(readouts)))
        return real(sequences, readouts, model=model)

    monkeypatch.setattr(learner, "read", noted)
    trainer.judge(trainer.produce(0))
    assert passes == [("policy", 5), ("base", 2)]
    columns = {"old_logprob", "entropy", "sharp", "top", "mean", "base_sharp", "base_logprob"}
    assert reads.columns == {frozenset(columns)}


# --- which groups count -----------------------------------------------------------------------------------------------


def groups_of(*advantages, first=0):
    """A group for each advantage, of two samples."""
    groups = []
    for number, advantage in enumerate(advantages, first):
        request = Request(f"p{number}", number, [1], max_tokens=3)
        rollout = Rollout(request, [5], "5", "stop", logprobs=np.zeros(1, dtype=np.float32))
        samples = [
            Sample(rollout, Verdict(Status.WRONG, 0.0), reward=0.0, advantage=a) for a in (advantage, -advantage)
        ]
        groups.append(Group(Problem(f"p{number}", "", None, "digits"), samples))
    return groups


def context_of(config):
    return StepContext(0, np.random.default_rng(0), config, None, None, None)


def test_dynamic_sampling_draws_what_is_missing_over_the_share_kept():
    sampling, context = DynamicSampling(), context_of(digits_config("algorithm.dynamic_sampling_rounds=3"))
    kept, more = sampling.keep(groups_of(1.0, 0.0, 0.0, 0.0), context)
    assert len(kept) == 1 and more == math.ceil(3 / (1 / 4))
    # 12 more, of which 4 pull: 3 fill the batch, the fourth has no place in it.
    kept, more = sampling.keep(groups_of(*[1.0] * 4, *[0.0] * 8, first=4), context)
    assert len(kept) == 3 and more == 0
    assert context.metrics == {"keep_rate": 5 / 16, "draws": 2.0}


def test_dynamic_sampling_asks_for_whole_batches_until_something_pulls_and_gives_up_after_its_rounds():
    sampling, context = DynamicSampling(), context_of(digits_config("algorithm.dynamic_sampling_rounds=1"))
    assert sampling.keep(groups_of(0.0, 0.0), context) == ([], 4)
    assert sampling.keep(groups_of(0.0, 0.0), context) == ([], 0)


def test_dynamic_sampling_keeps_what_a_term_without_advantages_teaches():
    """A right trace beside draws that are all right: nothing differs, and it is learnt from all the same."""
    sampling, context = DynamicSampling(), context_of(digits_config("algorithm.dynamic_sampling_rounds=1"))
    taught, silent = groups_of(0.0, 0.0)
    taught.samples[0].terms = {"likelihood": 1.0}
    context.free_terms = frozenset({"likelihood"})
    assert sampling.keep([taught, silent], context)[0] == [taught]


DYNAMIC = ("algorithm.dynamic_sampling_rounds=4", "algorithm.group_size=4", "run.steps=1")


def kept_by_group(outcome, step=0):
    """For each group of a step whether it was kept, and the set of its drawn rewards."""
    groups = {}
    for sample in outcome.samples(step):
        of_group = groups.setdefault(sample["group"], {"kept": sample["kept"], "drawn": set(), "answers": set()})
        if sample["source"] == "policy":
            of_group["drawn"].add(sample["score"])
            of_group["answers"].add(sample["answer"])
    return list(groups.values())


def test_a_trace_outside_the_baseline_is_judged_by_what_it_teaches(tmp_path):
    """Draws that are all wrong, or all right, with a trace that is compared with nothing.

    Likelihood teaches in both, so both are kept. By the rewards alone the second would be dropped.
    """
    outcome = run_steps(tmp_path, strategies({"name": "likelihood"}), config=digits_config(*DYNAMIC))
    groups = kept_by_group(outcome)
    assert len(groups) == 4 and all(group["kept"] for group in groups)
    assert any(len(group["drawn"]) == 1 for group in groups)


def test_a_group_whose_rewards_are_equal_stays_where_a_bonus_tells_its_answers_apart(tmp_path):
    bonus = strategies({"name": "diversity_bonus", "kind": "batch", "coefficient": 0.2})
    plain = kept_by_group(run_steps(tmp_path / "plain", config=digits_config(*DYNAMIC)))
    mine = kept_by_group(run_steps(tmp_path / "mine", bonus, config=digits_config(*DYNAMIC)))
    assert any(len(group["drawn"]) == 1 and group["kept"] for group in mine)
    assert all(len(group["drawn"]) == 2 for group in plain if group["kept"])


def test_counts_of_answers_include_the_groups_that_were_dropped(tmp_path):
    (bonus,) = strategies({"name": "diversity_bonus", "coefficient": 0.0})
    outcome = run_steps(tmp_path, [bonus], config=digits_config(*DYNAMIC))
    answered = [s for s in outcome.samples(0) if s["verdict"] in ("correct", "wrong")]
    assert any(not sample["kept"] for sample in answered)
    assert sum(sum(counts.values()) for counts in bonus.counts.values()) == len(answered)


class AllTheSame(Strategy):
    """Puts one and the same sample first in every group; compared by value, the groups' arrays would raise."""

    def inject(self, groups, context):
        like = groups[0].samples[0].rollout.request
        for group in groups:
            rollout = given(like, tokens=np.array([3, 4], dtype=np.int32), text="34", source="replay")
            group.samples[:] = [Sample(rollout, Verdict(Status.WRONG, 0.0), reward=0.0) for _ in range(3)]


def test_without_any_signal_the_last_draw_stands_for_the_step(tmp_path):
    table = digit_table()
    trainer = make_trainer(tmp_path, [AllTheSame()], config=digits_config(*DYNAMIC), table=table)
    trainer.start()
    batch = trainer.produce(0)
    trainer.settle(batch)
    assert len(batch.drawn) == 5 and batch.groups is batch.drawn[-1]
    assert [id(g) for g in batch.dropped] == [id(g) for draw in batch.drawn[:-1] for g in draw]


class Hardest(Strategy):
    """Only the last problem, three times."""

    def choose(self, problems, context):
        assert len(context.problems) == 5
        return [context.problems[-1]] * 3


def test_a_strategy_may_choose_the_problems(tmp_path):
    samples = run_steps(tmp_path, [Hardest()], config=digits_config("run.steps=1")).samples(0)
    assert {sample["problem_id"] for sample in samples} == {digit_problems()[-1].id} and len(samples) == 3 * 8
    assert len({sample["seed"] for sample in samples}) == 3 * 8


class ResetsReference(Strategy):
    """After every update the base is the policy, and the optimizer begins anew."""

    def __init__(self, base_engine=False):
        self.base_engine = base_engine

    def needs(self, config):
        return Needs(base_engine=self.base_engine, columns=(Column("base_logprob", "base", logprob()),))

    def after_update(self, groups, context):
        context.refresh_base()
        context.reset_optimizer()


def test_after_an_update_the_base_can_become_the_policy(tmp_path):
    settings = ("run.steps=3", "algorithm.kl=k3", "algorithm.kl_coefficient=0.5", "learner.optimizer=adamw")
    config = digits_config(*settings, "learner.learning_rate=0.1")
    plain = run_steps(tmp_path / "plain", config=config)
    mine = run_steps(tmp_path / "mine", [ResetsReference()], config=config)
    assert [step["kl/base"] > 0 for step in plain.metrics] == [False, True, True]
    assert [step["kl/base"] for step in mine.metrics] == [0.0, 0.0, 0.0]
    assert (mine.table != plain.table).any()


def test_the_base_is_not_refreshed_under_an_engine_that_draws_from_it(tmp_path):
    with pytest.raises(RunStopped, match="whose base engine draws from the initial model"):
        run_steps(tmp_path, [ResetsReference(base_engine=True)])


def test_a_checkpoint_of_other_strategies_is_refused(tmp_path):
    run_steps(tmp_path, [Settings()], config=digits_config("run.steps=2"), stop_after=1)
    with pytest.raises(InputError, match="does not hold the state of these strategies"):
        run_steps(tmp_path, config=digits_config("run.steps=2"))


# --- the loss ---------------------------------------------------------------------------------------------------------


def plain_policy_gradient(logprob, advantage, scale):
    return -scale * advantage * logprob


def reinforce():
    """What `algorithm.loss=test_places:reinforce` names."""
    return Loss(plain_policy_gradient, ("advantage",))


def test_a_loss_of_ones_own_keeps_kl_and_entropy(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(__file__).rpartition("/")[0])
    beside = ("algorithm.kl=k3", "algorithm.kl_coefficient=0.1", "algorithm.entropy_coefficient=0.1", *PLAIN)
    mine = ("algorithm.loss=test_places:reinforce", "algorithm.loss_options={scale: 1.0}")
    clipped = run_steps(tmp_path / "clipped", config=digits_config(*beside))
    own = run_steps(tmp_path / "own", config=digits_config(*beside, *mine))
    assert {name for row in own.updates[0].rows for name in row.terms} == {"policy_gradient", "kl", "entropy"}
    # In the first update the clipped surrogate has the gradient of the plain one.
    np.testing.assert_allclose(own.updates[0].gradient, clipped.updates[0].gradient, atol=1e-6)
    twice = run_steps(tmp_path / "twice", config=digits_config(*beside, mine[0], "algorithm.loss_options={scale: 2.0}"))
    assert np.abs(twice.updates[0].gradient - own.updates[0].gradient).max() > 1e-3


def test_keys_of_all_strategies_are_different():
    config = digits_config("algorithm.entropy_coefficient=0.1")

    class Entropy(Strategy):
        """Has the name of a built-in one."""

    keys = [strategy.key for strategy in together.assemble([Entropy()], config)]
    assert keys == ["group_advantage", "entropy", "entropy-2", "engine_correction"]
