"""A portable checkpoint: what one layout of ranks saved, another one goes on with."""

import json

import numpy as np
import pytest
from learner_kit import TERMS, learner_config, make_rows
from safetensors.torch import load_file

from analysis.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.engine]
FIRST, SECOND = 0.9, 0.999


def settings(model, *, ranks, stage, portable=True):
    config = learner_config(model, ranks=ranks, zero_stage=stage, learning_rate=1e-3, max_grad_norm=0.0)
    config.learner.betas = [FIRST, SECOND]
    config.run.steps = 6
    config.run.portable_checkpoints = portable
    return config


def state(folder):
    """kind -> name -> float64 array, of the policy."""
    found = {}
    for file in sorted((folder / "portable").glob("policy-*.safetensors")):
        for key, value in load_file(file).items():
            kind, name = key.split(".", 1)
            found.setdefault(kind, {})[name] = value.double().numpy()
    return found


def gap(one, other):
    difference = sum(((one[name] - other[name]) ** 2).sum() for name in other)
    return float(np.sqrt(difference / sum((value**2).sum() for value in other.values())))


def gradient(before, after):
    """The gradient between two states, by what AdamW made of the first moment."""
    return {name: (after["exp_avg"][name] - FIRST * m) / (1 - FIRST) for name, m in before["exp_avg"].items()}


def test_what_two_ranks_at_stage_3_saved_goes_on_with_one_at_stage_0_and_back(groups, tiny_model, tmp_path):
    batches = [[make_rows(4, seed=seed)] for seed in range(4)]
    shards = settings(tiny_model, ranks=2, stage=3)
    groups[2].reset(shards)
    for batch in batches[:2]:
        groups[2].update(batch, TERMS)
    groups[2].save_checkpoint(tmp_path / "two")
    straight = groups[2].update(batches[2], TERMS)
    groups[2].save_checkpoint(tmp_path / "straight")

    groups[1].reset(settings(tiny_model, ranks=1, stage=0))
    groups[1].load_checkpoint(tmp_path / "two")
    there = groups[1].update(batches[2], TERMS)
    groups[1].save_checkpoint(tmp_path / "three")
    assert [r.learning_rate for r in there] == [r.learning_rate for r in straight]
    two, one, other = (state(tmp_path / name) for name in ("two", "three", "straight"))
    assert set(two) == {"parameter", "exp_avg", "exp_avg_sq"} and len(two["exp_avg"]) == len(two["parameter"]) > 20
    assert json.loads((tmp_path / "two/portable/portable.json").read_text())["policy"]["optimizer_step"] == 2
    assert gap(gradient(two, one), gradient(two, other)) < 1e-6
    assert gap(one["exp_avg_sq"], other["exp_avg_sq"]) < 1e-6
    moved = {name: value - two["parameter"][name] for name, value in other["parameter"].items()}
    assert gap({name: value - two["parameter"][name] for name, value in one["parameter"].items()}, moved) < 1e-4

    groups[1].update(batches[3], TERMS)
    groups[1].save_checkpoint(tmp_path / "four")
    for stage in (3, 2):
        groups[2].reset(settings(tiny_model, ranks=2, stage=stage))
        groups[2].load_checkpoint(tmp_path / "three")
        groups[2].update(batches[3], TERMS)
        groups[2].save_checkpoint(tmp_path / f"back-{stage}")
        back, four = state(tmp_path / f"back-{stage}"), state(tmp_path / "four")
        assert gap(gradient(one, back), gradient(one, four)) < 1e-6
        assert gap(back["exp_avg_sq"], four["exp_avg_sq"]) < 1e-6
    refuses(groups, tiny_model, tmp_path)


def refuses(groups, tiny_model, tmp_path):
    """In another layout it is the portable state that counts: without one, or with less than the model has."""
    groups[2].reset(settings(tiny_model, ranks=2, stage=1, portable=False))
    index = tmp_path / "three/portable/portable.json"
    whole = json.loads(index.read_text())
    del whole["policy"]["files"]["policy-0000.safetensors"][0]
    index.write_text(json.dumps(whole))
    with pytest.raises(InputError, match="a portable checkpoint lacks parameter"):
        groups[2].load_checkpoint(tmp_path / "three")
    index.unlink()
    with pytest.raises(InputError, match=r"learner.ranks=1, the learner now has 2.*run\.portable_checkpoints"):
        groups[2].load_checkpoint(tmp_path / "three")
