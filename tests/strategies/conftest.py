"""Groups and step contexts for strategies: real laboratory problems and their real verifier, no engine, no learner."""

from dataclasses import replace

import numpy as np
import pytest

from explore_rl.config.loading import load_config
from explore_rl.lab import problems as lab
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.strategies.base import StepContext
from explore_rl.types import Group, Request, Rollout, Sample, Status, Verdict
from explore_rl.verifiers.base import make_verifier

ALPHABET = {c: i for i, c in enumerate("0123456789+-*/()=: ")}
END = 19


def encode(text):
    return np.array([ALPHABET[c] for c in text], dtype=np.int32)


@pytest.fixture
def problems():
    return lab.load("lab:countdown?level=3&split=train&size=8")


@pytest.fixture
def config():
    return load_config(None, ["algorithm.group_size=4", "rollout.max_new_tokens=24"])


@pytest.fixture
def step(config):
    verifier = make_verifier("countdown", {})

    def make(number=0, **changes):
        found = StepContext(
            number=number, rng=np.random.default_rng(hashed_seed("test", number)), config=config,
            encode_prompt=lambda p: encode(p.prompt), encode_completion=lambda t: np.append(encode(t), np.int32(END)),
            verify=lambda pairs: [verifier(text, p) for p, text in pairs],
        )  # fmt: skip
        return replace(found, **changes)

    return make


@pytest.fixture
def draft(problems, config):
    """The requests that the trainer drafts: group_size a problem."""
    return [
        Request(p.id, g, encode(p.prompt), max_tokens=config.rollout.max_new_tokens)
        for g, p in enumerate(problems) for i in range(config.algorithm.group_size)
    ]  # fmt: skip


def drawn(problem, group, answer, status, logprob=-1.0, source="policy", mode=None, share=None):
    """A sample that an engine drew, with the policy's log-probabilities filled in."""
    tokens = np.append(encode(answer), np.int32(END))
    request = Request(problem.id, group, encode(problem.prompt), max_tokens=24, source=source, share=share)
    rollout = Rollout(request, tokens, answer, "stop", logprobs=np.full(len(tokens), logprob, dtype=np.float32))
    score = {Status.CORRECT: 1.0, Status.WRONG: 0.0, Status.NO_ANSWER: 0.0}.get(status)
    sample = Sample(rollout, Verdict(status, score, answer or None, mode), reward=score)
    sample.columns["old_logprob"] = np.full(len(tokens), logprob, dtype=np.float32)
    return sample


@pytest.fixture
def sample_of():
    return drawn


@pytest.fixture
def failed_groups(problems):
    return [Group(p, [drawn(p, g, "1+1", Status.WRONG) for _ in range(3)]) for g, p in enumerate(problems)]
