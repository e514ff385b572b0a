"""The pages' worked gradients of methods that plan, inject or choose: from the first place of a step to the update.

Token 0 to 3, one position a row of the table, `algorithm.advantage=dr_grpo`, the mean over tokens.
"""

import numpy as np
import pytest
from judge_server import Server, of_probability
from one_step import OneStep, drawn, problem

from analysis.errors import InputError
from explore_rl.strategies.methods.bread import Bread
from explore_rl.strategies.methods.curriculum import Curriculum
from explore_rl.strategies.methods.hints import Hints
from explore_rl.strategies.methods.mentor import Mentor
from explore_rl.strategies.methods.pope import Pope
from explore_rl.strategies.methods.prefix_rft import PrefixRft
from explore_rl.strategies.methods.prefix_rl import PrefixRL
from explore_rl.strategies.methods.rep_exp import RepExp
from explore_rl.strategies.methods.rlep import Rlep
from explore_rl.strategies.methods.rlpr import Rlpr
from explore_rl.strategies.methods.siren import Siren
from explore_rl.strategies.methods.soft_judge import SoftJudge
from explore_rl.strategies.methods.srft import Srft
from explore_rl.strategies.methods.trajectory_balance import TrajectoryBalance
from explore_rl.strategies.methods.uft import Uft
from explore_rl.strategies.replay import Kept
from explore_rl.testing import digits_config, run_steps
from explore_rl.types import Status, Verdict

EVEN = [0.25] * 4
DR_GRPO = ("algorithm.advantage=dr_grpo",)


OF_TWO = (*DR_GRPO, "algorithm.group_size=2")
OF_THREE = (*DR_GRPO, "algorithm.group_size=3")


