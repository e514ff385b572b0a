"""That a run over digits, broken off after three of six steps, goes on bit for bit, its moments kept."""

from explore_rl.testing import digits_config, run_steps

ADAM = ("learner.optimizer=adamw", "learner.learning_rate=0.1")


def goes_on(tmp_path, make=list, *, settings=(), table=None):
    """make: a new list of strategies. settings: of the run, besides AdamW. Returns the resumed run."""
    config = digits_config(*ADAM, *settings, "run.steps=6")
    whole = run_steps(tmp_path / "whole", make(), config=config, table=table)
    broken = run_steps(tmp_path / "broken", make(), config=config, table=table, stop_after=3)
    assert broken.learner.optimizers["policy"].state, "nothing to be kept"
    resumed = run_steps(tmp_path / "broken", make(), config=config, table=table)
    assert 2 * len(resumed.updates) == len(whole.updates), "it began anew"
    assert (resumed.table == whole.table).all() and (whole.table != broken.table).any()
    for ours, theirs in zip(resumed.trainer.strategies, whole.trainer.strategies, strict=True):
        assert ours.state() == theirs.state()
    for name in ("values", "heads"):
        assert str(getattr(resumed.learner, name)) == str(getattr(whole.learner, name))
    assert [untimed(step) for step in resumed.metrics] == [untimed(step) for step in whole.metrics]
    return resumed


def untimed(metrics):
    """Without the clock, and what is a rate."""
    return {key: value for key, value in metrics.items() if "second" not in key}
