"""That a run over digits, broken off after three of six steps, goes on bit for bit, its moments kept."""

from explore_rl.testing import digits_config, run_steps

ADAM = ("learner.optimizer=adamw", "learner.learning_rate=0.1")


def goes_on(tmp_path, make=list, *, settings=(), table=None):
    """make: a new list of strategies. The outcome of the resumed run."""
    config = digits_config(*settings, *ADAM, "run.steps=6")
    whole = run_steps(tmp_path / "whole", make(), config=config, table=table)
    broken = run_steps(tmp_path / "broken", make(), config=config, table=table, stop_after=3)
    assert broken.learner.optimizers["policy"].state, "nothing to be kept"
    resumed = run_steps(tmp_path / "broken", make(), config=config, table=table)
    assert 2 * len(resumed.updates) == len(whole.updates), "it began anew"
    assert (resumed.table == whole.table).all() and (whole.table != broken.table).any()
    return resumed
