from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explore_rl.learner.packing import bundles, plan, shards


def width(batch, lengths):
    return max((sum(lengths[i] for i in line) for line in batch), default=0)


def alone(items):
    return [[i] for i in range(len(items))]


@given(
    prompts=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), max_size=40),
    hidden_size=st.sampled_from([1, 64, 4096]),
    budget=st.integers(1, 300),
)
@settings(max_examples=200, deadline=None)
def test_bundles_hold_every_sequence_once_with_one_prompt_within_budget(prompts, hidden_size, budget):
    kinds, completions = [p for p, _ in prompts], [c for _, c in prompts]
    prompt_lengths = [10 + 5 * kind for kind in kinds]
    lengths = [p + c for p, c in zip(prompt_lengths, completions, strict=True)]
    found = bundles(kinds, prompt_lengths, lengths=lengths, hidden_size=hidden_size, budget=budget)
    assert sorted(i for bundle in found for i in bundle) == list(range(len(prompts)))
    for bundle in found:
        assert len({kinds[i] for i in bundle}) == 1
        assert len(bundle) == 1 or prompt_lengths[bundle[0]] + sum(completions[i] for i in bundle) <= budget


def test_bundles_spare_prompts_where_they_outweigh_the_attention():
    short, long = ([44 + 16] * 16, [44 + 4000] * 16)
    one_prompt = partial(bundles, ["p"] * 16, [44] * 16, hidden_size=128, budget=16384)
    assert [len(b) for b in one_prompt(lengths=short)] == [8, 8]
    assert [len(b) for b in one_prompt(lengths=long)] == [1] * 16


@given(
    lengths=st.lists(st.integers(2, 60), max_size=40),
    budget=st.integers(1, 300),
    ranks=st.integers(1, 5),
    packing=st.booleans(),
    single_line=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_every_sequence_once_within_budget_and_ranks_in_step(lengths, budget, ranks, packing, single_line):
    plans = plan(lengths, budget, ranks=ranks, packing=packing, single_line=single_line)
    assert sorted(i for batches in plans for batch in batches for line in batch for i in line) == list(
        range(len(lengths))
    )
    assert len(plans) == ranks and len({len(batches) for batches in plans}) == 1
    for batch in (b for batches in plans for b in batches):
        assert len(batch) * width(batch, lengths) <= budget or sum(len(line) for line in batch) == 1
        assert packing or all(len(line) == 1 for line in batch)
        assert not (packing and single_line) or len(batch) <= 1
    assert plans == plan(lengths, budget, ranks=ranks, packing=packing, single_line=single_line)


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_little_padding_on_lengths_from_10_to_1000(ranks, seed):
    lengths = np.random.default_rng(seed).integers(10, 1001, 256).tolist()
    plans = plan(lengths, 16384, ranks=ranks, packing=True)
    parts = shards(lengths, alone(lengths), plans=plans, lengths=lengths)
    computed = sum(
        len(b) * max(sum(part.items[i] for [i] in line) for line in b) for part in parts for b in part.micro_batches
    )
    assert parts[0].padding_fraction == pytest.approx(1 - sum(lengths) / computed)
    assert parts[0].padding_fraction < 0.05


def test_work_is_spread_evenly_over_ranks():
    lengths = np.random.default_rng(0).integers(10, 1001, 256).tolist()
    plans = plan(lengths, 8192, ranks=4, packing=True)
    areas = [sum(len(b) * width(b, lengths) for b in batches) for batches in plans]
    assert max(areas) < 1.1 * min(areas)


def test_shards_hold_their_own_items_in_their_own_numbers():
    items = ["a", "b", "c"]
    lengths = [5, 4, 3]
    plans = plan(lengths, 5, ranks=2, packing=False)
    parts = shards(items, alone(items), plans=plans, lengths=lengths)
    assert [[part.items[i] for batch in part.micro_batches for line in batch for [i] in line] for part in parts] == [
        ["a", "c"],
        ["b"],
    ]
    assert [len(part.micro_batches) for part in parts] == [2, 2]
    assert parts[0].padding_fraction == 0


class Counted(int):
    """An int that counts how often it is compared."""

    compared = 0

    def _counting(name):
        def compare(self, other):
            Counted.compared += 1
            return getattr(int, name)(self, other)

        return compare

    __lt__, __le__, __gt__, __ge__ = map(_counting, ("__lt__", "__le__", "__gt__", "__ge__"))


@pytest.mark.parametrize("single_line", [True, False])
def test_planning_compares_lengths_n_log_n_times(single_line):
    """Thousands of sequences are planned in a step, once for each scored column and each mini-batch."""
    count = 1024
    lengths = np.random.default_rng(0).integers(100, 4000, count)
    Counted.compared = 0
    plan([Counted(n) for n in lengths], 16384, ranks=4, packing=True, single_line=single_line)
    tried = 15  # sizes of a micro-batch, by bisection
    assert 0 < Counted.compared < tried * 2 * count * np.log2(count)
