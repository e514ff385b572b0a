"""Runs of the laboratory's GRPO recipe that take a few seconds, and what they leave behind.

Nothing heavy is imported before it is needed: the settings are there for all tests.
"""

import json
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
GRPO = REPOSITORY / "configs" / "lab" / "grpo.yaml"
MIXTURE = "strategies=[{name: mixture_policy, share_policy: 0.5, share_base: 0.25, share_hot: 0.25}]"
SMALL = [
    "problems.train=lab:countdown?level=3&split=train&size=24",
    "problems.heldout=lab:countdown?level=3&split=heldout&size=8",
    "run.exact_problems=lab:countdown?level=3&split=audit&size=20",
    "algorithm.prompts_per_step=4",
    "algorithm.group_size=4",
    "run.steps=4",
    "run.checkpoint_every=2",
    "run.evaluate_every=0",
    "run.exact_every=0",
    "verifiers.workers=1",
    "devices.stall_timeout_s=60",
]


def small(tmp_path, name, *overrides):
    """The config of a small run in `tmp_path`/`name`."""
    from explore_rl.config.loading import load_config

    return load_config(GRPO, [*SMALL, f"name={name}", f"run.output={tmp_path}/{name}", *overrides])


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "final" / "model.safetensors")


def same(a, b):
    import torch

    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def records(folder, name):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]
