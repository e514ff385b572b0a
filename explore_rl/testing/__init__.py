"""Testing a strategy of one's own: steps of the real Trainer in milliseconds, without Ray, a model or an engine.

The policy is a table of logits, a row for every context. It is sampled exactly, and its gradient is exact too; all else
is what a run uses: Trainer, strategies, advantages, loss terms, optimizer, run folder. A test of a strategy reads:

    from explore_rl.testing import digits_config, run_steps
    from short_answers import ShortAnswers

    def test_short_answers_pays_what_it_says(tmp_path):
        config = digits_config("rollout.max_new_tokens=4", "algorithm.divide_by_std=false")  # an answer has 3
        plain = run_steps(tmp_path / "plain", config=config)
        mine = run_steps(tmp_path / "mine", [ShortAnswers(size=0.2)], config=config)
        right = [s for s in mine.samples(0) if s["verdict"] == "correct"]
        assert all(s["reward"] > 1 for s in right)
        assert (mine.table != plain.table).any()

    def test_short_answers_of_size_0_is_grpo_bit_for_bit(tmp_path):
        plain = run_steps(tmp_path / "plain")
        off = run_steps(tmp_path / "off", [ShortAnswers(size=0.0)])
        assert (off.table == plain.table).all()

    def test_short_answers_goes_on_where_it_stopped(tmp_path):
        whole = run_steps(tmp_path / "whole", [ShortAnswers(size=0.2)])
        run_steps(tmp_path / "broken", [ShortAnswers(size=0.2)], stop_after=1)
        resumed = run_steps(tmp_path / "broken", [ShortAnswers(size=0.2)])
        assert (resumed.table == whole.table).all()

`explore_rl.strategies.checks.check_strategy` makes the last two tests, and two more, of any class. A strategy keeps
state, so every run gets an instance of its own. What there is to look at:

    outcome.samples(step)    every sample as the run folder keeps it: source, text, verdict, reward, advantage, ...
    outcome.metrics          what was logged, a dictionary a step; a strategy's own under "its name/key"
    outcome.updates          every optimizer step: the rows, the exact gradient by the table, the learner's report
    outcome.table            the trained logits
    outcome.trainer          the Trainer with its actors: trainer.actors.engines.kill() is an engine that dies

The task is two digits with a given sum (digits.py): several right answers a problem, traces with regions, a verifier
with modes. Another config is `digits_config("algorithm.advantage=rloo", ...)`; other problems need a table with rows
for their prompts (`LogitTable.by_position`, `LogitTable.by_last_token`).
"""

from explore_rl.testing.actors import TableActors
from explore_rl.testing.digits import digit_problems, digit_table, digits_config, verify_digits
from explore_rl.testing.engines import InProcessVerifiers, TableEngines, TableSync
from explore_rl.testing.learner import TableLearner, Update
from explore_rl.testing.steps import FinishedSteps, make_trainer, run_steps
from explore_rl.testing.table import LogitTable

__all__ = [
    "FinishedSteps",
    "InProcessVerifiers",
    "LogitTable",
    "TableActors",
    "TableEngines",
    "TableLearner",
    "TableSync",
    "Update",
    "digit_problems",
    "digit_table",
    "digits_config",
    "make_trainer",
    "run_steps",
    "verify_digits",
]
