"""A state that is not finite is not saved, and the advice after it can be followed."""

import pytest

from explore_rl.cluster.faults import RunStopped
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.testing import digits_config, make_trainer


def test_a_ruined_state_pushes_out_no_checkpoint(tmp_path):
    config = digits_config(
        "run.steps=9",
        "run.checkpoint_every=1",
        "run.keep_checkpoints=2",
        "run.max_bad_steps=3",
        "run.max_silent_steps=99",
    )
    trainer = make_trainer(tmp_path, config=config)
    trainer.start()
    real = trainer.actors.learner.update

    def ruins(minibatches, terms, **options):
        reports = real(minibatches, terms, **options)
        if trainer.next_step >= 3:
            for report in reports:
                object.__setattr__(report, "finite", False)
        return reports

    trainer.actors.learner.update = ruins
    with pytest.raises(RunStopped, match=r"not finite in 3 steps in a row.*explore-rl export .*@3 DIR"):
        trainer.run()
    assert RunFolder(tmp_path).checkpoints() == [2, 3]


def test_the_clock_makes_checkpoints_too(tmp_path):
    trainer = make_trainer(tmp_path, config=digits_config("run.checkpoint_every=50", "run.checkpoint_minutes=2"))
    trainer.next_step = 7
    assert [trainer.is_checkpoint_due(seconds) for seconds in (0, 119, 120)] == [False, False, True]
    trainer.next_step = 50
    assert trainer.is_checkpoint_due(0)
