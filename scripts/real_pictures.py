"""What training did to a pretrained model, exactly: a table, and one picture of four panels (docs/real.md).

    python scripts/real_pictures.py runs/real_methods/*-seed* --out docs/pictures [--lab docs/board.csv]

Each problem's probability of success under the base and under each method; pass@k, and the k at which a method
falls below the base; the entropy of a token and of a group's answers over training. Runs have to share base model and
audit problems. A run's exact audit is kept in its folder, the base's in --out, and neither is made again. With --lab
the methods' order by pass@1024 is held against the laboratory's: Spearman's rank correlation, its p over all orders,
and how it moves when one method is left out.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from scipy.stats import rankdata

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.experiments.board import final_audit
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.lab.audits import audit_of
from explore_rl.lab.exact import ExactAudit, compare
from explore_rl.problems.loading import load_problems

matplotlib.use("Agg")
EPS = 3 / 1024
LARGEST_K = 1 << 14
SHOWN_K = (1, 16, 256, 1024)
FEWEST = 4  # methods, below which a rank correlation says nothing
MOST = 9  # methods of which all orders are gone through


@dataclass
class Run:
    """A run with its audit. metrics: its records, a step each."""

    method: str
    seed: int
    audit: ExactAudit
    metrics: list[dict]


def crossing(base: ExactAudit, tuned: ExactAudit) -> int | None:
    """The first k, at most LARGEST_K, at which the tuned model solves less than the base; None: it never does.

    1 where it is behind from the first draw on.
    """
    ks = np.arange(1, LARGEST_K + 1)
    below = np.flatnonzero(_passes(tuned, ks) < _passes(base, ks))
    return int(ks[below[0]]) if len(below) else None


def _passes(audit: ExactAudit, ks: np.ndarray) -> np.ndarray:
    """pass@k for every k, a problem at a time: all at once would be n x k numbers."""
    total = np.zeros(len(ks))
    for p in audit.success:
        total -= np.expm1(ks * np.log1p(-min(p, 1 - 1e-15)))
    return total / len(audit.success)


def rank_correlation(ours: Sequence[float], lab: Sequence[float]) -> tuple[float, float, float, float]:
    """Spearman's correlation, its two-sided p over all orders, and the least and the most with one method left out.

    Raises InputError for fewer than FEWEST or more than MOST methods.

    >>> [round(value, 3) for value in rank_correlation([0.1, 0.2, 0.3, 0.4], [1, 2, 3, 5])]
    [1.0, 0.083, 1.0, 1.0]
    """
    if not FEWEST <= len(ours) <= MOST:
        raise InputError(f"{len(ours)} methods are on both boards; a rank correlation wants {FEWEST} to {MOST}")
    found = _spearman(ours, lab)
    orders = [_spearman(order, lab) for order in itertools.permutations(ours)]
    p = np.mean([abs(value) >= abs(found) - 1e-12 for value in orders])
    without = [
        _spearman([x for j, x in enumerate(ours) if j != i], [x for j, x in enumerate(lab) if j != i])
        for i in range(len(ours))
    ]
    return found, float(p), min(without), max(without)


def _spearman(one: Sequence[float], other: Sequence[float]) -> float:
    a, b = rankdata(one), rankdata(other)
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else 0.0


def read_runs(folders: Sequence[Path], out: Path) -> tuple[str, ExactAudit, list[Run]]:
    """The base's name, its audit, and the runs in the order given. Raises InputError for runs of different problems."""
    configs = {folder: load_config(RunFolder.open(folder).path / "config.yaml") for folder in folders}
    asked_of = {(c.model.path, c.run.exact_problems, c.rollout.temperature) for c in configs.values()}
    if len(asked_of) > 1:
        raise InputError(f"the runs differ in model, audit problems or temperature: {sorted(asked_of)}")
    [(model, spec, temperature)] = asked_of
    asked = load_problems(spec)
    kept = out / "base_exact.json"
    base = audit_of(kept if kept.exists() else model, asked, temperature=temperature)
    if not kept.exists():
        base.save(kept)
    runs = []
    for folder, config in configs.items():
        audit = final_audit(folder, asked, temperature=temperature).in_regions_of(base)
        metrics = RunFolder(folder).records("metrics.jsonl")
        runs.append(Run(config.name, config.seed, audit=audit, metrics=metrics))
    return model, base, runs


