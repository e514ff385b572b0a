"""rollout.streaming: engines draw across changes of their weights; the table's draw one token before each of them."""

import numpy as np
import pytest

from analysis.errors import InputError
from explore_rl import strategies
from explore_rl.config.checks import warnings
from explore_rl.rollout.engine_stream import changed_at
from explore_rl.strategies.base import Strategy
from explore_rl.testing import digits_config, make_trainer, run_steps
from explore_rl.types import Request, Rollout

STREAM = ("rollout.streaming=true", "run.steps=5", "learner.optimizer=adamw", "learner.learning_rate=0.1")


def config_of(staleness, *more):
    return digits_config(*STREAM, f"run.max_staleness={staleness}", *more)


def drawn_by(sample):
    """Of each token, the version of the weights that drew it."""
    request = Request("p", 0, [1], max_tokens=9)
    changes = tuple((c["token"], c["version"]) for c in sample["version_changes"])
    rollout = Rollout(
        request,
        sample["tokens"],
        "",
        "stop",
        np.zeros(len(sample["tokens"])),
        sample["weight_version"],
        changes=changes,
    )
    return rollout.versions.tolist()


@pytest.mark.parametrize("staleness", [1, 2])
def test_every_token_says_which_weights_drew_it_and_none_is_too_old(tmp_path, staleness):
    outcome = run_steps(tmp_path, config=config_of(staleness))
    for step in range(5):
        versions = [drawn_by(sample) for sample in outcome.samples(step)]
        # Admitted with the weights of so many steps before, one token under each of those on the way, the rest now.
        oldest = max(0, step - staleness)
        assert all(v == [min(oldest + place, step) for place in range(len(v))] for v in versions)
        metrics = outcome.metrics[step]
        assert metrics["streaming/staleness_max"] == step - oldest <= staleness
        assert metrics["streaming/changes_inside"] == sum(len(set(v)) - 1 for v in versions)
        assert step == 0 or metrics["streaming/changes_inside"] >= 32
    assert len(outcome.updates) == 5 and outcome.trainer.admitted == []


def test_log_probabilities_are_those_of_the_weights_that_drew_each_token(tmp_path):
    """With the engine's correction alone a gradient is exact, whatever changed on the way."""
    trainer = make_trainer(tmp_path, config=config_of(1))
    trainer.start()
    tables = []
    receive = trainer.actors.engines.receive

    def received(table, version):
        tables.append(table.copy())
        receive(table, version)

    trainer.actors.engines.receive = received
    tables.append(trainer.actors.engines.policy.copy())
    checked = 0
    learn = trainer.learn

    def learns(batch):
        nonlocal checked
        for sample in (s for g in batch.drawn[-1] for s in g.samples):
            prompt, tokens = tuple(sample.rollout.request.prompt_ids.tolist()), tuple(sample.rollout.tokens.tolist())
            for place, version in enumerate(sample.rollout.versions):
                table = tables[version]
                (log_p,) = table.log_probabilities(np.array([table.row_of(prompt, tokens[:place])]), 1.0)
                assert log_p[tokens[place]] == pytest.approx(sample.rollout.logprobs[place], abs=1e-6)
                checked += 1
        return learn(batch)

    trainer.learn = learns
    trainer.run()
    assert checked > 400


def test_without_learning_it_draws_and_learns_from_what_a_synchronous_run_does(tmp_path):
    still = ("run.steps=20", "learner.learning_rate=0.0")
    plain = run_steps(tmp_path / "plain", config=digits_config(*still))
    streamed = run_steps(tmp_path / "streamed", config=config_of(2, *still))
    for step in range(20):
        both = zip(plain.samples(step), streamed.samples(step), strict=True)
        own = ("weight_version", "version_changes")
        assert all(
            {k: v for k, v in a.items() if k not in own} == {k: b[k] for k in a if k not in own} for a, b in both
        )
    assert sum(m["streaming/changes_inside"] for m in streamed.metrics) > 600


class Slow:
    """Verifiers whose verdicts take so long that they are only waited for at the end; notes what was drawn by then."""

    def __init__(self, verifiers, stream):
        self.verifiers, self.stream, self.waited_at, self.begun = verifiers, stream, [], 0
        begin = stream.begin

        def begins(*arguments):
            self.begun += 1
            return begin(*arguments)

        stream.begin = begins

    def begin(self, items):
        verdicts = self.verifiers.begin(items)

        def later():
            self.waited_at.append(self.begun)
            return verdicts()

        return later


def test_a_slow_verifier_holds_up_no_draw(tmp_path):
    """Whoever waits for a batch's verdicts has handed the engines the batches behind it."""
    trainer = make_trainer(tmp_path, config=config_of(2))
    trainer.start()
    slow = trainer.actors.verifiers = Slow(trainer.actors.verifiers, trainer.actors.stream)
    trainer.run()
    assert slow.waited_at == [3, 4, 5, 5, 5]  # the first batch's with the third begun, and so on to the last


