import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explore_rl.learner.packing import plan, shards


def width(batch, lengths):
    return max((sum(lengths[i] for i in line) for line in batch), default=0)


@given(
    lengths=st.lists(st.integers(2, 60), max_size=40), budget=st.integers(1, 300), ranks=st.integers(1, 5), packing=st.booleans(),
    single_line=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_every_sequence_once_within_budget_and_ranks_in_step(lengths, budget, ranks, packing, single_line):
    plans = plan(lengths, budget, ranks, packing, single_line)
    assert sorted(i for batches in plans for batch in batches for line in batch for i in line) == list(range(len(lengths)))
    assert len(plans) == ranks and len({len(batches) for batches in plans}) == 1
    for batch in (b for batches in plans for b in batches):
        assert len(batch) * width(batch, lengths) <= budget or sum(len(line) for line in batch) == 1
        assert packing or all(len(line) == 1 for line in batch)
        assert not (packing and single_line) or len(batch) <= 1
    assert plans == plan(lengths, budget, ranks, packing, single_line)


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_little_padding_on_lengths_from_10_to_1000(ranks, seed):
    lengths = np.random.default_rng(seed).integers(10, 1001, 256).tolist()
    parts = shards(lengths, plan(lengths, 16384, ranks, packing=True), lengths)
    computed = sum(len(b) * width(b, part.items) for part in parts for b in part.micro_batches)
    assert parts[0].padding_fraction == pytest.approx(1 - sum(lengths) / computed)
    assert parts[0].padding_fraction < 0.05


def test_work_is_spread_evenly_over_ranks():
    lengths = np.random.default_rng(0).integers(10, 1001, 256).tolist()
    areas = [sum(len(b) * width(b, lengths) for b in batches) for batches in plan(lengths, 8192, 4, packing=True)]
    assert max(areas) < 1.1 * min(areas)


def test_shards_hold_their_own_items_in_their_own_numbers():
    items, lengths = ["a", "b", "c"], [5, 4, 3]
    parts = shards(items, plan(lengths, 5, 2, packing=False), lengths)
    assert [[part.items[i] for batch in part.micro_batches for line in batch for i in line] for part in parts] == [["a", "c"], ["b"]]
    assert [len(part.micro_batches) for part in parts] == [2, 2]
    assert parts[0].padding_fraction == 0