def table(base: ExactAudit, runs: Sequence[Run], *, name: str) -> str:
    """One line a run, as Markdown."""
    heads = ["run", "pass@1", "any end", *(f"@{k}" for k in SHOWN_K[1:]), "falls below at k", "kept", "lost", "gained"]
    regions = base.index.region_names
    lines = [[*heads, *(f"mass {region}" for region in regions)]]
    for label, audit in [(name, base), *((f"{run.method}, seed {run.seed}", run.audit) for run in runs)]:
        passes = audit.pass_at_k(SHOWN_K)
        any_end = "" if audit.success_any_end is None else f"{audit.success_any_end.mean():.3f}"
        counts = ["", "", "", ""]
        if audit is not base:
            [of_problems] = compare(base, audit, eps_ladder=(EPS,))["support"]["problem"]
            at = crossing(base, audit)
            counts = [f"none to {LARGEST_K}" if at is None else str(at)]
            counts += [str(of_problems[key]) for key in ("preserved", "shrunk", "expanded")]
        masses = [f"{audit.regions()[region]['mass']:.1e}" for region in regions]
        figures = [f"{passes[1]:.3f}", any_end, *(f"{passes[k]:.3f}" for k in SHOWN_K[1:])]
        lines.append([label, *figures, *counts, *masses])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def against_lab(runs: Sequence[Run], lab: Path) -> str:
    """One line on the order of the methods by mean pass@1024, here and in the laboratory."""
    theirs: dict[str, list[float]] = defaultdict(list)
    with open(lab, newline="") as stream:
        for row in csv.DictReader(stream):
            theirs[row["method"]].append(float(row["pass@1024"]))
    ours = _by_method(runs)
    both = [method for method in ours if method in theirs]
    here = [float(np.mean([run.audit.pass_at_k((1024,))[1024] for run in ours[method]])) for method in both]
    found, p, least, most = rank_correlation(here, [float(np.mean(theirs[method])) for method in both])
    return (
        f"order of {len(both)} methods by pass@1024, here and in the laboratory: Spearman {found:.2f}, p = {p:.3f} over"
        f" all orders; {least:.2f} to {most:.2f} with one method left out ({', '.join(both)})"
    )


def _by_method(runs: Sequence[Run]) -> Mapping[str, list[Run]]:
    found: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        found[run.method].append(run)
    return found


def draw(base: ExactAudit, runs: Sequence[Run], *, name: str, target: Path) -> None:
    """The four panels, a colour a method, a line or cloud a seed."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(13, 10), layout="constrained")
    (scatter, curves), (token, answers) = axes
    ks = np.unique(np.geomspace(1, LARGEST_K, 60).astype(int))
    curves.plot(ks, _passes(base, ks), "k--", label=name)
    for number, (method, own) in enumerate(_by_method(runs).items()):
        colour = plt.get_cmap("tab20")(number % 20)
        for i, run in enumerate(own):
            label = method if i == 0 else None
            p, q = (np.maximum(audit.success, 1e-12) for audit in (base, run.audit))
            scatter.loglog(p, q, ".", color=colour, markersize=3, alpha=0.6, label=label)
            curves.plot(ks, _passes(run.audit, ks), color=colour, linewidth=1.2, label=label)
            at = crossing(base, run.audit)
            if at is not None:
                curves.plot([at], _passes(base, np.array([at])), "o", color=colour, markersize=5)
            for axis, key in ((token, "entropy/token"), (answers, "answers/entropy")):
                points = [(m["step"], m[key]) for m in run.metrics if m.get(key) is not None]
                if points:
                    axis.plot(*zip(*points, strict=True), color=colour, linewidth=1.0, label=label)
    scatter.plot([1e-12, 1], [1e-12, 1], "k-", linewidth=0.6)
    scatter.axvline(EPS, color="grey", linewidth=0.6)
    scatter.axhline(EPS, color="grey", linewidth=0.6)
    scatter.set(title="each problem: exact chance of a right draw (grey: 3/1024)", xlabel=name, ylabel="tuned")
    curves.set(title="pass@k, exact (dot: falls below the base)", xlabel="k", xscale="log")
    token.set(title="entropy of a token (nats), of what is learnt from", xlabel="step")
    answers.set(title="entropy of a group's answers (nats)", xlabel="step")
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.savefig(target, dpi=110)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    parser.add_argument("--out", type=Path, required=True, help="a folder, for real.png and the base's audit")
    parser.add_argument("--lab", type=Path, help="the laboratory's board, one line a run: docs/board.csv")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        name, base, runs = read_runs(args.runs, args.out)
        print(table(base, runs, name=name))
        if args.lab is not None:
            print(f"\n{against_lab(runs, args.lab)}")
    except InputError as error:
        print(f"real_pictures: error: {error}", file=sys.stderr)
        return 2
    draw(base, runs, name=name, target=args.out / "real.png")
    print(f"\nwritten: {args.out / 'real.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
