"""Answers at inference time: how draws are shared, how answers are ranked, and what exploring finds."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from analysis.errors import InputError
from explore_rl.lab import logprobs, sampling
from explore_rl.rollout.answering import answer, ranked, shares
from explore_rl.rollout.sampling import SamplingSettings
from explore_rl.types import Rollout
from explore_rl.verifiers.base import make_verifier

PROBLEMS = "lab:countdown?split=audit&size=8"


def test_draws_are_shared_as_the_mode_and_the_audit_say(tmp_path):
    assert shares("focused", 8) == {"tuned": 8, "base": 0} and shares("exploratory", 8) == {"tuned": 0, "base": 8}
    audit = tmp_path / "audit.json"
    advice = [{"budget": 16, "best_split": {"k_base": 4}}, {"budget": 64, "best_split": {"k_base": 48}}]
    audit.write_text(json.dumps({"advice": advice}))
    assert [shares("split", k, audit=audit)["base"] for k in (8, 16, 63, 64, 128)] == [2, 4, 15, 48, 96]
    for given, said in (
        (("both", 8), "must be one of focused"),
        (("split", 0), "expected at least 1"),
    ):
        with pytest.raises(InputError, match=said):
            shares(*given)
    with pytest.raises(InputError, match="no meaning with --mode focused"):
        shares("focused", 8, audit=audit)
    audit.write_text("{}")
    with pytest.raises(InputError, match="no audit.json with advice"):
        shares("split", 8, audit=audit)


def test_answers_are_ranked_by_verdict_then_by_draws():
    def row(mode, verdict="wrong", text="t"):
        correct = None if verdict == "timeout" else verdict == "correct"
        return {"problem_id": "p", "mode": mode, "answer": None, "verdict": verdict, "correct": correct,
                "completion": text}  # fmt: skip

    rows = {
        "tuned": [row("a"), row("a"), row("b", "correct", "first"), row(None, "no_answer")],
        "base": [row("b", "correct", "second"), row("a"), row("c", "timeout")],
    }
    (answers,) = ranked(rows).values()
    assert [(one.text, one.draws, one.correct) for one in answers] == [
        ("first", {"tuned": 1, "base": 1}, True),
        ("t", {"tuned": 2, "base": 1}, False),
        ("t", {"tuned": 0, "base": 1}, None),
    ]
    (answers,) = ranked(rows, verified=False).values()
    assert [one.votes for one in answers] == [3, 2, 1] and {one.correct for one in answers} == {None}


@pytest.fixture(scope="module")
def base():
    torch.set_num_threads(1)
    return logprobs.load_model("lab:base")


class OneModel:
    """An engine in this process: the embedded base, sharpened or not."""

    def __init__(self, loaded, temperature):
        self.model, self.tokenizer = loaded
        self.temperature = temperature

    def generate(self, requests):
        drawn = []
        for prompt in dict.fromkeys(tuple(request.prompt_ids) for request in requests):
            asked = [request for request in requests if tuple(request.prompt_ids) == prompt]
            generator = torch.Generator().manual_seed(asked[0].seed % 2**31)
            found = sampling.draw(self.model, list(prompt), count=len(asked), max_tokens=24, top_p=1.0,
                                  generator=generator, temperature=self.temperature)  # fmt: skip
            for request, tokens in zip(asked, found, strict=True):
                text = self.tokenizer.decode(tokens, skip_special_tokens=True)
                logprobs_ = np.zeros(len(tokens), dtype=np.float32)
                drawn.append(Rollout(request, np.array(tokens), text, "stop", logprobs_))
        return drawn


class InThisProcess:
    """A verifier pool without processes."""

    def verify_all(self, items):
        verify = make_verifier("countdown")
        return [verify(item.completion, item.problem, truncated=item.truncated) for item in items]


def test_exploring_finds_solutions_that_the_focused_model_does_not(tmp_path, base):
    """The focused model is the base, so sharp that it repeats itself."""
    settings = SamplingSettings("lab:base", PROBLEMS, n=1, max_tokens=24)
    modes = {}
    for mode in ("focused", "exploratory"):
        (tmp_path / mode).mkdir()
        found = answer(
            settings,
            "lab:base",
            split=shares(mode, 32),
            out=tmp_path / mode,
            drawing={"tuned": nullcontext(OneModel(base, 0.1)), "base": nullcontext(OneModel(base, 1.0))},
            pool=InThisProcess(),
        )
        modes[mode] = {(problem, one.key) for problem, answers in found.items() for one in answers if one.correct}
        again = answer(settings, "lab:base", split=shares(mode, 32), out=tmp_path / mode, drawing={}, pool=None)
        assert again == found  # complete draws are kept
    assert len(modes["exploratory"]) > len(modes["focused"]) >= 1
    assert modes["exploratory"] - modes["focused"]
