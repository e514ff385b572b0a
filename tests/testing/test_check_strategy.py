"""`check_strategy` passes what is right, and names what is wrong with a strategy."""

import random

import pytest

from analysis.errors import InputError
from explore_rl.strategies.base import Strategy
from explore_rl.strategies.checks import check_strategy, main
from explore_rl.testing import digits_config, run_steps
from explore_rl.types import Status


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    """The first steps of a process load torch's optimizers and a tokenizer."""
    run_steps(tmp_path_factory.mktemp("warm"), config=digits_config("run.steps=1", "learner.optimizer=adamw"))


class ShortAnswers(Strategy):
    """The README's."""

    def __init__(self, size: float = 0.1):
        self.size = size

    def reward(self, groups, context):
        for sample in (s for g in groups for s in g.samples):
            if sample.verdict.status is Status.CORRECT:
                sample.reward += self.size * (1 - len(sample.rollout.tokens) / 4)


def failed(report):
    return {finding.test for finding in report.findings if not finding.passed}


def test_a_right_strategy_passes_and_the_report_says_what_was_seen():
    report = check_strategy(ShortAnswers, on={"size": 0.5})
    assert report.ok and failed(report) == set()
    lines = str(report).splitlines()
    assert lines[0] == "strategy short_answers:" and len(lines) == 5
    assert all(line.startswith("passed") for line in lines[1:]) and "size=0.0" in lines[2]


class Idle(Strategy):
    """Overrides nothing."""


def test_one_that_does_nothing_is_not_active_and_what_switches_it_off_is_asked_for():
    report = check_strategy(Idle)
    assert failed(report) == {"active", "inert"} and not report.ok
    assert "NOT MADE  inert" in str(report) and "off={...}" in str(report)


class NeverOff(ShortAnswers):
    def reward(self, groups, context):
        groups[0].samples[0].reward += self.size + 0.1


def test_one_that_cannot_be_switched_off_is_named_with_the_step():
    report = check_strategy(NeverOff, on={"size": 0.5})
    assert failed(report) == {"inert"} and "with size=0.0 the gradient of step 0 differs" in str(report)


class Forgetful(ShortAnswers):
    """Its bonus grows, and the step count is not kept."""

    def __init__(self, size: float = 0.3):
        super().__init__(size)
        self.steps = 0

    def reward(self, groups, context):
        self.steps += 1
        for group in groups:
            group.samples[0].reward += self.size * self.steps


def test_one_that_keeps_no_state_is_seen_after_a_resume():
    report = check_strategy(Forgetful, settings=("algorithm.divide_by_std=false",))
    assert failed(report) == {"resume"} and "in step 3; what a step leaves on the strategy" in str(report)


class OwnDice(ShortAnswers):
    """Draws from Python's own stream."""

    def reward(self, groups, context):
        for group in groups:
            group.samples[0].reward += self.size * random.random()


def test_random_numbers_of_its_own_are_seen():
    report = check_strategy(OwnDice, on={"size": 0.5})
    assert {"repeatable", "resume"} <= failed(report) and "context.rng" in str(report)


class Misspelt(Strategy):
    def rewards(self, groups, context):
        """No place of a step."""


class TwoArguments(Strategy):
    def reward(self, groups):
        """Lacks the context."""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Misspelt, "rewards is no place of a step, and would never be called; did you mean reward?"),
        (TwoArguments, r"reward\(self, groups\): expected reward\(self, groups, context\)"),
        (dict, "expected a subclass of explore_rl.strategies.base.Strategy"),
    ],
)
def test_a_class_that_would_do_nothing_or_break_is_refused_before_a_step(kind, said):
    with pytest.raises(InputError, match=said):
        check_strategy(kind)


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(__file__).rpartition("/")[0])
    said = []
    assert main(["test_check_strategy:ShortAnswers"], said.append) == 0
    assert said[0].startswith("strategy short_answers:\npassed")
    assert main(["test_check_strategy"], said.append) == 2 and said[1].startswith("usage")


def test_a_class_that_cannot_be_made_is_one_line(capsys):
    assert main(["explore_rl.strategies.methods.ppo:Pop"]) == 2
    assert main(["explore_rl.strategies.methods.soft_overlong:NoTrial"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "holds no Pop; strategies in it: Ppo" in said[0]
    assert "holds no NoTrial; strategies in it: SoftOverlong" in said[1]
