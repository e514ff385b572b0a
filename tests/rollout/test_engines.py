"""The session's engines, two that learn and a frozen one, fed by two ranks that hold a transformers model."""

import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from engine_kit import Borrowed, forget_engines
from transformers import AutoModelForCausalLM

from analysis.errors import InputError
from explore_rl.cluster.faults import ActorFault
from explore_rl.config.schema import Config
from explore_rl.models import load_tokenizer, resolve_model
from explore_rl.rollout.engines import DrawFault
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.training.rows import sequence_of
from explore_rl.types import Request

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(600)]


class House:
    """The session's two policy engines and its frozen one, fed by two learner ranks."""

    def __init__(self, actors, pair):
        self.config = Config()
        self.config.learner.ranks = 2
        self.learner = pair.reset(self.config)
        self.group = actors.engines
        self.actors = Borrowed(self.config, self.learner, self.group)
        self.version = -1
        self.tokenizer = load_tokenizer("lab:base")
        self.prompts = [tuple(self.tokenizer.encode(text)) for text in ("3 5 7=22:", "12 1 4=8:", "2 2 9=36:")]

    def send(self):
        self.version += 1
        self.actors.weights.send(self.version)

    def requests(self, n, **fields):
        fields = {"max_tokens": 16} | fields
        return [
            Request("p", 0, self.prompts[i % len(self.prompts)], seed=hashed_seed("t", i), **fields) for i in range(n)
        ]

    def learned(self):
        """The learner's weights, by the way of a checkpoint on disk."""
        with tempfile.TemporaryDirectory() as folder:
            self.learner.save_pretrained(Path(folder) / "model")
            return AutoModelForCausalLM.from_pretrained(Path(folder) / "model", dtype=torch.float32)

    def gap(self, rollouts, model=None):
        """Mean |engine - transformers| log-probability of the drawn tokens, in float32, one sequence at a time."""
        if model is None:
            model = self.learned()
        gaps = []
        for r in rollouts:
            ids = torch.tensor(sequence_of(r)[0][None].astype(np.int64))
            with torch.no_grad():
                logprobs = torch.log_softmax(model(ids).logits[0].float() / r.request.temperature, dim=-1)
            given = len(r.request.prompt_ids)
            expected = logprobs[given - 1 : -1].gather(1, ids[0, given:, None])[:, 0].numpy()
            gaps.append((expected - r.logprobs)[~r.given])
        return float(np.abs(np.concatenate(gaps)).mean())


@pytest.fixture(scope="module")
def house(actors, pair):
    house = House(actors, pair)
    house.send()
    yield house
    house.actors.close()
    actors.learner.apply(forget_engines)


def draws(rollouts):
    return [(r.tokens.tolist(), r.logprobs.tobytes(), r.text, r.finish_reason) for r in rollouts]


def test_weights_make_the_engine_agree_with_the_learner(house):
    house.learner.apply(shift_the_output)
    assert house.gap(house.group.generate(house.requests(48))) > 0.05
    house.send()
    rollouts = house.group.generate(house.requests(48))
    assert house.gap(rollouts) < 1e-5
    assert {r.weight_version for r in rollouts} == {house.version}
    for engine in house.group.families["policy"]:
        assert ray.get(engine.handle.state.remote(), timeout=30)["version"] == house.version


@pytest.mark.parametrize("stage", [3, 0])
def test_new_weights_replace_old_ones_with_tied_embeddings(house, stage, disturb):
    frozen = AutoModelForCausalLM.from_pretrained(resolve_model("lab:base"), dtype=torch.float32)
    assert frozen.config.tie_word_embeddings
    house.config.learner.zero_stage = stage
    house.learner.reset(house.config)
    house.learner.apply(disturb, stage)
    house.send()
    rollouts = house.group.generate(house.requests(48))
    assert house.gap(rollouts) < 1e-5 < 1e-2 < house.gap(rollouts, frozen)
    assert {r.weight_version for r in rollouts} == {house.version}


