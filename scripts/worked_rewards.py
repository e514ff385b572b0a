"""Right answers against right chains over the training of worked problems, from what runs left behind.

    python scripts/worked_rewards.py runs/worked-seed0 runs/worked_end-seed0 [--every 10]

answer: share of the draws whose last number is the target; chain: share in which every step holds. Both are judged
again here, whatever the run rewarded. exact: pass@1 of whole chains on the audit problems, without sampling error.
"""

import argparse
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

from explore_rl.config.loading import load_config
from explore_rl.lab.problems import load
from explore_rl.types import Status
from explore_rl.verifiers.base import make_verifier


def shares(folder: Path, step: int, *, problems: dict, judges: dict) -> list[float]:
    """The share of a step's draws that each judge takes as correct."""
    table = pq.read_table(
        folder / "rollouts" / f"step-{step:06d}.parquet", columns=["problem_id", "text", "finish_reason", "source"]
    )
    draws = [row for row in table.to_pylist() if row["source"] == "policy"]
    accepted = dict.fromkeys(judges, 0)
    for row in draws:
        for name, judge in judges.items():
            cut_off = row["finish_reason"] == "length"
            verdict = judge(row["text"], problems[row["problem_id"]], truncated=cut_off)
            accepted[name] += verdict.status is Status.CORRECT
    return [count / len(draws) for count in accepted.values()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=10, help="steps between two lines (default 10)")
    args = parser.parse_args()
    for folder in args.runs:
        config = load_config(folder / "config.yaml")
        assert config.problems.train is not None  # a run has problems
        problems = {problem.id: problem for problem in load(config.problems.train)}
        family = next(iter(problems.values())).verifier
        judges = {reward: make_verifier(family, {"reward": reward}) for reward in ("end", "chain")}
        lines = (folder / "exact.jsonl").read_text().splitlines() if (folder / "exact.jsonl").exists() else []
        audits = {audit["step"]: audit for audit in map(json.loads, lines)}
        rewarded = config.verifiers.options.get(family, {}).get("reward", "chain")
        print(f"{folder} (rewarded: {rewarded})\n step   answer    chain   exact pass@1")
        steps = sorted(int(shard.stem.split("-")[1]) for shard in (folder / "rollouts").glob("step-*.parquet"))
        for step in steps:
            if step % args.every and step != steps[-1]:
                continue
            answer, chain = shares(folder, step, problems=problems, judges=judges)
            known = audits.get(step)
            exact = f"{known['pass_at_k']['1']:14.4f}" if known else ""
            print(f"{step:5}{answer:9.3f}{chain:9.3f}{exact}")
        if steps[-1] + 1 in audits:
            print(f"{steps[-1] + 1:5}{'':18}{audits[steps[-1] + 1]['pass_at_k']['1']:14.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
