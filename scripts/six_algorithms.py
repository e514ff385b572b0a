#!/usr/bin/env python3
"""The table, the claims and the picture of docs/six_algorithms.md, from the runs of configs/lab/six_algorithms.yaml.

    scripts/six_algorithms.py runs/six_algorithms

Prints the page's tables as Markdown, and writes docs/six_algorithms.csv (one line a run) and the picture. Runs that are
not finished are left out and named.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.experiments import board
from explore_rl.experiments.exact_intervals import Estimate, ExactRuns, over_runs, pass_at
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.experiments.sweeps import load_sweep
from explore_rl.lab import problems
from explore_rl.lab.audits import audit_of
from explore_rl.models import resolve_model

DOCS = Path(__file__).resolve().parent.parent / "docs"
TITLES = {
    "grpo": "GRPO",
    "ppo": "PPO",
    "remax": "ReMax",
    "rloo": "RLOO",
    "reinforce_pp": "REINFORCE++",
    "dapo": "DAPO",
}
# Qwen2.5-7B: pass@1 and pass@256 (%) on Omni-MATH-Train, Omni-MATH-Test and MATH500. Source: arXiv 2504.13837, Table 3
# of its fifth version (Table 2 of May 2025).
PAPER = {
    "base": ((9.9, 67.2), (10.2, 69.1), (34.5, 96.2)),
    "grpo": ((26.1, 66.3), (25.1, 68.3), (74.4, 97.2)),
    "ppo": ((27.2, 65.8), (26.8, 69.2), (75.2, 97.2)),
    "remax": ((24.4, 65.5), (23.8, 67.5), (73.5, 96.6)),
    "rloo": ((28.6, 66.4), (28.1, 69.2), (75.0, 97.4)),
    "reinforce_pp": ((28.2, 67.7), (28.0, 69.7), (75.4, 96.8)),
    "dapo": ((31.4, 66.1), (26.5, 67.0), (75.6, 96.4)),
}
TEST = 1  # of the three sets the one that, like the audit problems, is held out and of the training's kind
# GRPO on the same test set after 150 and 450 steps, pass@256 (%): Table 4 of the fifth version.
PAPER_GRPO = {150: 68.3, 450: 63.9}
K = 256


@dataclass(frozen=True)
class Run:
    """One finished run: its exact success chances [M], draws, and exact pass@k by steps done."""

    method: str
    seed: int
    success: np.ndarray
    draws: int
    curve: dict[int, dict[int, float]]


@dataclass(frozen=True)
class Found:
    """All runs. base: success chances [M] of the base."""

    base: np.ndarray
    runs: list[Run]

    def of(self, method: str) -> list[Run]:
        return [run for run in self.runs if run.method == method]

    @property
    def methods(self) -> list[str]:
        return [name for name in TITLES if self.of(name)]

    @property
    def exact(self) -> ExactRuns:
        return ExactRuns(self.base, {m: np.stack([run.success for run in self.of(m)]) for m in self.methods})


def read(folder: Path) -> Found:
    """Reads the finished runs. Raises InputError without two of a method."""
    found = []
    asked: list[Any] = []
    base = np.zeros(0)
    for config in load_sweep(Path("lab/six_algorithms")).configs:
        path = folder / f"{config.name}-seed{config.seed}"
        if not (path / "final" / "config.json").exists():
            print(f"{path}: not finished, left out", file=sys.stderr)
            continue
        config = load_config(path / "config.yaml")
        if not asked:
            asked = problems.load(config.run.exact_problems)
            base = audit_of(resolve_model(config.model.path), asked, temperature=config.rollout.temperature).success
        audit = board.final_audit(path, asked, temperature=config.rollout.temperature)
        records = RunFolder(path).records("exact.jsonl")
        curve = {r["step"]: {int(k): value for k, value in r["pass_at_k"].items()} for r in records}
        found.append(Run(config.name, config.seed, audit.success, board.draws(path), curve))
    if not found:
        raise InputError(f"{folder}: no finished run of configs/lab/six_algorithms.yaml")
    return Found(base, found)


# --- tables ----------------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def with_interval(e: Estimate, form: str = ".3f") -> str:
    return f"{e.value:{form}} [{e.low:{form}}, {e.high:{form}}]"


def points(e: Estimate) -> str:
    return f"{100 * e.value:+.1f} [{100 * e.low:+.1f}, {100 * e.high:+.1f}]"


def measured(found: Found) -> str:
    exact = found.exact
    gap = float(pass_at(found.base, K).mean())
    levels = [f"{pass_at(found.base, k).mean():.3f}" for k in (1, 16, K)]
    rows = [["base", "", *levels, f"{gap - found.base.mean():.3f}", "", ""]]
    for method in found.methods:
        of_k = [with_interval(over_runs(exact.runs(k), {method: 1})) for k in (1, 16, K)]
        delta = over_runs(exact.runs(1), {method: -1}, plus=gap)
        drawn = [run.draws for run in found.of(method)]
        spent = f"{np.mean(drawn):,.0f}" + (f" [{min(drawn):,}, {max(drawn):,}]" if min(drawn) < max(drawn) else "")
        change = points(exact.against_base(method, K))
        rows.append([TITLES[method], str(len(drawn)), *of_k, with_interval(delta), spent, change])
    return table(["", "runs", "pass@1", "@16", "@256", "Delta_SE", "draws", "@256 less the base's, points"], rows)


def published() -> str:
    rows = []
    for method, sets in PAPER.items():
        cells = []
        for (one, many), (_, base) in zip(sets, PAPER["base"], strict=True):
            cells += [f"{one:.1f}", f"{many:.1f}", f"{base - one:.1f}"]
        rows.append([TITLES.get(method, method), *cells])
    names = ("Omni-MATH-Train", "Omni-MATH-Test", "MATH500")
    head = [text for name in names for text in (f"{name} pass@1", "@256", "Delta_SE")]
    return table(["", *head], rows)


# --- claims ----------------------------------------------------------------------------------------------------------


def falls(e: Estimate, paper: float) -> str:
    """Of "it falls", against 0 and against the paper's own fall (below 0)."""
    if e.high < 0:
        return "shown"
    if e.low > 0:
        return "not shown: it rises"
    return "not shown: a fall as large as the paper's is ruled out" if e.low > paper else "not decidable with 3 seeds"