def test_the_base_engine_keeps_the_frozen_weights(house):
    frozen = AutoModelForCausalLM.from_pretrained(resolve_model("lab:base"), dtype=torch.float32)
    mixed = [
        r
        for pair in zip(house.requests(12), house.requests(12, engine="base", source="base"), strict=True)
        for r in pair
    ]
    rollouts = house.group.generate(mixed)
    assert [r.request for r in rollouts] == mixed
    assert house.gap([r for r in rollouts if r.request.engine == "base"], frozen) < 1e-5
    assert house.gap([r for r in rollouts if r.request.engine == "policy"]) < 1e-5


def test_engines_score_given_tokens_as_they_draw_them(house):
    """By a prefill, at temperature 1; every policy engine scores all of them."""
    drawn = house.group.generate(house.requests(8))
    sequences = [(np.concatenate([r.request.prompt_ids, r.tokens]), len(r.request.prompt_ids)) for r in drawn]
    found = house.group.logprobs_of(sequences)
    assert list(found) == ["rollout engine 0", "rollout engine 1"]
    for answers in found.values():
        for rollout, logprobs in zip(drawn, answers, strict=True):
            np.testing.assert_allclose(logprobs, rollout.logprobs, atol=1e-4)
    assert draws(house.group.generate(house.requests(8))) == draws(drawn)


def test_a_completion_depends_on_its_request_alone(house):
    requests = house.requests(96)
    first = draws(house.group.generate(requests))
    assert draws(house.group.generate(requests)) == first
    assert draws(house.group.generate(requests[::-1]))[::-1] == first  # another split over the engines, another order
    assert draws(house.group.generate(requests[5:6])) == first[5:6]  # alone in its batch
    changed = list(requests)
    changed[7] = Request("p", 0, requests[7].prompt_ids, seed=hashed_seed("another"), max_tokens=16)
    again = draws(house.group.generate(changed))
    assert again[:7] + again[8:] == first[:7] + first[8:]


def test_neighbouring_draws_are_independent(house):
    requests = [Request("p", 0, house.prompts[0], seed=hashed_seed("draw", i), max_tokens=8) for i in range(512)]
    rollouts = house.group.generate(requests)
    first, second = np.array([r.tokens[0] for r in rollouts[::2]]), np.array([r.tokens[0] for r in rollouts[1::2]])
    p = np.bincount([r.tokens[0] for r in rollouts]) / len(rollouts)
    expected, n = (p**2).sum(), len(first)
    assert abs((first == second).mean() - expected) < 4.5 * np.sqrt(expected * (1 - expected) / n)


def test_a_given_prefix_is_kept_and_not_scored(house):
    prefix = tuple(house.tokenizer.encode("3*7"))
    rollouts = house.group.generate(house.requests(16, prefix_ids=prefix, max_tokens=10))
    for r in rollouts:
        assert tuple(r.tokens[: len(prefix)]) == prefix and len(prefix) < len(r.tokens) <= 10
        assert r.given.tolist() == [i < len(prefix) for i in range(len(r.tokens))]
        assert (r.logprobs[r.given] == 0).all() and (r.logprobs[~r.given] < 0).all()
        assert r.text.startswith("3*7")
    assert house.gap(rollouts) < 1e-5


def test_log_probabilities_are_at_the_sampling_temperature(house):
    assert house.gap(house.group.generate(house.requests(48, temperature=1.5))) < 1e-5


def test_log_probabilities_are_within_the_nucleus(house):
    rollouts = house.group.generate(house.requests(48, top_p=0.5))
    model = house.learned()
    for r in rollouts[:6]:
        with torch.no_grad():
            logits = (
                model(torch.tensor(sequence_of(r)[0][None].astype(np.int64)))
                .logits[0, len(r.request.prompt_ids) - 1 : -1]
                .double()
            )
        p, order = torch.softmax(logits, -1).sort(dim=-1, descending=True)
        kept = torch.where(p.cumsum(-1) - p < 0.5, p, 0)
        inside = torch.zeros_like(kept).scatter(1, order, kept / kept.sum(-1, keepdim=True))
        expected = inside.gather(1, torch.tensor(r.tokens.astype(np.int64))[:, None])[:, 0].log().numpy()
        np.testing.assert_allclose(r.logprobs, expected, atol=1e-4)


