"""The order of problems and the seeds of draws are functions of the seed and the position, nothing else."""

import numpy as np

from explore_rl.rollout.seeds import hashed_seed
from explore_rl.training.data_order import DataOrder
from explore_rl.training.drawing import seeded
from explore_rl.types import Problem, Request


def problems(count):
    return [Problem(id=str(i), prompt="", answer=None, verifier="math") for i in range(count)]


def test_each_epoch_visits_every_problem_once_in_another_order():
    order = DataOrder(problems(10), seed=0)
    first, second = [p.id for p in order.take(10)], [p.id for p in order.take(10)]
    assert sorted(first) == sorted(second) == sorted(str(i) for i in range(10)) and first != second


def test_a_restored_position_goes_on_exactly_there():
    whole = [p.id for p in DataOrder(problems(7), seed=3).take(40)]
    resumed = DataOrder(problems(7), seed=3)
    resumed.position = 17
    assert [p.id for p in resumed.take(23)] == whole[17:]


def test_a_step_larger_than_the_problem_set_goes_round():
    assert len(DataOrder(problems(3), seed=0).take(8)) == 8


def test_seeds_differ_and_fit_63_bits():
    seeds = {hashed_seed(0, "draw", step, i) for step in range(50) for i in range(50)}
    assert len(seeds) == 2500 and all(0 <= s < 2**63 for s in seeds)


def test_the_round_enters_the_seed_of_a_draw_from_the_second_round_on():
    """First rounds keep the seeds that they have had from the beginning, so that records stay what they are."""
    asked = [Request("p", group, np.array([1], dtype=np.int32), max_tokens=4, seed=9) for group in (0, 0, 1)]
    first = [request.seed for request in seeded(asked, 5, number=3)]
    assert first == [hashed_seed(5, "draw", 3, 0, *place) for place in ((0, 0), (0, 1), (1, 0))]
    others = [
        {"number": 3, "plan_round": 1},
        {"number": 3, "plan_round": 2},
        {"number": 3, "attempt": 1},
        {"number": 4},
    ]
    seeds = [request.seed for when in others for request in seeded(asked, 5, **when)]
    assert len({*first, *seeds}) == 15