def alike(found: Found, k: int) -> list[str]:
    """All pairs at once (Bonferroni) against the range over the six algorithms in the paper."""
    levels = [PAPER[m][TEST][0 if k == 1 else 1] / 100 for m in TITLES]
    margin = max(levels) - min(levels)
    pairs = list(itertools.combinations(found.methods, 2))
    exact = found.exact
    confidence = 1 - 0.05 / len(pairs)
    differences = [exact.contrast({b: 1, a: -1}, k, confidence=confidence) for a, b in pairs]
    at = int(np.argmax([abs(e.value) for e in differences]))
    reach = max(max(abs(e.low), abs(e.high)) for e in differences)
    beyond = [e for e in differences if e.low > margin or e.high < -margin]
    apart = [f"{TITLES[b]} - {TITLES[a]}" for (a, b), e in zip(pairs, differences, strict=True) if e.low * e.high > 0]
    verdict = "shown" if reach < margin else "not shown" if beyond else "not decidable with 3 seeds"
    what = "pass@1, and so Delta_SE" if k == 1 else f"pass@{k}"
    largest = f"{TITLES[pairs[at][1]]} - {TITLES[pairs[at][0]]} {points(differences[at])}"
    return [
        f"differences small at {what}",
        f"largest of {len(pairs)}: {largest}; apart from 0: {', '.join(apart) or 'none'}",
        f"within {100 * margin:.1f}",
        verdict,
    ]