def test_requests_that_cannot_be_served(house):
    with pytest.raises(InputError, match=r"prompt of 60 tokens.*max_new_tokens=16.*context of 64.*at most 4"):
        house.group.generate([Request("p", 0, (1,) * 60, max_tokens=16)])
    with pytest.raises(InputError, match="leaves nothing to draw"):
        house.group.generate([Request("p", 0, house.prompts[0], max_tokens=3, prefix_ids=(1, 2, 3))])
    with pytest.raises(InputError, match="'teacher' engines"):
        house.group.generate([Request("p", 0, house.prompts[0], max_tokens=3, engine="teacher")])
    assert house.group.generate([]) == []


def test_a_stuck_and_a_killed_engine_are_named_and_replaced(house, monkeypatch):
    monkeypatch.setattr(house.group.config.devices, "stall_timeout_s", 5.0)
    requests = house.requests(64)
    before = draws(house.group.generate(requests))
    stuck, killed = house.group.families["policy"]
    os.kill(stuck.pid, signal.SIGSTOP)
    with pytest.raises(
        DrawFault, match=r"^rollout engine 0, asked to draw 64 completions: no progress for 5 s"
    ) as hung:
        house.group.generate(requests)
    # What the other engine had drawn is there, and is what it is without a fault.
    done = hung.value.done
    assert 0 < len(done) < 64 and draws(done.values()) == [before[i] for i in done]
    os.kill(killed.pid, signal.SIGKILL)
    with pytest.raises(ActorFault, match=r"^rollout engine 1, asked to draw 64 completions: died"):
        house.group.generate(requests)
    gone = {stuck.pid, killed.pid}
    assert house.group.restart_dead() == ["rollout engine 0", "rollout engine 1"]
    assert not gone & {e.pid for e in house.group.engines}
    assert not any(_alive(pid) for pid in gone)
    with pytest.raises(RuntimeError, match="random weights"):
        house.group.generate(requests)
    house.send()
    assert draws(house.group.generate(requests)) == before
    assert house.group.restart_dead() == []


def test_an_engine_that_gets_stuck_while_weights_arrive_is_replaced(house, monkeypatch, caplog):
    monkeypatch.setattr(house.group.config.devices, "stall_timeout_s", 5.0)
    pids = [e.pid for e in house.group.families["policy"]]
    os.kill(pids[1], signal.SIGSTOP)
    with caplog.at_level("WARNING"):
        house.send()
    assert (
        "rollout engine 1, asked to prepare for new weights: no progress for 5 s (stuck); the weights are sent again"
        in caplog.text
    )
    # The other engine had begun the update: its weights were neither old nor new, so it was replaced too.
    assert not set(pids) & {e.pid for e in house.group.engines}
    rollouts = house.group.generate(house.requests(32))
    assert house.gap(rollouts) < 1e-5 and {r.weight_version for r in rollouts} == {house.version}


def _shift_the_output():
    def shift(rank):
        rank.model.get_output_embeddings().weight.data.mul_(0.5)

    return shift


shift_the_output = _shift_the_output()  # nested, so that it travels to the ranks by value


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def on_engine(house, function):
    """function(actor) within the first policy engine."""
    return ray.get(house.group.families["policy"][0].handle.__ray_call__.remote(function), timeout=60)


def test_a_setting_of_the_recipe_is_found_in_the_built_engine(house):
    assert house.group.config.rollout.engine["max_logprobs"] == 24  # 20 without
    assert on_engine(house, lambda actor: actor.llm.llm_engine.vllm_config.model_config.max_logprobs) == 24


