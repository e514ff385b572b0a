"""The layout simulation against what can be worked out by hand."""

import numpy as np
import pytest
from simulate_layout import Costs, EngineQueue, Layout, draw_s, fit, step_s

COSTS = Costs(step=1.0, sequence=0.1, draw=2.0, verify=3.0, token=0.5, update=4.0, serial=5.0)
BATCHES = [np.full(32, 10)] * 12


def test_a_finished_sequence_makes_room_and_a_smaller_batch_is_faster():
    # Two at a time of 4, 2 and 3: two steps of both; two with the third in its place; one of the third alone.
    queue = EngineQueue(COSTS, most=2)
    queue.admit(np.array([4, 2, 3]), 0, 0.0)
    queue.advance(batch=0)
    assert queue.ticks == 5 and queue.now == pytest.approx(4 * 1.2 + 1.1)
    stopped = EngineQueue(COSTS, most=2)
    stopped.admit(np.array([4, 2, 3]), 0, 0.0)
    stopped.advance(until=3.7)
    assert stopped.ticks == 3 and stopped.left == {0: 2}


def test_steps_of_equal_batches_are_sums_and_maxima():
    layout = Layout(ranks=2, engines=2, most=16)
    draw = 2.0 + 10 * (1.0 + 0.1 * 16)
    assert draw_s(BATCHES[0], COSTS, engines=2, most=16) == pytest.approx(draw)
    learn = 4.0 + 0.5 * 320 / 2
    for mode, expected in (("synchronous", draw + 3.0 + learn + 5.0), ("ahead", max(draw + 3.0, learn) + 5.0)):
        assert step_s(mode, BATCHES, COSTS, layout, share=1.0, staleness=1) == pytest.approx(expected)
    # Learning alone bounds a stream whose engines are never behind; a draw alone does where nothing is learnt.
    assert step_s("streaming", BATCHES, COSTS, layout, share=1.0, staleness=2) == pytest.approx(learn + 5.0)
    slow = step_s("streaming", BATCHES, COSTS, layout, share=0.0, staleness=8)
    assert 10 * 2.6 <= slow <= draw + 3.0 + 4.0 + 5.0


class Measured:
    """A run whose stages took what the costs say."""

    folder, metrics, share = "a run", [{}] * 12, 0.5
    mode = "synchronous"
    layout = Layout(1, 1, 8)

    def __init__(self):
        rng = np.random.default_rng(0)
        self.lengths = [rng.integers(1, 40, 16) for _ in self.metrics]
        self.learnt = [float(rng.integers(50, 300)) for _ in self.metrics]

    def seconds(self, *stages):
        of = {
            "generate": [draw_s(lengths, COSTS, engines=1, most=8) for lengths in self.lengths],
            "train": [COSTS.learn(tokens, 1) for tokens in self.learnt],
            "verify": [3.0] * 12,
            "transfer": [5.0] * 12,
        }
        return sum((np.array(of.get(stage, [0.0] * 12)) for stage in stages), start=np.zeros(12))


def test_costs_are_found_again_in_what_they_made():
    found = fit(Measured())
    for name, value in vars(COSTS).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6), name
