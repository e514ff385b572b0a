"""What real ranks write: checkpoints from which they go on bit for bit, and models that anybody can load."""

import numpy as np
import pytest
import ray
import torch
from learner_kit import (
    TERMS,
    learner_config,
    load_plain,
    make_rows,
    plain_scores,
)
from rank_kit import (
    draw,
    offloaded,
    save_elsewhere,
    save_here,
    weights,
)
from safetensors.torch import load_file

from analysis.errors import InputError
from explore_rl.cluster.faults import RunStopped
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.learner.export import export
from explore_rl.objectives.readouts import logprob

pytestmark = [pytest.mark.slow, pytest.mark.engine]

SGD = {"optimizer": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.5}


@pytest.mark.parametrize("stage, offload", [(0, False), (1, False), (2, False), (3, False), (2, True)])
def test_resumed_equals_uninterrupted_bit_for_bit(groups, tiny_model, tmp_path, stage, offload):
    schedule = {"learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 2}
    config = learner_config(tiny_model, ranks=2, zero_stage=stage, offload_optimizer=offload, **schedule)
    config.run.steps = 6
    group = groups[2]
    group.reset(config)
    batches = [make_rows(4, seed=s) for s in range(4)]
    group.update(batches[:2], TERMS)
    group.save_checkpoint(tmp_path / "learner")
    group.save_pretrained(tmp_path / "whole")
    # What is exported from the checkpoint, without ranks, is what the ranks write themselves.
    export(tmp_path / "learner", str(tiny_model), out=tmp_path / "exported")
    whole, exported = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "exported"))
    assert whole.keys() == exported.keys() and all(torch.equal(whole[name], exported[name]) for name in whole)
    moves = stage in (1, 2) and not offload
    if moves:  # to CPU memory and back, as for an engine on the same GPU
        group.config.devices.offload_learner = True
        group.offload()
        states = [ray.get(actor.__ray_call__.remote(offloaded), timeout=60) for _, actor in group.actors]
        assert states == [(True, 4)] * 2
        group.offload()
    straight = group.update(batches[2:], TERMS)
    assert not moves or group.apply(lambda rank: rank.away) == [False, False]
    draws = group.apply(draw)
    expected = group.apply(weights)[0]
    group.reset(config)
    group.load_checkpoint(tmp_path / "learner")
    resumed = group.update(batches[2:], TERMS)
    assert group.apply(draw) == draws
    found = group.apply(weights)[0]
    assert all((found[name] == expected[name]).all() for name in expected)
    assert [r.loss for r in resumed] == [r.loss for r in straight]
    assert [r.learning_rate for r in resumed] == [r.learning_rate for r in straight]
    if stage == 0:
        group.reset(learner_config(tiny_model, ranks=2, zero_stage=1))
        with pytest.raises(InputError, match="zero_stage=0"):
            group.load_checkpoint(tmp_path / "learner")
        with pytest.raises(InputError, match="not a checkpoint"):
            group.load_checkpoint(tmp_path / "nowhere")
    # Without a rank's part it is none.
    names = {0: "random-1.pt", 2: "state/*zero_pp_rank_1_*optim_states.pt", 3: "state/*zero_pp_rank_1_*model_states.pt"}
    if stage in names:
        [part] = (tmp_path / "learner").glob(names[stage])
        part.unlink()
        group.reset(config)
        with pytest.raises(InputError, match=r"parts of the checkpoint are missing: .*1"):
            group.load_checkpoint(tmp_path / "learner")


def test_a_checkpoint_that_lacks_a_part_is_no_checkpoint(groups, tiny_model, tmp_path):
    """As when each node has a disk of its own: a rank's part is somewhere else."""
    config = learner_config(tiny_model, ranks=2, zero_stage=2)
    group = groups[2]
    group.reset(config)
    folder = RunFolder.create(tmp_path / "run", "", environment={})
    folder.complete_checkpoint(1, folder.begin_checkpoint(1), keep=1)
    aside = folder.begin_checkpoint(2)
    group.apply(save_elsewhere, tmp_path / "disk of another node")
    try:
        with pytest.raises(RunStopped, match=r"missing: random-1\.pt, state/.*zero_pp_rank_1.*one folder"):
            group.save_checkpoint(aside / "learner")
    finally:
        group.apply(save_here)
    assert folder.checkpoints() == [1]
    group.save_checkpoint(folder.begin_checkpoint(2) / "learner")


def test_bfloat16_resumes_bit_for_bit(groups, tiny_model, tmp_path):
    config = learner_config(tiny_model, ranks=2, zero_stage=1, learning_rate=1e-3)
    config.model.dtype = "bfloat16"
    group = groups[2]
    group.reset(config)
    group.update([make_rows(4, seed=0)], TERMS)
    group.save_checkpoint(tmp_path / "learner")
    group.update([make_rows(4, seed=1)], TERMS)
    expected = group.apply(weights)[0]
    group.reset(config)
    group.load_checkpoint(tmp_path / "learner")
    group.update([make_rows(4, seed=1)], TERMS)
    assert all((group.apply(weights)[0][name] == expected[name]).all() for name in expected)


@pytest.mark.parametrize("stage", [0, 3])
def test_saved_model_is_an_ordinary_checkpoint(groups, tiny_model, tmp_path, stage):
    from transformers import AutoTokenizer

    config = learner_config(tiny_model, ranks=2, zero_stage=stage, **SGD)
    group = groups[2]
    group.reset(config)
    group.update([make_rows()], TERMS)
    group.save_pretrained(tmp_path / "final")
    rows = make_rows(4, seed=7)
    model = load_plain(tmp_path / "final")
    found = group.read([(row.tokens, row.prompt_length) for row in rows], (logprob(),))
    with torch.no_grad():
        for row, (logprobs,) in zip(rows, found, strict=True):
            np.testing.assert_allclose(
                logprobs, plain_scores(model, row.tokens, row.prompt_length)[0].numpy(), atol=2e-5
            )
    assert AutoTokenizer.from_pretrained(tmp_path / "final").eos_token == "<end>"
    assert model.generation_config.eos_token_id == 19
    assert not (tmp_path / "final.partial").exists()