class Diary(Strategy):
    """Notes every call, and asks for a second round in step 1."""

    def __init__(self):
        self.calls = []

    def note(self, place, context):
        self.calls.append(f"{place} {context.number}")

    def choose(self, problems, context):
        self.note("choose", context)
        return problems

    def plan(self, requests, groups, round, context):
        self.note(f"plan {round}", context)
        if round == 1 and context.number == 1:
            assert all(len(group.samples) == 8 for group in groups)
            return [groups[0].samples[0].rollout.request]
        return requests

    def inject(self, groups, context):
        self.note("inject", context)

    def reward(self, groups, context):
        self.note("reward", context)

    def after_update(self, groups, context):
        self.note("after_update", context)


def test_strategies_are_called_in_a_fixed_order(tmp_path):
    diary = Diary()
    outcome = run_steps(tmp_path, [diary], config=config_of(1, "run.steps=3"))
    begin = ["choose", "plan 0"]
    end = ["plan 1", "inject", "reward", "after_update"]
    again = ["plan 1", "plan 2", *end[1:]]
    order = [(begin, 0), (begin, 1), (end, 0), (begin, 2), (again, 1), (end, 2)]
    assert diary.calls == [f"{place} {step}" for places, step in order for place in places]
    assert [len(outcome.samples(step)) for step in range(3)] == [32, 33, 32]


CASES = {
    "plain": ([], ()),
    "rounds and traces": ([{"name": "trace_injection", "which": "least_likely", "rate": 0.5}, {"name": "prorl"}], ()),
    "dynamic sampling": ([], ("algorithm.dynamic_sampling_rounds=3", "algorithm.group_size=4")),
}
KL = ("algorithm.kl=k2", "algorithm.kl_coefficient=2.0")


@pytest.mark.parametrize("case", CASES)
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, case):
    """A checkpoint waits for what is half drawn, in the run that goes on as in the one that is stopped."""
    given, settings = CASES[case]
    config = config_of(2, "run.checkpoint_every=2", *settings, *KL)
    whole = run_steps(tmp_path / "whole", strategies.make(given), config=config)
    run_steps(tmp_path / "broken", strategies.make(given), config=config, stop_after=2)
    resumed = run_steps(tmp_path / "broken", strategies.make(given), config=config)
    assert len(resumed.updates) == 3 and (resumed.table == whole.table).all()
    assert all(resumed.samples(step) == whole.samples(step) for step in range(5))


def test_an_engine_that_dies_has_its_part_drawn_anew(tmp_path):
    trainer = make_trainer(tmp_path, config=config_of(1))
    trainer.start()
    end = trainer.learning.end

    def ends():
        if trainer.next_step == 1:
            trainer.actors.engines.kill()
        return end()

    trainer.learning.end = ends
    trainer.run()
    whole = run_steps(tmp_path / "whole", config=config_of(1))
    for step in range(5):  # the same problems, all of them drawn
        ours, theirs = ([s["seed"] for s in pq_samples(folder, step)] for folder in (tmp_path, tmp_path / "whole"))
        assert ours == theirs
    assert whole.trainer.serving.version == trainer.serving.version == 5


def pq_samples(folder, step):
    import pyarrow.parquet as pq

    return pq.read_table(folder / "rollouts" / f"step-{step:06d}.parquet").to_pylist()


def test_places_where_versions_change():
    places = [(0, 3)]
    for drawn, version in [(0, 4), (2, 4), (2, 5), (2, 6), (7, 7)]:
        places = changed_at(places, drawn, version=version)
    assert places == [(0, 4), (2, 6), (7, 7)]


def test_what_it_does_not_go_with(tmp_path):
    for override, why in [
        ("devices.colocate=true", r"rollout\.streaming=True: draws while the learner works"),
        ("run.ahead=1", r"run\.ahead=1: rollout.streaming draws ahead already"),
        ("rollout.engine={scheduling_policy: fcfs}", r"rollout\.engine=.*needs scheduling_policy=priority"),
        ("run.max_staleness=0", r"expected at least 1: 0 is rollout.streaming=false"),
    ]:
        with pytest.raises(InputError, match=why):
            config_of(1, override)
    unbiased = ("algorithm.importance_cap=null", "algorithm.advantage=rloo", "algorithm.aggregation=constant")
    with pytest.raises(InputError, match=r"mixture_policy: rollout.streaming=true: its weights want"):
        run_steps(tmp_path, strategies.make([{"name": "mixture_policy"}]), config=config_of(1, *unbiased))
    said = warnings(config_of(1, "algorithm.importance_cap=null"), "cpu", draws_from_base=False)
    assert any("draws of old versions" in line for line in said)
    said = warnings(digits_config("run.max_staleness=2"), "cpu", draws_from_base=False)
    assert any("run.max_staleness has no effect" in line for line in said)