def test_texts_can_be_asked_for_by_the_number_of_their_draw(house):
    rollouts = house.group.generate(house.requests(12))
    draw = next(house.group.draws) - 1
    texts = []
    for engine in house.group.families["policy"]:
        assert ray.get(engine.handle.texts.remote(draw - 1, 0), timeout=60) == []
        own = ray.get(engine.handle.texts.remote(draw, 0), timeout=60)
        assert ray.get(engine.handle.texts.remote(draw, 1), timeout=60) == own[1:]
        assert sorted(one.index for one in own) == list(range(len(own)))
        texts += [(one.text, one.finish_reason) for one in own]
    assert sorted(texts) == sorted((r.text, r.finish_reason) for r in rollouts)


def test_one_seed_a_draw_as_on_gpus(house):
    """The same first seed gives the same draw, another one another; the others' seeds do not matter."""

    def drawn(*seeds):
        requests = [replace(r, seed=seed) for r, seed in zip(house.requests(len(seeds)), seeds, strict=True)]

        def draws(actor):
            settings = replace(actor.settings, own_seeds=False)
            done = actor.compat.draw(actor.in_flight, requests, settings=settings, on_step=lambda moved: True)
            return {i: drawn.tokens.tolist() for i, drawn in done}

        return on_engine(house, draws)

    first = drawn(1, 2, 3, 4)
    assert drawn(1, 7, 8, 9) == first and drawn(2, 2, 3, 4) != first
    assert len({tuple(tokens) for tokens in first.values()}) > 1


def test_a_completion_goes_on_across_a_change_of_weights(house, disturb):
    """What was drawn before is the old weights', what comes after the new ones', and the places are told."""
    requests = [replace(r, prefix_ids=np.array([5], dtype=np.int32)) for r in house.requests(24)]
    plain = house.group.generate(requests)
    old = house.learned()
    stream, told = house.actors.stream, []
    engines = house.group.families["policy"]

    def begun():
        """Three tokens of each are drawn, and no more until the engine is asked."""
        number = stream.begin(requests, told.extend)
        for engine in engines:
            share = stream.draws[number].shares[engine.name]
            share.handle = engine.handle
            asked = [requests[i] for i in share.indices]
            ray.get(engine.handle.__ray_call__.remote(begins, asked, number), timeout=60)
        return number

    def begins(actor, asked, number):
        actor.streamed.admit(asked, number)
        actor.streamed.take_in(actor.version)
        for _ in range(3):
            actor.in_flight.step()

    def finished(number):
        with stream.held():
            house.send()
        return stream.finish(number)

    same = finished(begun())  # weights of another version and no other value
    before, after = house.version - 1, house.version
    assert draws(same) == draws(plain)
    assert {(r.weight_version, r.changes) for r in same} == {(before, ((4, after),))}
    assert same[0].versions.tolist() == [before] * 4 + [after] * (len(same[0].tokens) - 4)

    number = begun()
    house.learner.apply(disturb, 7)
    moved = finished(number)
    assert not stream.draws and {r.changes for r in moved} == {((4, house.version),)}
    assert all((a.tokens[:4] == b.tokens[:4]).all() for a, b in zip(moved, plain, strict=True))
    new = house.learned()
    for rollout in moved:
        halves = [gap_of(model, rollout) for model in (old, new)]
        assert halves[0][:4].max() < 1e-4 and halves[1][4:].max() < 1e-4
    assert max(gap_of(old, rollout)[4:].max() for rollout in moved) > 1e-2


def gap_of(model, rollout):
    """|engine - transformers| log-probability of each token, 0 where it was given."""
    ids, begin = sequence_of(rollout)
    with torch.no_grad():
        log_p = model(torch.tensor(ids, dtype=torch.long)[None]).logits[0, begin - 1 : -1].log_softmax(-1)
    gap = np.abs(log_p[np.arange(len(rollout.tokens)), rollout.tokens.tolist()].numpy() - rollout.logprobs)
    return np.where(rollout.given, 0, gap)
