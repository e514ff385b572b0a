"""How requests are dealt to engines."""

from hypothesis import given
from hypothesis import strategies as st

from explore_rl.rollout.dealing import PIECE, split
from explore_rl.types import Request


def requests(prompts, max_tokens=10):
    return [Request("p", 0, p, seed=i, max_tokens=max_tokens) for i, p in enumerate(prompts)]


@given(st.lists(st.integers(1, 5), max_size=60), st.integers(1, 5))
def test_every_request_is_dealt_once_and_the_same_way_each_time(lengths, engines):
    asked = requests([[n] * n for n in lengths])
    members = list(range(0, len(asked), 2))
    shares = split(asked, members, engines=engines)
    assert sorted(i for share in shares for i in share) == members
    assert len(shares) == engines and shares == split(asked, members, engines=engines)


def test_groups_stay_together_and_shares_are_even():
    asked = requests([[g] for g in range(4) for _ in range(PIECE)])
    shares = split(asked, list(range(len(asked))), engines=2)
    assert [len(s) for s in shares] == [2 * PIECE] * 2
    assert all(len({asked[i].prompt_ids.tobytes() for i in share}) == 2 for share in shares)


def test_one_large_group_is_shared_and_long_requests_count_more():
    shares = split(requests([[1]] * 64), list(range(64)), engines=4)
    assert [len(s) for s in shares] == [16] * 4
    mixed = requests([[1] * 90], 10) + requests([[2]] * 9, 9)  # cost 100 against 9 pieces' 90 in one
    assert sorted(map(len, split(mixed, list(range(10)), engines=2))) == [1, 9]
