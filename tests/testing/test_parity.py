"""Engines that do not hold the learner's weights stop the run: in-process, over a table."""

import json
import threading

import numpy as np
import pytest

from explore_rl.cluster.faults import ActorFault
from explore_rl.testing import digits_config, make_trainer, run_steps
from explore_rl.training.actors import ParityError


def started(tmp_path, *settings):
    trainer = make_trainer(tmp_path, config=digits_config("run.steps=6", *settings))
    trainer.start()
    return trainer


def resend_the_first(trainer, monkeypatch):
    """Every later transfer brings the first weights again, under the new version."""
    engines = trainer.actors.engines
    monkeypatch.setattr(engines, "receive", lambda table, version: setattr(engines, "version", version))


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (1.0, r"mean \|difference\| of log-probabilities .* expected below 1e-04 for model.dtype=float32"),
        (1e-3, "bit for bit those before the transfer, while the learner's moved"),
    ],
    ids=["large steps", "steps below the tolerance"],
)
def test_weights_that_are_stale_for_ever_stop_the_run_within_two_steps(tmp_path, monkeypatch, caplog, rate, said):
    trainer = started(tmp_path, f"learner.learning_rate={rate}")
    resend_the_first(trainer, monkeypatch)
    with pytest.raises(ParityError, match=f"step 1: rollout engine 0 .*{said}.*2 transfer.*look at engine/parity_mean"):
        trainer.run()
    assert "step 0: rollout engine 0 does not compute what the learner computes" in caplog.text
    assert trainer.next_step == 1 and not trainer.folder.checkpoints()


def test_one_bad_transfer_is_told_and_forgotten(tmp_path, monkeypatch, caplog):
    trainer = started(tmp_path)
    with monkeypatch.context() as patch:
        resend_the_first(trainer, patch)
        first = trainer.step(0)
    second = trainer.step(1)
    assert "the run stops if it is so after the next transfer too" in caplog.text
    assert first["engine/parity_mean"] > 1e-4 > second["engine/parity_mean"]
    assert not trainer.parity.bad


def test_one_nan_of_an_engine_stops_the_run(tmp_path, monkeypatch):
    trainer = started(tmp_path)
    engines = trainer.actors.engines
    real = engines.logprobs_of

    def with_a_nan(sequences):
        scores = real(sequences)
        scores["rollout engine 0"][3][0] = np.nan
        return scores

    monkeypatch.setattr(engines, "logprobs_of", with_a_nan)
    with pytest.raises(ParityError, match="step 0: rollout engine 0 .*: 1 of .* are NaN"):
        trainer.step(0)


def test_an_engine_started_anew_is_checked_before_it_draws(tmp_path, monkeypatch):
    trainer = started(tmp_path)
    engines = trainer.actors.engines
    asked = []

    def noted(name):
        real = getattr(engines, name)
        monkeypatch.setattr(engines, name, lambda given, **o: (asked.append(name), real(given, **o))[1])

    noted("logprobs_of")
    noted("generate")
    engines.kill()
    trainer.step(0)
    assert asked == ["generate", "logprobs_of"] * 2  # dies, replaced, drawn from; after the transfer


def test_a_step_is_written_down_while_the_engines_answer(tmp_path, monkeypatch):
    trainer = started(tmp_path)
    written = threading.Event()
    answer, write = trainer.actors.engines.logprobs_of, trainer.recorder.write

    def once_written(sequences):
        assert written.wait(10), "the step waits for the engines first"
        return answer(sequences)

    monkeypatch.setattr(trainer.actors.engines, "logprobs_of", once_written)
    monkeypatch.setattr(trainer.recorder, "write", lambda *a, **o: (write(*a, **o), written.set()))
    assert trainer.step(0)["engine/parity_mean"] < 1e-6


def test_an_engine_that_dies_as_it_is_asked_is_replaced_and_asked_anew(tmp_path, monkeypatch, caplog):
    trainer = started(tmp_path)
    engines = trainer.actors.engines
    answer = engines.logprobs_of

    def dies(sequences):
        monkeypatch.setattr(engines, "logprobs_of", answer)
        engines.kill()
        return answer(sequences)

    monkeypatch.setattr(engines, "logprobs_of", dies)
    assert trainer.step(0)["engine/parity_mean"] < 1e-6
    assert caplog.text.count("died; starting it anew") == 1 and not engines.dead


def test_a_learner_that_dies_as_it_is_asked_is_not_taken_for_an_engine(tmp_path, monkeypatch, caplog):
    trainer = started(tmp_path)

    def dies(*args, **options):
        raise ActorFault("learner rank 0", "read 8 sequences", "died")

    monkeypatch.setattr(
        trainer.serving, "send", doomed(trainer.serving.send, trainer.actors.learner, dies, monkeypatch)
    )
    with pytest.raises(ActorFault, match="learner rank 0, asked to read 8 sequences: died"):
        trainer.step(0)
    assert "starting it anew" not in caplog.text


def doomed(send, learner, dies, monkeypatch):
    def sent(*args):
        monkeypatch.setattr(learner, "read", dies)
        return send(*args)

    return sent


def test_every_step_says_its_gap_and_what_it_cost(tmp_path):
    outcome = run_steps(tmp_path)
    for step in outcome.metrics:
        assert 0 <= step["engine/parity_mean"] <= step["engine/parity_max"] < 1e-6
        assert 0 < step["seconds/parity"] < step["seconds/step"]


def test_a_resumed_run_asks_the_same_sequences(tmp_path):
    whole = run_steps(tmp_path, stop_after=None)
    state = json.loads((whole.folder.checkpoint_path(2) / "state.json").read_text())
    again = make_trainer(tmp_path, config=digits_config())
    again.resume()
    assert again.parity.state() == state["parity"] == whole.trainer.parity.state() != []
