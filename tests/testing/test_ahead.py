"""run.ahead=1: the next batch is drawn while this one is learnt, and a resumed run goes on with what was drawn."""

import threading

import numpy as np
import pytest

from analysis.errors import InputError
from explore_rl import strategies
from explore_rl.config.checks import warnings
from explore_rl.objectives.readouts import logprob
from explore_rl.strategies.base import Strategy
from explore_rl.testing import digits_config, make_trainer, run_steps

AHEAD = ("run.ahead=1", "run.steps=4", "learner.optimizer=adamw", "learner.learning_rate=0.1")


def make(*names, **options):
    return strategies.make([{"name": name, **options} for name in names])


def versions(outcome, step):
    return {sample["weight_version"] for sample in outcome.samples(step)}


def test_a_batch_is_drawn_with_the_weights_before_the_update_that_it_was_drawn_beside(tmp_path):
    outcome = run_steps(tmp_path, config=digits_config(*AHEAD))
    assert [versions(outcome, step) for step in range(4)] == [{0}, {0}, {1}, {2}]
    assert len(outcome.updates) == 4 and outcome.trainer.admitted == []
    assert outcome.metrics[1]["data/epoch"] == pytest.approx(8 / 5)  # of the batch learnt, not of the one drawn


def test_drawing_goes_on_while_the_learner_works(tmp_path):
    """The update of step 0 waits until step 1 was asked of the engines, and would wait for ever at ahead 0."""
    trainer = make_trainer(tmp_path, config=digits_config(*AHEAD))
    trainer.start()
    asked = threading.Event()
    engines, learner = trainer.actors.engines, trainer.actors.learner
    generate, update = engines.generate, learner.update
    drawn_by = []

    def generates(requests, **options):
        drawn_by.append(threading.get_ident())
        if len(drawn_by) == 2:
            asked.set()
        return generate(requests, **options)

    def waits(*arguments, **options):
        assert asked.wait(timeout=30), "nothing was drawn beside the update"
        return update(*arguments, **options)

    engines.generate, learner.update = generates, waits
    metrics = trainer.step(0)
    assert len(drawn_by) == 2 and set(drawn_by) == {threading.get_ident()}
    stages = sum(value for key, value in metrics.items() if key.startswith("seconds/") and key.split("/")[1] != "step")
    assert metrics["seconds/overlapped"] > 0
    assert stages - 2 * metrics["seconds/overlapped"] == pytest.approx(metrics["seconds/step"])


class Diary(Strategy):
    """Notes every call, and the thread that made it."""

    def __init__(self):
        self.calls, self.threads = [], set()

    def note(self, place, context):
        self.calls.append(f"{place} {context.number}")
        self.threads.add(threading.get_ident())

    def choose(self, problems, context):
        self.note("choose", context)
        return problems

    def plan(self, requests, groups, round, context):
        self.note(f"plan {round}", context)
        return requests

    def inject(self, groups, context):
        self.note("inject", context)

    def reward(self, groups, context):
        self.note("reward", context)

    def advantage(self, groups, context):
        self.note("advantage", context)

    def keep(self, groups, context):
        self.note("keep", context)
        return groups, 0

    def after_update(self, groups, context):
        self.note("after_update", context)


DRAWN = ["choose", "plan 0", "plan 1", "inject"]
JUDGED = ["reward", "advantage", "keep"]


@pytest.mark.parametrize("ahead", [0, 1])
def test_strategies_are_called_in_one_order_and_on_one_thread(tmp_path, ahead):
    diary = Diary()
    run_steps(tmp_path, [diary], config=digits_config(f"run.ahead={ahead}", "run.steps=3"))
    expected = [f"{place} 0" for place in DRAWN]
    for step in range(3):
        expected += [f"{place} {step}" for place in JUDGED]
        then = [f"{place} {step + 1}" for place in DRAWN] if step < 2 else []
        ends = [f"after_update {step}"]
        expected += then + ends if ahead else ends + then
    assert diary.calls == expected
    assert diary.threads == {threading.get_ident()}


