"""Which files a checkpoint needs, by layout. Real ranks write them in test_learner.py."""

import pytest

from explore_rl.learner.checkpoints import missing_parts

WEIGHTS = "state/mp_rank_00_model_states.pt"


def shards(kind, prefix=""):
    return [f"state/{prefix}zero_pp_rank_{rank}_mp_rank_00_{kind}_states.pt" for rank in range(2)]


@pytest.mark.parametrize(
    ("stage", "files"),
    [
        (0, [WEIGHTS]),
        (1, [WEIGHTS, *shards("optim", "bf16_")]),
        (2, [WEIGHTS, *shards("optim")]),
        (3, [*shards("model"), *shards("optim")]),
    ],
)
def test_each_part_of_each_rank_is_missed(tmp_path, stage, files):
    files = ["learner.json", "random-0.pt", "random-1.pt", *files]
    (tmp_path / "state").mkdir()
    for name in files:
        (tmp_path / name).touch()
    assert missing_parts(tmp_path, ranks=2, zero_stage=stage) == []
    for name in files:
        (tmp_path / name).unlink()
        (pattern,) = missing_parts(tmp_path, ranks=2, zero_stage=stage)
        assert list(tmp_path.glob(pattern)) == [] and pattern.split("*")[-1] in name
        (tmp_path / name).touch()


def test_ten_ranks_are_not_taken_for_one(tmp_path):
    (tmp_path / "state").mkdir()
    for rank in range(2, 12):
        (tmp_path / f"state/zero_pp_rank_{rank}_mp_rank_00_optim_states.pt").touch()
    found = missing_parts(tmp_path, ranks=12, zero_stage=1)
    assert [p for p in found if "optim" in p] == [f"state/*zero_pp_rank_{r}_mp_rank_*_optim_states.pt" for r in (0, 1)]
