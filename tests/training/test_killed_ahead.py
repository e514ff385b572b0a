"""A run that draws ahead, killed and resumed, is one that nobody disturbed. All stages: scripts/kill_runs.py."""

import signal

import kill_runs


def test_killed_while_one_batch_is_learnt_and_the_next_is_drawn(tmp_path):
    assert kill_runs.in_own_process(tmp_path / "killed", real=False, kill=("learn", 0.5)) == -signal.SIGKILL
    assert " s into learn" in kill_runs.told_of(tmp_path / "killed").read_text()
    for name in ("killed", "undisturbed"):
        kill_runs.train(tmp_path / name, real=False)
    assert kill_runs.differences(tmp_path / "killed", tmp_path / "undisturbed") == []
    assert sorted(path.name for path in (tmp_path / "undisturbed" / "final").iterdir())
