"""Two steps on the real model. Asked for by EXPLORE_RL_REAL_MODEL=1, which fetches it where it is not there: 93 MB."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not os.environ.get("EXPLORE_RL_REAL_MODEL"), reason="EXPLORE_RL_REAL_MODEL=1 asks for it"),
]


def test_two_steps_with_an_exact_audit_before_and_after(tmp_path):
    def explore_rl(*words):
        subprocess.run([sys.executable, "-m", "explore_rl.cli", *words], check=True, timeout=3000)

    explore_rl("models", "get", "smollm2-135m")
    small = ["run.steps=2", "run.checkpoint_every=2", "run.exact_every=2", f"run.output={tmp_path / 'run'}"]
    audited = "run.exact_problems=real:sum?terms=2&digits=2&split=audit&size=8"
    waits = ["devices.start_timeout_s=1200", "devices.stall_timeout_s=600"]
    explore_rl("train", "real/short", audited, *small, *waits)
    before, after = [json.loads(line) for line in (tmp_path / "run" / "exact.jsonl").read_text().splitlines()]
    assert (before["step"], after["step"]) == (0, 2)
    assert before["pass_at_k"]["1"] != after["pass_at_k"]["1"]
    assert before["any_end"]["pass@1"] >= before["pass_at_k"]["1"] > 0.01
    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert facts["model"].startswith("smollm2-135m@")
