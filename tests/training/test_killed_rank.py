"""A learner rank that is killed within a backward pass or an optimizer step.

The error names it, and the resumed run equals the uninterrupted one.
"""

from pathlib import Path

import pytest
import torch
from engine_kit import Borrowed, forget_engines
from safetensors.torch import load_file

from explore_rl.cluster.faults import ActorFault
from explore_rl.config.loading import load_config
from explore_rl.experiments.runs import run
from explore_rl.training.trainer import Trainer

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]
REPOSITORY = Path(__file__).resolve().parents[2]
STEP = 3  # one past the checkpoint at 2


def mortal(where):
    """To be run on the ranks: rank 1 kills itself at `where`, after it was seen to be there.

    It is made here, so that it travels by value.
    """

    def arm(rank):
        import os
        import signal

        if rank.index != 1:
            return

        def die(*_):
            os.kill(os.getpid(), signal.SIGKILL)

        def watch(module, inputs, output):
            hidden = output[0] if isinstance(output, tuple) else output
            if hidden.requires_grad:
                hidden.register_hook(die)

        if where == "backward":  # the gradient of the last layer is made, that of the first is not
            rank.model.base_model.layers[0].register_forward_hook(watch)
        else:  # its own part of the weights has moved, the other ranks have not got it yet
            rank.engine.optimizer.optimizer.register_step_post_hook(die)

    return arm


def test_the_resumed_run_equals_the_uninterrupted_one(actors, pair, small_settings, tmp_path, monkeypatch):
    """The two ranks are new after each death; the engines are the session's, and outlive them."""

    def config(name):
        recipe = REPOSITORY / "configs" / "lab" / "grpo.yaml"
        ranks = ["learner.ranks=2", "learner.zero_stage=2"]
        return load_config(recipe, [*small_settings, *ranks, f"name={name}", f"run.output={tmp_path}/{name}"])

    def borrowed(config):
        learner = pair.reset(config)
        return Borrowed(config, learner, actors.engines, verifiers=actors.verifiers, layout=actors.layout)

    def weights(folder):
        return load_file(folder / "final" / "model.safetensors")

    real = Trainer.step
    whole = weights(run(config("whole"), actors=borrowed(config("whole"))))
    for where in ("backward", "step"):

        def dies(self, number, where=where):
            if number == STEP:
                self.actors.learner.apply(mortal(where))
            return real(self, number)

        monkeypatch.setattr(Trainer, "step", dies)
        with pytest.raises(ActorFault, match="learner rank 1.*died"):
            run(config(where), actors=borrowed(config(where)))
        monkeypatch.undo()
        assert pair.learner.actors == []
        resumed = weights(run(config(where), resume=True, actors=borrowed(config(where))))
        assert resumed.keys() == whole.keys() and all(torch.equal(resumed[key], whole[key]) for key in whole)
    pair.learner.apply(forget_engines)
    actors.learner.apply(forget_engines)