def claims(found: Found) -> str:
    exact = found.exact
    rows = [alike(found, 1), alike(found, K)]

    # DAPO's draws are the only ones that differ between seeds, so its variance is its own.
    plain = float(np.mean([run.draws for run in found.of("grpo")]))
    ratio = over_runs({"dapo": [float(np.log(run.draws / plain)) for run in found.of("dapo")]}, {"dapo": 1})
    spent = Estimate(float(np.exp(ratio.value)), float(np.exp(ratio.low)), float(np.exp(ratio.high)), ratio.df)
    verdict = "shown" if spent.low > 1 else "not shown" if spent.high < 1 else "not decidable with 3 seeds"
    rows.append(["DAPO spends more", f"{with_interval(spent, '.2f')} times GRPO's draws", "3 to 6 times", verdict])

    others = [m for m in found.methods if m != "dapo"]
    e = exact.contrast({"dapo": 1, **{m: -1 / len(others) for m in others}}, K)
    of_paper = PAPER["dapo"][TEST][1] - float(np.mean([PAPER[m][TEST][1] for m in TITLES if m != "dapo"]))
    what = "DAPO lower than the mean of the others at pass@256"
    rows.append([what, points(e), f"{of_paper:+.1f}", falls(e, of_paper / 100)])
    e = exact.against_base("dapo", K)
    of_paper = PAPER["dapo"][TEST][1] - PAPER["base"][TEST][1]
    rows.append(["DAPO lower than the base at pass@256", points(e), f"{of_paper:+.1f}", falls(e, of_paper / 100)])

    # As the paper compares a third of the training with its end; the audit nearest to a third. By then DAPO has drawn
    # about what the others draw in all.
    last = max(found.runs[0].curve)
    third = min(found.runs[0].curve, key=lambda step: abs(step - last / 3))
    for k in (1, K):
        levels = {m: [r.curve[third if m == "dapo" else last][k] for r in found.of(m)] for m in found.methods}
        e = over_runs(levels, {"dapo": 1, **{m: -1 / len(others) for m in others}})
        what = f"about equal draws: DAPO at step {third} less the mean of the others at step {last}, pass@{k}"
        word = "higher" if e.low > 0 else "lower" if e.high < 0 else "not decidable with 3 seeds"
        rows.append([what, f"{points(e)}, over seeds alone", "none", word])
    late = {m: [r.curve[last][K] - r.curve[third][K] for r in found.of(m)] for m in found.methods}
    of_paper = PAPER_GRPO[450] - PAPER_GRPO[150]
    all_six = {m: 1 / len(found.methods) for m in found.methods}
    for weights, name in (({"grpo": 1.0}, "GRPO"), (all_six, "mean of all")):
        e = over_runs(late, weights)
        what = f"coverage falls with training: {name}, pass@256 at step {last} less step {third}"
        rows.append([what, f"{points(e)}, over seeds alone", f"{of_paper:+.1f}", falls(e, of_paper / 100)])
    for weights, name in (({"grpo": 1.0}, "GRPO"), (all_six, "mean of all")):
        e = exact.contrast(weights, K, plus=-pass_at(found.base, K))
        of_paper = PAPER_GRPO[450] - PAPER["base"][TEST][1]
        what = f"coverage falls with training: {name}, pass@256 at the end less the base's"
        rows.append([what, points(e), f"{of_paper:+.1f}", falls(e, of_paper / 100)])
    return table(["claim", "here", "the paper", ""], rows)


# --- files -----------------------------------------------------------------------------------------------------------


def write_csv(found: Found, target: Path) -> None:
    gap = float(pass_at(found.base, K).mean())
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "seed", "step", "pass@1", "pass@16", "pass@256", "pass@1024", "delta_se", "draws"])
        for run in found.runs:
            for step, passes in sorted(run.curve.items()):
                drawn = run.draws if step == max(run.curve) else ""
                levels = [f"{passes[k]:.5f}" for k in (1, 16, K, 1024)]
                writer.writerow([run.method, run.seed, step, *levels, f"{gap - passes[1]:.5f}", drawn])


def draw(found: Found, target: Path) -> None:
    """Change of exact pass@k against the base at the end and over the steps, and Delta_SE against draws."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (change, course, price) = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    ks = [2**i for i in range(0, 17)]
    base = np.array([pass_at(found.base, k).mean() for k in ks])
    gap = float(pass_at(found.base, K).mean())
    exact = found.exact
    for i, method in enumerate(found.methods):
        colour = f"C{i}"
        curves = 100 * (np.array([exact.runs(k)[method] for k in ks]).T - base)
        change.plot(ks, curves.mean(axis=0), color=colour, label=TITLES[method])
        change.fill_between(ks, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.1, linewidth=0)
        steps = sorted(found.of(method)[0].curve)
        for k, style in ((1, "-"), (K, "--")):
            start = float(pass_at(found.base, k).mean())
            values = [np.mean([run.curve[step][k] for run in found.of(method)]) for step in steps]
            course.plot(
                steps, 100 * (np.array(values) - start), style, color=colour, label=TITLES[method] if k == 1 else None
            )
        delta = over_runs(exact.runs(1), {method: -1}, plus=gap)
        drawn = float(np.mean([run.draws for run in found.of(method)]))
        # Methods with equal draws would hide each other.
        price.errorbar(drawn * (1 + 0.006 * i), delta.value, delta.high - delta.value, color=colour, fmt="o", capsize=3)
    change.axhline(0, color="black", linewidth=0.8)
    change.axvline(K, color="grey", linewidth=0.8, linestyle=":")
    change.set(xscale="log", xlabel="k", title="pass@k less the base's, points; shade: range")
    course.set(xlabel="step", title="the same at k = 1 (solid), k = 256 (dashed)")
    price.set(xlabel="draws of a run (moved apart a little)", title="Delta_SE, intervals over seeds")
    course.axhline(0, color="black", linewidth=0.8)
    for axis in (change, course, price):
        axis.grid(alpha=0.3)
    change.legend(fontsize=8)
    figure.savefig(target, dpi=110)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the sweep's output")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the CSV file and the picture go")
    args = parser.parse_args()
    try:
        found = read(args.folder)
        print(measured(found), published(), claims(found), sep="\n")
        write_csv(found, args.docs / "six_algorithms.csv")
        draw(found, args.docs / "pictures" / "six_algorithms.png")
    except InputError as error:
        print(f"six_algorithms: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
