"""examples/by_hand.py is what the trainer does: the same objectives, the same direction."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def by_hand():
    spec = importlib.util.spec_from_file_location("by_hand", REPOSITORY / "examples" / "by_hand.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def embedded(by_hand):
    torch.set_num_threads(1)
    return by_hand.logprobs.load_model(by_hand.LAB_BASE)


def test_a_step_makes_correct_draws_likelier_than_wrong_ones(by_hand, embedded, monkeypatch):
    monkeypatch.setattr(by_hand, "GROUP", 8)
    model, tokenizer = embedded
    batch = by_hand.problems.load("lab:countdown?level=3&split=train&size=2")
    drawn = {}
    real = by_hand.sampling.draw

    def remembering(model, prompt, **options):
        drawn[tuple(prompt)] = real(model, prompt, **options)
        return drawn[tuple(prompt)]

    monkeypatch.setattr(by_hand.sampling, "draw", remembering)
    verifier = by_hand.make_verifier("countdown", {})
    options = {"generator": torch.Generator().manual_seed(1), "verifier": verifier}

    def likelihoods():
        """Log-probability of each draw, and its advantage."""
        logprobs, worth = [], []
        for problem in batch:
            prompt = tokenizer(problem.prompt).input_ids
            of_group = drawn[tuple(prompt)]
            texts = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in of_group]
            right = [verifier(text, problem).status is by_hand.Status.CORRECT for text in texts]
            worth += by_hand.advantages.grpo(np.array(right, dtype=float)).tolist()
            with torch.no_grad():
                sums = [
                    by_hand.token_logprobs(model, prompt, completion=list(tokens)).sum().item() for tokens in of_group
                ]
            logprobs += sums
        return np.array(logprobs), np.array(worth)

    still = torch.optim.SGD(model.parameters(), lr=0.0)
    share = by_hand.step(model, tokenizer, still, batch, **options)
    before, worth = likelihoods()
    assert share == pytest.approx((worth > 0).mean(), abs=1e-9) and worth.std() > 0
    # The gradient of that same step, followed a little: the surrogate of its own draws has to rise.
    torch.optim.SGD(model.parameters(), lr=0.02).step()
    after, _ = likelihoods()
    assert (worth * (after - before)).sum() > 0


def test_what_it_prints_is_exact_and_one_line_a_step(by_hand, monkeypatch, capsys):
    monkeypatch.setattr(by_hand, "PROMPTS", 2)
    monkeypatch.setattr(by_hand, "GROUP", 2)
    monkeypatch.setattr("sys.argv", ["by_hand.py", "--steps", "2"])
    by_hand.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("exact pass@k before: @1 0.279")
    assert [line.split(":")[0] for line in lines[1:3]] == ["step 0", "step 1"]
