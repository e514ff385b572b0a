"""pass@k of one model's draws, with the reasoning judged beside it."""

import json
import re

import numpy as np
import real_base


def test_estimates_by_hand_and_intervals_that_stay_open():
    found = re.findall(
        r"@(\d+) ([\d.]+) \[([\d.]+), ([\d.]+)\]", real_base.line(np.array([4, 4]), np.array([1, 4]), ks=[1, 2, 16])
    )
    assert [(int(k), float(v)) for k, v, *_ in found] == [(1, 0.625), (2, 0.75)]  # 16 has not been drawn
    assert all(float(low) < float(value) < float(high) for _, value, low, high in found)
    [(_, value, low, high)] = re.findall(
        r"@(\d+) ([\d.]+) \[([\d.]+), ([\d.]+)\]", real_base.line(np.full(9, 8), np.zeros(9), ks=[8])
    )
    assert float(value) == float(low) == 0 < float(high)


def test_right_and_right_with_its_reasoning(tmp_path, monkeypatch, capsys):
    rows = [
        {"problem_id": p, "sample": s, "correct": right, "cot_correct": shown}
        for p, s, right, shown in [
            ("a", 0, True, True),
            ("a", 1, True, False),
            ("b", 0, False, False),
            ("b", 1, True, True),
        ]
    ]
    (tmp_path / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr("sys.argv", ["real_base", str(tmp_path / "steps.jsonl"), "--k", "1,2"])
    assert real_base.main() == 0
    head, right, shown = capsys.readouterr().out.splitlines()
    assert head == "steps: 2 problems, 2 draws or more each"
    assert "@1 0.750" in right and "@2 1.000" in right and "@1 0.500" in shown and "@2 1.000" in shown
    monkeypatch.setattr("sys.argv", ["real_base", str(tmp_path / "none.jsonl")])
    assert real_base.main() == 2 and "real_base: error:" in capsys.readouterr().err
