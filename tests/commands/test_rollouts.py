"""explore-rl rollouts: a run's prompts are shown, decoded with its own tokenizer."""

from __future__ import annotations

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq

from explore_rl.cli import main
from explore_rl.models import LAB_BASE, load_tokenizer


def test_prompts_are_decoded_with_the_runs_tokenizer(tmp_path, capsys):
    folder = tmp_path / "run"
    (folder / "rollouts").mkdir(parents=True)
    (folder / "config.yaml").write_text("{}\n")
    (folder / "final").symlink_to(LAB_BASE)
    prompt = "2 5 3=30:"
    rows = [
        {"step": 0, "problem_id": "p", "group": 0, "verdict": "wrong", "text": "2+5", "reward": 0.0}
        | {"prompt_tokens": load_tokenizer("lab:base").encode(prompt, add_special_tokens=False)}
    ] * 3
    pq.write_table(pa.Table.from_pylist(rows), folder / "rollouts" / "step-000000.parquet")
    assert main(["rollouts", str(folder)]) == 0
    assert "All 3 completions" in capsys.readouterr().out
    page = (folder / "rollouts.html").read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])
    assert data["prompts"] == [prompt] and data["columns"]["prompt"] == [0, 0, 0]
