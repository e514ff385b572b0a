"""What an engine's actor keeps of draws across changes of its weights, with requests that draw a token a step."""

from types import SimpleNamespace

import numpy as np
import pytest

from explore_rl.rollout.answers import Answer
from explore_rl.rollout.engine_stream import Streamed
from explore_rl.types import Request


class InFlight:
    """Every request ends after `max_tokens` steps. on_step: called before each."""

    def __init__(self):
        self.left, self.takers, self.drawn, self.on_step = {}, {}, {}, lambda: None

    def add_draw(self, request, settings, *, take):
        name = f"request {len(self.takers)}"
        self.left[name], self.takers[name], self.drawn[name] = request.max_tokens, take, 0
        return name

    def step(self):
        self.on_step()
        for name in [name for name, left in self.left.items() if left]:
            self.left[name] -= 1
            self.drawn[name] += 1
            if not self.left[name]:
                self.takers[name](self.drawn[name])
        return True

    def sampled(self):
        return {name: count for name, count in self.drawn.items() if self.left[name]}

    def recompute(self):
        return True

    def give_up(self, names):
        for name in names:
            self.left[name] = 0


def answer_of(request, drawn, *, version, changes):
    return Answer(np.zeros(drawn, np.int32), "x" * drawn, "stop", np.zeros(drawn, np.float32), version, changes)


@pytest.fixture
def streamed():
    return Streamed(InFlight(), SimpleNamespace(own_seeds=True), answer_of=answer_of)


def requests(*lengths):
    return [Request("p", 0, [1], max_tokens=length) for length in lengths]


def flow(streamed, turn, version):
    streamed.flow(turn, version, on_step=lambda moved: True)


def pause_after(streamed, steps, turn):
    def count():
        nonlocal steps
        steps -= 1
        if not steps:
            streamed.turn = turn

    streamed.in_flight.on_step = count


def test_a_change_is_told_of_what_was_half_drawn_alone(streamed):
    streamed.admit(requests(2, 5), 7)
    streamed.admit(requests(2, 5), 7)  # asked for twice, drawn once
    pause_after(streamed, 3, turn=8)
    flow(streamed, 7, 0)
    assert [one.index for one in streamed.texts(7, 0)] == [0]
    streamed.admit(requests(4), 9)  # comes while weights change
    assert streamed.weights_change(1)
    flow(streamed, 7, 1)  # of a turn that is over
    assert len(streamed.in_flight.takers) == 2
    flow(streamed, 8, 1)
    (short, long), (late,) = streamed.wait(7), streamed.wait(9)
    told = [(len(a.tokens), a.version, a.changes) for a in (short, long, late)]
    assert told == [(2, 0, ()), (5, 0, ((3, 1),)), (4, 1, ())]
    streamed.forget(7)
    assert streamed.texts(7, 0) == [] and list(streamed.draws) == [9]


def test_a_pause_that_arrives_late_stops_nobody(streamed):
    """The actor may hear of a pause and of going on in either order."""
    streamed.admit(requests(4), 1)
    flow(streamed, 2, 0)
    streamed.turn = 2
    assert len(streamed.wait(1)[0].tokens) == 4


def test_whoever_waits_hears_of_a_broken_engine_and_of_what_was_dropped(streamed):
    def breaks():
        raise ValueError("no such kernel")

    streamed.admit(requests(4, 1), 1)
    pause_after(streamed, 2, turn=2)
    flow(streamed, 1, 0)
    streamed.in_flight.on_step = breaks
    with pytest.raises(ValueError, match="no such kernel"):
        flow(streamed, 2, 0)
    with pytest.raises(RuntimeError, match="the engine's loop ended: no such kernel"):
        streamed.wait(1)
    streamed.broken = None
    asked = streamed.draws[1]
    streamed.drop()
    assert not streamed.going and asked.answers[0] is None and asked.answers[1].text == "x"