def one_answer(encoder, read, problems):
    """Log-probabilities of "01" for all problems, as `read` says them, added up."""
    answer = encoder.encode_completion("01")
    prompts = [encoder.encode_prompt(problem) for problem in problems]
    sequences = [(np.concatenate([prompt, answer]), len(prompt)) for prompt in prompts]
    return sum(values.sum() for (values,) in read(sequences, [logprob()]))


class Asks(Strategy):
    """Has the learner read a fixed sequence in every inject."""

    def __init__(self):
        self.said = []

    def inject(self, groups, context):
        self.said.append(one_answer(context, context.read, context.problems))


def test_what_inject_asks_is_answered_when_the_batch_before_was_learnt(tmp_path, monkeypatch):
    """The inject of step n + 1 sees the policy after the update of step n, as it would at ahead 0."""
    asks = Asks()
    trainer = make_trainer(tmp_path, [asks], config=digits_config(*AHEAD))
    learner = trainer.actors.learner
    after = []
    real = learner.update

    def updates(*arguments, **options):
        reports = real(*arguments, **options)
        after.append(one_answer(trainer, learner.read, trainer.data.problems))
        return reports

    monkeypatch.setattr(learner, "update", updates)
    trainer.start()
    trainer.run()
    assert asks.said[1:] == after[:3] and len(set(asks.said)) == 4


CASES = {
    "plain": ([], ()),
    "traces that the learner ranks": ([{"name": "trace_injection", "which": "least_likely", "rate": 0.5}], ()),
    "bonus and prorl": (
        [{"name": "diversity_bonus"}, {"name": "prorl", "every": 1}],
        ("algorithm.kl=k2", "algorithm.kl_coefficient=2.0"),
    ),
    "dynamic sampling": ([], ("algorithm.dynamic_sampling_rounds=3", "algorithm.group_size=4")),
}


@pytest.mark.parametrize("case", CASES)
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, case):
    given, settings = CASES[case]
    config = digits_config(*AHEAD, *settings)
    whole = run_steps(tmp_path / "whole", strategies.make(given), config=config)
    run_steps(tmp_path / "broken", strategies.make(given), config=config, stop_after=2)
    resumed = run_steps(tmp_path / "broken", strategies.make(given), config=config)
    assert len(resumed.updates) == 2 and (resumed.table == whole.table).all()
    for step in range(4):
        assert resumed.samples(step) == whole.samples(step)
    for mine, theirs in zip(resumed.metrics, whole.metrics, strict=True):
        timed = ("seconds/", "transfer/", "tokens_per_second")
        assert all(mine[key] == value for key, value in theirs.items() if not key.startswith(timed))


class Hoards(Strategy):
    def inject(self, groups, context):
        context.kept["lock"] = threading.Lock()


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(RuntimeError, match=r"batch of step 1 cannot be saved: .*lock.*context.kept"):
        run_steps(tmp_path, [Hoards()], config=digits_config(*AHEAD, "run.checkpoint_every=1"))


def test_an_engine_that_dies_while_a_batch_is_learnt_draws_the_rest_with_the_next_weights(tmp_path):
    trainer = make_trainer(tmp_path, config=digits_config(*AHEAD))
    trainer.start()
    engines = trainer.actors.engines
    real = trainer.learning.begin

    def begins(*arguments, **options):
        if trainer.next_step == 1:
            engines.kill(after=20)
        real(*arguments, **options)

    trainer.learning.begin = begins
    trainer.run()
    drawn = [s["weight_version"] for s in run_steps(tmp_path, config=digits_config(*AHEAD)).samples(2)]
    assert sorted(drawn) == [1] * 20 + [2] * 12
    assert engines.version == 4


def test_what_it_does_not_go_with(tmp_path):
    with pytest.raises(InputError, match=r"run\.ahead=1: draws while the learner works.*devices.colocate"):
        digits_config("run.ahead=1", "devices.colocate=true")
    mixture = make("mixture_policy")
    unbiased = ("algorithm.importance_cap=null", "algorithm.advantage=rloo", "algorithm.aggregation=constant")
    with pytest.raises(InputError, match=r"mixture_policy: run.ahead=1: its weights want"):
        run_steps(tmp_path, mixture, config=digits_config("run.ahead=1", *unbiased))
    config = digits_config("run.ahead=1", "algorithm.importance_cap=null")
    assert any("one version old" in line for line in warnings(config, "cpu", draws_from_base=False))