@pytest.mark.parametrize(
    ("strategy", "rows", "answers", "trace", "expected"),
    [
        # Two draws fail, and two branches go on from the trace's first token.
        (
            Bread(branches=2, attempts=1),
            [EVEN, EVEN],
            ["11", "11", "2", "3"],
            "02",
            [[-0.0208333, 0.0625, -0.0208333, -0.0208333], [0, 0.0833333, -0.125, 0.0416667]],
        ),
        # The same, but a hinted success takes the place of one failure.
        (
            Hints(tiers=[0.4], draws=2, use="swap"),
            [EVEN, EVEN],
            ["11", "11", "2", "3"],
            "02",
            [[-0.0416667, 0.125, -0.0416667, -0.0416667], [0, 0.1666667, -0.1666667, 0]],
        ),
        # The given token has no gradient.
        (PrefixRL(low=0.4, high=0.4, rate=1.0), [EVEN, EVEN], ["2", "1"], "02", [[0] * 4, [0, 0.25, -0.25, 0]]),
        # The hint's token is learnt by its likelihood.
        (
            Uft(coefficient=0.1, pieces=1),
            [EVEN, EVEN],
            ["2", "1"],
            "0",
            [[-0.075, 0.025, 0.025, 0.025], [0, 0.25, -0.25, 0]],
        ),
        # Of two given tokens the one with more entropy is learnt from.
        (
            PrefixRft(low=0.5, high=0.5, final=0.5, top=0.5),
            [EVEN, [0.7, 0.1, 0.1, 0.1], EVEN],
            ["2", "111"],
            "022",
            [[-0.1, 0.1, 0, 0], [-0.07, 0.09, -0.01, -0.01], [0, 0.1, -0.1, 0]],
        ),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_a_prefix(strategy, rows, answers, trace, expected):
    one = OneStep(strategy, rows, OF_TWO, [problem(trace=trace)])
    update = one.play(answers, right="2")
    assert update.gradient[: len(rows)] == pytest.approx(np.array(expected), abs=1e-6)
    assert not update.gradient[len(rows) :].any()


def test_pope():
    """A problem whose draws all failed goes on from a given token the next time; one that was solved does not."""
    strategy = Pope(low=0.4, high=0.4, rate=1.0)
    one = OneStep(strategy, [EVEN, EVEN], OF_TWO, [problem(trace="02")])
    assert not one.play(["11", "11"], right="2").gradient.any() and strategy.rates.shares == {"p0": 0.0}
    update = one.play(["2", "1"], right="2")
    assert update.gradient[:2] == pytest.approx(np.array([[0] * 4, [0, 0.25, -0.25, 0]]), abs=1e-6)
    strategy.rates.shares = {"p0": 0.5}
    assert one.play(["2", "1"], right="2").gradient[0] == pytest.approx([0, 0.25, -0.25, 0], abs=0.2)
    assert one.metrics["groups"] == 0


def test_srft():
    """H = log 4: w_S = .125, w_R = .4; the trace's advantage is 1/3, the slope of its shaping .204082."""
    update = OneStep(Srft(), [EVEN, EVEN], OF_THREE, [problem(trace="0")]).play(["2", "1"], right="2")
    expected = [[-0.0736926, 0.2245642, -0.1254358, -0.0254358], [0.0120642, 0.0120642, 0.0120642, -0.0361926]]
    assert update.gradient[:2] == pytest.approx(np.array(expected), abs=1e-6)


def test_soft_judge():
    """The judge is .9 sure of 2 and .2 of 1; what it cannot be asked about has no reward, and is no failure."""
    server = Server([lambda body: of_probability({"2": 0.9, "1": 0.2}[body["messages"][0]["content"]])])
    options = {"url": server.url, "model": "judge", "template": "{response}", "retries": 0}
    one = OneStep(SoftJudge(judge=options), [EVEN], OF_TWO, [problem()])
    update = one.play(["2", "1"], right="1")
    assert update.gradient[0] == pytest.approx([0, 0.175, -0.175, 0], abs=1e-6)
    assert one.metrics == {"asked": 2, "unjudged": 0, "agreement": 0}
    server.script = ["hang up"]
    assert not one.play(["2", "2"], right="1").gradient.any() and one.metrics == {"asked": 1, "unjudged": 1}
    server.http.shutdown()
    server.http.server_close()


def test_mentor():
    """Two draws of the policy are compared with each other, and the mixed success with their mean; at step 0 a = 1."""
    strategy = Mentor()
    strategy.limit = 2.0
    one = OneStep(strategy, [EVEN], (*DR_GRPO, "algorithm.group_size=4", *Mentor.trial.settings), [problem()])
    update = one.play(["2", "1", "2", "3"], right="2")
    assert update.gradient[0] == pytest.approx([0.03125, 0.15625, -0.21875, 0.03125], abs=1e-6)
    assert one.metrics["limit"] == strategy.limit == 1.5  # the entropies are below the least
    with pytest.raises(InputError, match="no engine mixes an expert in"):
        OneStep(Mentor(), [EVEN])


def test_a_run_learns_from_what_a_judge_says_alone(tmp_path):
    """The judge is never sure: .7 of what is right, .2 of what is wrong. Nobody else is asked for a reward."""
    strategy = SoftJudge(judge={"url": "http://127.0.0.1:1/v1", "model": "judge"})
    strategy.judge = lambda text, asked, truncated: Verdict(Status.CORRECT, [0.2, 0.7][is_right(text, asked.answer)])
    config = digits_config("run.steps=8", "learner.learning_rate=30.0", "algorithm.importance_cap=null")
    outcome = run_steps(tmp_path, [strategy], config=config)
    right = [np.mean([s["verdict"] == "correct" for s in outcome.samples(step)]) for step in range(8)]
    assert np.mean(right[:2]) < 0.25 and np.mean(right[-3:]) > 0.6, right


def is_right(text, total):
    return text.isdigit() and sum(map(int, text)) == total


def test_rlep():
    """A replay that was drawn at 1/2 and is now at 1/4: its ratio is 1/2, its advantage 2/3."""
    strategy = Rlep(count=1)
    strategy.bank.kept["p0"] = [Kept([0], "0", [float(np.log(0.5))], None, None, 1.0)]
    update = OneStep(strategy, [EVEN], OF_TWO, [problem()]).play(["1", "1"], right="2")
    assert update.gradient[0] == pytest.approx([-0.1388889, 0.1944444, -0.0277778, -0.0277778], abs=1e-6)


def test_trajectory_balance():
    """A / beta is 1, -1 and, for the replay, 1; log Z is 1/3, and the brackets are -2/3, 4/3, -2/3."""
    strategy = TrajectoryBalance(beta=0.5)
    strategy.bank.kept["p0"] = [Kept([2], "2", [0.0], None, None, 1.0)]
    update = OneStep(strategy, [EVEN], OF_TWO, [problem()]).play(["0", "1"], right="0")
    assert update.gradient[0] == pytest.approx([-4 / 9, 8 / 9, -4 / 9, 0], abs=1e-6)
    assert [kept.tokens for kept in strategy.bank.of("p0")] == [[2], [0]]


def test_trajectory_balance_reaches_its_target():
    """The base's odds of two answers times e^(1 / beta), whoever drew them, and GRPO's advantage of 1 between them."""
    one = OneStep(TrajectoryBalance(beta=0.5), [[0.5, 0.3, 0.1, 0.1]], (*DR_GRPO, "learner.learning_rate=0.2"))
    for _ in range(120):
        one.step([drawn([0], 1), drawn([1], 0)])
    log_p = one.learner.policy.log_probabilities([0])[0]
    assert log_p[0] - log_p[1] == pytest.approx(np.log(0.5 / 0.3) + 2, abs=1e-3)


def test_siren():
    """The fork's nucleus is 4/7, 2/7, 1/7, half a nat below the anchor; the sure token is no peak."""
    strategy = Siren(coefficient=0.5, quantile=0.5)
    nucleus = np.array([4, 2, 1]) / 7
    entropy = -(nucleus * np.log(nucleus)).sum()
    one = OneStep(strategy, [[0.5, 0.25, 0.125, 0.125], [0.97, 0.01, 0.01, 0.01]])
    assert np.abs(one.step([drawn([0, 0], 1)] * 2).gradient).max() < 1e-7  # the first step sets the anchor
    assert strategy.anchor == pytest.approx(entropy, abs=1e-6)
    strategy.anchor = entropy + 0.5
    update = one.step([drawn([0, 0], 1)] * 2)
    assert update.gradient[0] == pytest.approx([0.1131669, -0.0424376, -0.0707293, 0], abs=1e-6)
    assert not update.gradient[1].any()
    assert update.report.metrics["siren/loss"] == pytest.approx(0.5 * 0.25)


def test_rep_exp():
    """Hidden states (1, 0), (1, 0), (0, 1): bonuses 1/3, 1/3, 1/2, times beta."""
    rows = np.exp([[1.0, 0.0], [-1.0, 2.0]])
    one = OneStep(RepExp(beta=0.5), rows.tolist(), OF_THREE, [problem()])
    update = one.play(["0", "1", "00"], right="0")
    expected = [[-0.1736111, 0.1736111], [-0.0926114, 0.0926114]]
    assert update.gradient[:2] == pytest.approx(np.array(expected), abs=1e-6)


def test_rlpr():
    """The reference 2 is .6 likely after the reasoning 01, and .25 after the marker alone."""
    rows = [EVEN, EVEN, [0.1, 0.2, 0.6, 0.1], EVEN]
    update = OneStep(Rlpr(marker="1", filter=0.0), rows, OF_TWO, [problem()]).play(["013", "330"], right="2")
    pull = 0.175 / 6
    expected = [[-pull, 0, 0, pull], [0, -pull, 0, pull], [pull, 0, 0, -pull], [0] * 4]
    assert update.gradient[:4] == pytest.approx(np.array(expected), abs=1e-6)


def test_curriculum():
    """The problem at the boundary comes in the place of the one that is solved: GRPO's gradient stands in its rows."""
    strategy = Curriculum(share=1.0)
    strategy.rates.shares = {"p0": 1.0, "p1": 0.25}
    update = OneStep(strategy, [EVEN], OF_TWO, [problem(0), problem(1)]).play(["2", "1"], right="2")
    assert update.gradient == pytest.approx(np.array([[0] * 4, [0, 0.25, -0.25, 0]]), abs=1e-6)
    assert strategy.rates.shares["p1"] == 0.5
